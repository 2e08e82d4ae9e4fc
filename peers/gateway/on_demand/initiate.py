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

LOOK_AFTER = (
    0.15  # seconds, doubled each time; a handshake that crosses the client's own stalls, and is tried again
)
TRIES = 4
REMEMBERED = 10.0  # seconds, for which addresses are taken to stay where they are
DISCARD = 9  # the port of RFC 863


@dataclass(frozen=True, slots=True)
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
        self._addresses: dict[str, set[str]] = {}
        self._asked_at = 0.0

    def is_needed(self, packet: Packet, at: float) -> bool:
        """Return whether WireGuard's answer to this packet would be lost if it were sent again; raise LinkError."""
        if not link.is_userspace(self.name):
            return False
        if not self._addresses or at - self._asked_at > REMEMBERED:
            self._addresses, self._asked_at = link.addresses(), at
        return self._addresses.get(str(ip_address(packet.destination))) != {packet.device}

    def begin(self, packets: Mapping[str, Packet], settings: Mapping[str, PeerSettings], at: float) -> None:
        """Begin a handshake with each peer, all of which are on, at the address that its packet came from."""
        self._begin({key: Begun(packet, 0, at) for key, packet in packets.items()}, settings, at)

    def _begin(self, begun: Mapping[str, Begun], settings: Mapping[str, PeerSettings], at: float) -> None:
        packets = {key: one.packet for key, one in begun.items()}
        where = {key: (ip_address(packet.source), packet.source_port) for key, packet in packets.items()}
        wg.set_endpoints(self.name, where)
        for key, one in begun.items():
            _send_something(settings[key])
            self._begun[key] = Begun(one.packet, one.tries + 1, at + LOOK_AFTER * 2**one.tries)

    def look(self, wanted: Mapping[str, Wanted], at: float) -> None:
        """Look at those that are due; put peers on anew that are still ``wanted`` and have shaken no hands."""
        due = {key: begun for key, begun in self._begun.items() if begun.due <= at}
        if not due:
            return
        self._begun = {key: begun for key, begun in self._begun.items() if key not in due}
        on = wg.show(self.name, due).peers
        again = {
            key: begun for key, begun in due.items()
            if begun.tries < TRIES and key in wanted and key in on and on[key].latest_handshake is None
        }  # fmt: skip
        if again:
            settings = {key: wanted[key].settings for key in again}
            wg.remove(self.name, again)
            wg.add(self.name, settings)
            self._begin(again, settings, at)

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
