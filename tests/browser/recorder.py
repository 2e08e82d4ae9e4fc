"""Everything that a browser sends, keeps and says, so that a secret can be looked for in all of it."""

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, WebError

STORAGE = """async () => JSON.stringify({
    local: {...localStorage}, session: {...sessionStorage}, cookie: document.cookie, name: window.name,
    history: history.state, url: location.href, caches: await caches.keys(),
    databases: (await indexedDB.databases()).map(({name}) => name),
})"""


class Recorder:
    """Watch contexts; ``console`` holds every console line and uncaught error."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.posts: list[tuple[str, bytes]] = []
        self.console: list[str] = []

    def watch(self, context: BrowserContext) -> None:
        context.on("request", self._sent)
        context.on("console", self._said)
        context.on("weberror", self._failed)

    def kept(self, page: Page) -> bytes:
        """Return what the page's origin stores, its cookies and addresses included."""
        return (
            page.evaluate(STORAGE).encode() + json.dumps(page.context.storage_state(indexed_db=True)).encode()
        )

    def everything(self, page: Page) -> bytes:
        return b"\n".join([*self.requests, *(line.encode() for line in self.console), self.kept(page)])

    def _sent(self, request: Request) -> None:
        body = request.post_data_buffer or b""
        headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
        self.requests.append(f"{request.method} {request.url}\n{headers}\n".encode() + body)
        if request.method == "POST":
            self.posts.append((request.url, body))

    def said_by(self, url: str) -> list[str]:
        """Return the console's lines that are about ``url``'s site, and every uncaught error."""
        return [line for line in self.console if url in line or line.startswith("uncaught")]

    def _said(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _failed(self, error: WebError) -> None:
        self.console.append(f"uncaught: {error.error}")


def forms_of(private_key: str) -> Iterator[bytes]:
    """Yield every way in which a base64 key may be written: text, escaped, URL-safe, hex, raw."""
    raw = base64.b64decode(private_key)
    yield private_key.rstrip("=").encode()
    yield quote(private_key, safe="").rstrip("%3D").encode()
    yield base64.urlsafe_b64encode(raw).rstrip(b"=")
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield raw


def found_in(haystack: bytes, private_key: str) -> list[bytes]:
    return [form for form in forms_of(private_key) if form in haystack]
