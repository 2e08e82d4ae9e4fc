"""Talk to an identity provider that may be down, slow or hostile: one time budget, one size limit, JSON objects only."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from http import HTTPStatus
from threading import Thread
from time import monotonic
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError

BUDGET = 5.0  # seconds for all calls of one page; the page itself must be out within 6
BODY_LIMIT = 1 << 20  # bytes, after decompression
JSON = {"application/json", "application/jwk-set+json"}  # RFC 7517, section 8.5.2

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class ProviderTrouble(requests.RequestException):
    """The provider cannot be used now; ``failure`` is a word for the log, without anything the provider sent.

    ``retry_after`` is in how many seconds it wants to be asked again (RFC 9110, section 10.2.3), None when it does not say.
    """

    def __init__(self, failure: str, *, retry_after: int | None = None) -> None:
        super().__init__(failure)
        self.failure, self.retry_after = failure, retry_after


class StaleSignInError(Exception):
    """The code is spent or too old (RFC 6749 section 5.2, invalid_grant): a new sign-in mends it."""


@contextmanager
def time_budget() -> Iterator[None]:
    """Let every call inside, together, take BUDGET."""
    token = _deadline.set(monotonic() + BUDGET)
    try:
        yield
    finally:
        _deadline.reset(token)


class CuttableAdapter(HTTPAdapter):
    """Remember the connections, so that one can be cut while another thread waits on it."""

    def __init__(self) -> None:
        super().__init__()
        self._connections: list[Any] = []

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if not isinstance(pool.ConnectionCls, partial):
            pool.ConnectionCls = partial(self._connect, pool.ConnectionCls)
        return pool

    def cut(self) -> None:
        """End every read and write at once; a socket's own time-out starts anew with each byte."""
        for connection in self._connections:
            try:
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)
            except (OSError, TypeError):  # not connected yet, or no longer
                continue

    def _connect(self, connection_class: type[HTTPConnection], **options: Any) -> HTTPConnection:
        connection = connection_class(**options)
        self._connections.append(connection)
        return connection


class ProviderSession(requests.Session):
    """A session whose every answer is a whole JSON object that came in time, from the address that was asked."""

    def __init__(self) -> None:
        super().__init__()
        self._adapter = CuttableAdapter()
        self.mount("https://", self._adapter)
        self.mount("http://", self._adapter)

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Make the call in a thread of its own: a name look-up, too, can only be given up from outside."""
        deadline = _deadline.get()
        remaining = BUDGET if deadline is None else max(deadline - monotonic(), 0.001)
        kwargs |= {"timeout": remaining, "allow_redirects": False, "stream": True}
        call = partial(super().request, method, url, *args, **kwargs)
        answer: Future[requests.Response] = Future()
        Thread(target=_exchange, args=(call, answer), daemon=True).start()
        try:
            return checked(answer.result(remaining))
        except (TimeoutError, requests.Timeout):
            self._adapter.cut()
            raise ProviderTrouble("timeout") from None
        except ProviderTrouble:
            raise
        except requests.ConnectionError as error:
            raise ProviderTrouble("unreachable" if _never_left(error) else type(error).__name__) from None
        except (requests.RequestException, OSError, ValueError) as error:
            raise ProviderTrouble(type(error).__name__) from None


def _never_left(error: requests.ConnectionError) -> bool:
    """Say whether there was not even a connection, so that the provider knows nothing of the call."""
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def checked(response: requests.Response) -> requests.Response:
    """Return ``response`` when it is a JSON object with status 200; raise ProviderTrouble or StaleSignInError."""
    if response.is_redirect:
        raise ProviderTrouble("redirect")
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    body = _json(response.content) if media_type in JSON else None
    if response.status_code == HTTPStatus.BAD_REQUEST and _is_spent(response, body):
        raise StaleSignInError
    if response.status_code != HTTPStatus.OK:
        raise ProviderTrouble(f"status_{response.status_code}", retry_after=_seconds(response))
    if body is None:
        raise ProviderTrouble("not_json")
    response.headers["content-type"] = "application/json"  # allauth compares the letters
    response.encoding = None  # JSON is in UTF-8 (RFC 8259, section 8.1), whatever charset the header names
    return response


def _seconds(response: requests.Response) -> int | None:
    wish = response.headers.get("Retry-After", "")
    return int(wish) if wish.isascii() and wish.isdecimal() and len(wish) < 6 else None


def _is_spent(response: requests.Response, body: dict[str, Any] | None) -> bool:
    """Say whether the token endpoint, which alone is sent forms, calls a code or a refresh token spent."""
    return response.request.method == "POST" and body is not None and body.get("error") == "invalid_grant"


def _json(content: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _exchange(call: Any, answer: "Future[requests.Response]") -> None:
    try:
        with call() as response:
            response._content = _body(response)  # noqa: SLF001  # what requests itself sets when it does not stream
        answer.set_result(response)
    except BaseException as error:  # noqa: BLE001  # the top of a thread: the waiting one raises it again
        answer.set_exception(error)


def _body(response: requests.Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(1 << 16):
        body += chunk
        if len(body) > BODY_LIMIT:
            raise ProviderTrouble("too_large")
    return bytes(body)
