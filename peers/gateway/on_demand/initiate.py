"""Where a packet cannot be given to WireGuard again: have the interface begin the handshake, look, and try anew.

wireguard-go answers from the device that a packet came in by. One that is sent again comes in by the device that has its
destination address: where that is another one (the loopback, or a second network), the answer would be lost.
"""

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from peers.gateway.gather import Wanted
from peers.gateway.on_demand.capture import Packet
from peers.wireguard import link, wg
from peers.wireguard.state import PeerSettings

logger = logging.getLogger(__name__)

LOOK_AFTER = 0.15  # seconds; a handshake that crosses the client's own stalls, and is tried again
TRIES = 4
REMEMBERED = 10.0  # seconds, for which addresses are taken to stay where they are
DISCARD = 9  # the port of RFC 863


@dataclass(slots=True)
class Begun:
    """A handshake that the interface began, to be looked at when it is ``due`` by the monotonic clock."""

    packet: Packet
    tries: int
    due: float


class Initiator:
    """The handshakes that the interface ``name`` begins itself; nothing is ever to do where the kernel serves it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._begun: dict[str, Begun] = {}
        self._homes: dict[str, set[str]] = {}
        self._asked_at = 0.0

    def must(self, packet: Packet, at: float) -> bool:
        """Return whether this packet's client is to be met so."""
        if not link.is_userspace(self.name):
            return False
        if not self._homes or at - self._asked_at > REMEMBERED:
            self._homes, self._asked_at = link.homes(), at
        return self._homes.get(str(ip_address(packet.destination))) != {packet.device}

    def begin(self, key: str, settings: PeerSettings, packet: Packet, at: float, tries: int = TRIES) -> None:
        """Begin a handshake with a peer that is on, at the address that its packet came from."""
        wg.set_endpoint(self.name, key, ip_address(packet.source), packet.source_port)
        _send_something(settings)
        self._begun[key] = Begun(packet, tries - 1, at + LOOK_AFTER)

    def look(self, wanted: Mapping[str, Wanted], at: float) -> None:
        """Look at those that are due; put a peer on anew that is still ``wanted`` and has shaken no hands."""
        due = {key: begun for key, begun in self._begun.items() if begun.due <= at}
        if not due:
            return
        on = wg.show(self.name, due).peers
        for key, begun in due.items():
            del self._begun[key]
            if begun.tries and key in wanted and key in on and on[key].latest_handshake is None:
                self._again(key, wanted[key].settings, begun, at)

    def _again(self, key: str, settings: PeerSettings, begun: Begun, at: float) -> None:
        wg.remove(self.name, [key])
        wg.add(self.name, {key: settings})
        self.begin(key, settings, begun.packet, at, begun.tries)

    def due(self) -> float:
        """Return when the first is to be looked at; 0 when none is under way."""
        return min((begun.due for begun in self._begun.values()), default=0.0)


def _send_something(settings: PeerSettings) -> None:
    """Send an empty datagram to the peer's address in the tunnel: to have something to send is what begins a handshake."""
    address = min(settings.allowed_ips, key=lambda network: network.version).network_address
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto(b"", (str(address), DISCARD))
        except OSError as error:
            logger.warning("handshake_not_begun", extra={"error": error.strerror})
