"""gunicorn's worker, whose threads nobody holds by being slow: a request arrives within seconds, or it is none."""

import time
from errno import ECONNRESET
from socket import socket
from typing import Any

from gunicorn.workers import gthread

ARRIVES_WITHIN = 5  # seconds for a request's head and body together, from its first byte
TAKEN_WITHIN = 5  # seconds in which the client takes more of an answer


class Worker(gthread.ThreadWorker):
    def handle(self, conn: Any) -> Any:
        """Answer one request of the connection; one that says nothing yet waits without a thread."""
        if not conn.initialized and not conn.wait_for_data(0):
            return gthread._DEFER  # noqa: SLF001  # what the base class's own method returns then
        conn.init()
        conn.parser.unreader.sock = arriving = Arriving(conn.sock)
        kept = super().handle(conn)
        if not kept:
            # Here, since it lingers: the base class would let the thread linger that accepts for all.
            conn.close(graceful=not arriving.late)
            conn.close = _is_closed
        return kept


class Arriving:
    """A connection from which one request is read: beyond its time it is as one that was reset."""

    def __init__(self, connection: socket) -> None:
        self._connection, self._until = connection, time.monotonic() + ARRIVES_WITHIN
        self.late = False

    def recv(self, size: int) -> bytes:
        left = self._until - time.monotonic()
        self.late = self.late or left <= 0
        if self.late:
            raise ConnectionResetError(ECONNRESET, "the request did not arrive in time")
        self._connection.settimeout(left)
        try:
            return self._connection.recv(size)
        except TimeoutError:
            return self.recv(size)
        finally:
            self._connection.settimeout(TAKEN_WITHIN)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _is_closed(*, graceful: bool = False) -> None:
    """Close nothing: it is."""
