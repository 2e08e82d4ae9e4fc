"""A network that swallows a connection without a word."""

import socket
import threading
from contextlib import suppress
from pathlib import Path


class BlackHole:
    """A UNIX socket in front of PostgreSQL's that can stop passing on what it gets; new connections still work."""

    def __init__(self, directory: Path, target: Path) -> None:
        self.directory, self._target = directory, target
        self._swallowing: list[threading.Event] = []
        self._all = False
        self._sockets = [socket.socket(socket.AF_UNIX)]
        self._sockets[0].bind(str(directory / target.name))
        self._sockets[0].listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def swallow(self, *, new_ones: bool = False) -> None:
        """Pass on nothing more on the connections there are, nor, with ``new_ones``, on those to come."""
        self._all = new_ones
        for swallowing in self._swallowing:
            swallowing.set()

    def close(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._sockets[0].accept()
                server = socket.socket(socket.AF_UNIX)
                self._sockets += [client, server]
                server.connect(str(self._target))
                self._swallowing.append(threading.Event())
                if self._all:
                    self._swallowing[-1].set()
                for ends in ((client, server), (server, client)):
                    self._threads.append(
                        threading.Thread(target=self._pass_on, args=(*ends, self._swallowing[-1]))
                    )
                    self._threads[-1].start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket, swallowing: threading.Event) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                if not swallowing.is_set():
                    other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)
