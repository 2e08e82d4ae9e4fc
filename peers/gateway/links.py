"""Hear of interfaces that come, go or change: rtnetlink(7)."""

import socket

RTMGRP_LINK = 1


class Links:
    """A netlink socket that is readable when some interface changed."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, RTMGRP_LINK))

    def fileno(self) -> int:
        return self._socket.fileno()

    def changed(self, name: str) -> bool:
        """Return whether ``name`` is among the interfaces that changed since the last call."""
        found = False
        try:
            while data := self._socket.recv(65536):
                found = found or name.encode() + b"\0" in data
        except BlockingIOError:
            return found
        except OSError:  # ENOBUFS: events were lost, so look
            return True
        return found

    def close(self) -> None:
        self._socket.close()
