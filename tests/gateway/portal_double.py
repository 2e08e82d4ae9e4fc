"""A portal of the test's own on loopback: it says what it is told to, and remembers what it was asked."""

import json
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests import rows

PEER = {
    "id": "5f2f0a4c-6d1e-4b52-9e0e-1b8b5d0c6a3f",
    "name": "build-7",
    "interface": "wg0",
    "addresses": ["10.77.0.2/32", "fd00:77::2/128"],
    "state": "live",
    "enrolled_at": "2026-11-26T07:00:00.000Z",
    "expires_at": "2026-11-26T08:00:00.000Z",
    "server_public_key": rows.public_key(),
    "server_endpoint": "vpn.example.com:51820",
    "client_allowed_ips": ["10.77.0.0/16", "fd00:77::/64"],
    "dns": ["10.77.0.1"],
    "mtu": 1420,
    "persistent_keepalive": 25,
}


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    token: str
    body: dict[str, Any]


class PortalDouble(ThreadingHTTPServer):
    """Answers as a portal does that knows one peer, after what ``next`` holds: pairs of a status and what is said.

    That is an error, or what is changed of the peer, or a function of the peer's text, as bytes.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: list[Asked] = []
        self.next: deque[tuple[int, Any]] = deque()
        self.public_key = ""
        self.headers: dict[str, str] = {}

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()

    def will_refuse(self, status: int, code: str, message: str = "No.") -> None:
        self.next.append((status, {"error": {"code": code, "message": message}}))

    def will_say(self, status: int = 201, /, **changed: Any) -> None:
        """Answer the next request with the peer, so changed."""
        self.next.append((status, changed))

    def answer(self, asked: Asked) -> tuple[int, Any]:
        self.public_key = asked.body.get("public_key", self.public_key)
        peer = PEER | {"public_key": self.public_key}
        if not self.next:
            return (204, b"") if asked.method == "DELETE" else (200, peer)
        status, said = self.next.popleft()
        if callable(said):
            return status, said(json.dumps(peer).encode())
        return status, said if "error" in said else peer | said


class _Conversation(BaseHTTPRequestHandler):
    server: PortalDouble

    def _converse(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.server.asked.append(Asked(self.command, self.path, token, json.loads(body or b"{}")))
        status, said = self.server.answer(self.server.asked[-1])
        text = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = _converse  # noqa: N815 - what http.server calls them

    def log_message(self, *words: object) -> None:
        pass
