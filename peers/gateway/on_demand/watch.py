"""From packets to who asks for their tunnel: the cheap refusals first, nothing of it with the database.

One packet costs little and a flood must not cost more than a share of a core: during one a pause follows each batch.
"""

import logging
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import thread_time

from peers.gateway.clock import monotonic
from peers.gateway.on_demand.capture import Capture, Packet
from peers.gateway.on_demand.limits import Limits, Refused
from peers.gateway.on_demand.resend import Resender
from peers.gateway.on_demand.seen import Seen
from peers.wireguard.handshake import Initiation, Responder

logger = logging.getLogger(__name__)

AT_ONCE = 1000  # packets of each family; mac1 of so many takes 10 to 20 ms
SHARE = 0.35  # of a core at most, for telling handshakes from a flood
LEAST_PAUSE = 0.01  # seconds: what a gateway's loop does besides is paid once for many packets
FLOOD = 500  # packets a second that lead to nothing
CALM_AFTER = 10.0  # seconds without such a second, and the flood is over
SENT = 5000  # packets that are to come back from the loopback


@dataclass(slots=True)
class Asked:
    """Who asks, by public key: the timestamp, and the packet to give to WireGuard once the peer is on."""

    timestamps: dict[str, bytes] = field(default_factory=dict)
    packets: dict[str, Packet] = field(default_factory=dict)


class Watch:
    """Listens at the port of the interface that ``responder`` answers for; adds to ``counts`` what packets come to."""

    def __init__(self, responder: Responder, port: int, counts: Counter[str], seen: Seen) -> None:
        self.responder, self.port, self.counts, self.seen = responder, port, counts, seen
        self.limits, self.refused = Limits(), Refused()
        self.flood = False
        self._sent: set[bytes] = set()
        self._pause_until = self._second = self._calm_at = 0.0
        self._useless = 0
        self._capture = Capture(port)
        self._resender = Resender()

    def sockets(self) -> list[socket.socket]:
        """Return what is to be waited for; nothing during a pause."""
        return self._capture.sockets if monotonic() >= self._pause_until else []

    def until(self) -> float:
        """Return when the pause is over, by the monotonic clock; 0 without one."""
        return self._pause_until if monotonic() < self._pause_until else 0.0

    def asked(self) -> Asked:
        """Return who asks now, of all that has come; of several of one key the latest."""
        asked, started, used, number = Asked(), monotonic(), thread_time(), 0
        if started < self._pause_until:
            return asked
        for number, packet in enumerate(self._capture.packets(AT_ONCE), 1):  # noqa: B007 - how many there were
            self._take(packet, started, asked)
        if number >= AT_ONCE or self.flood:
            self.counts["dropped"] += self._capture.lost()
            self._pause_until = started + max(LEAST_PAUSE, (thread_time() - used) / SHARE)
        self._judge(started)
        return asked

    def _take(self, packet: Packet | None, at: float, asked: Asked) -> None:
        if packet is not None and packet.payload in self._sent:
            self._sent.discard(packet.payload)
        elif packet is None or not self.responder.is_addressed(packet.payload):
            self._count("invalid")
        elif not self.limits.allow(packet.source, at):
            self._count("dropped")
        elif (found := self._read(packet)) is None:
            self._count("invalid")
        else:
            self.seen.note(found.public_key, found.timestamp, at)
            if self.refused.lately(found.public_key, at):
                self.counts["refused"] += 1
                return
            asked.timestamps[found.public_key], asked.packets[found.public_key] = found.timestamp, packet

    def _read(self, packet: Packet) -> Initiation | None:
        started = thread_time()
        found = self.responder.read(packet.payload, self.seen.timestamps)
        self.limits.spend(packet.source, thread_time() - started)
        return found

    def refuse(self, keys: Mapping[str, str | None]) -> None:
        """Count refusals by public key, with the peer's id or None, and remember them for a while."""
        self.counts["refused"] += len(keys)
        for key, peer in keys.items():
            self.refused.note(key, peer, monotonic())

    def _count(self, outcome: str) -> None:
        self.counts[outcome] += 1
        self._useless += 1

    def _judge(self, at: float) -> None:
        """Say once that a flood has begun, and once that it is over."""
        if (passed := at - self._second) < 1:
            return
        many, self._useless, self._second = self._useless / passed > FLOOD, 0, at
        if many:
            self._calm_at = at + CALM_AFTER
        if many and not self.flood:
            logger.warning("handshake_flood", extra={"port": self.port, **self.counts})
        elif self.flood and at >= self._calm_at:
            logger.warning("handshake_flood_over", extra={"port": self.port, **self.counts})
        self.flood = at < self._calm_at

    def resend(self, packet: Packet) -> None:
        """Give a packet to WireGuard as if it came only now; if it cannot be sent, its client's next will do."""
        if len(self._sent) > SENT:
            self._sent.clear()
        self._sent.add(packet.payload)
        try:
            self._resender.send(packet, self.port)
        except OSError as error:
            self._sent.discard(packet.payload)
            logger.warning("handshake_not_sent_again", extra={"port": self.port, "error": error.strerror})

    def close(self) -> None:
        self._capture.close()
        self._resender.close()
