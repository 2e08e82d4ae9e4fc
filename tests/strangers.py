"""Senders at many addresses, in one namespace that is linked to the gateway's: each packet is from the next one. Does not know pytest."""

import itertools
import socket
import time
from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address
from types import TracebackType
from typing import Self

from deploy.demo.netns import Address, Joined, Namespace
from peers.gateway.on_demand.capture import Packet
from peers.gateway.on_demand.resend import ipv4

FIRST = ip_address("203.0.0.1")
PORT = 51820


class Strangers:
    """Sends packets to ``address``, which the gateway's namespace is given on the link to them."""

    def __init__(self, gateway: Joined, address: Address) -> None:
        self.namespace = Namespace(beside=gateway)
        self.namespace.link(gateway, theirs=address)
        self._to = address
        self._sources = itertools.cycle(range(1 << 16))
        self._raw = self.namespace.call(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, payloads: Iterable[bytes], pause: float = 0.0) -> None:
        """Send each from an address of its own, ``pause`` seconds apart."""
        for payload in payloads:
            source = IPv4Address(int(FIRST) + next(self._sources))
            packet = Packet(source.packed, 40_000, self._to.packed, payload, "")
            self._raw.sendto(ipv4(packet, PORT), (str(self._to), 0))
            if pause:
                time.sleep(pause)

    def close(self) -> None:
        self._raw.close()
        self.namespace.close()
