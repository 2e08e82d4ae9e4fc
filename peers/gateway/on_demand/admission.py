"""Let peers in as they ask: while the interface is on demand, and the database can be asked whether they may."""

import logging
import socket
from collections import Counter
from collections.abc import Collection
from contextlib import suppress

from peers.gateway.clock import monotonic
from peers.gateway.gather import gather_asking
from peers.gateway.on_demand import refusals, timestamps
from peers.gateway.on_demand.initiate import Initiator
from peers.gateway.on_demand.watch import Asked, Watch
from peers.gateway.reconcile import Reconciler
from peers.wireguard import nft, wg
from peers.wireguard.handshake import Responder
from peers.wireguard.link import LinkError

logger = logging.getLogger(__name__)


class Admission:
    """What a gateway's loop does about handshakes; it is shut until a pass has found the interface on demand."""

    def __init__(self, reconciler: Reconciler) -> None:
        self.reconciler = reconciler
        self.watch: Watch | None = None
        self.initiator = Initiator(reconciler.name)
        self._counts: Counter[str] = Counter()
        self._away = self._lifted = False

    def attend(self) -> None:
        """Open, shut or move it, as a pass has just found the interface; raise CaptureError or WgError."""
        found = self.reconciler.memory.observed
        if not self.reconciler.interface.on_demand or found.public_key is None:  # None: there is no interface
            self.shut()
            self._lift_what_was_left()
        elif self.watch is None or not self._is_at(self.watch):
            self.shut()
            responder = Responder(wg.private_key(self.reconciler.name))
            self.watch = Watch(responder, found.listen_port, self._counts, self.reconciler.presence.seen)
            self._shield(self.watch)
            logger.info("watching", extra={"interface": self.reconciler.name, "port": found.listen_port})

    def _is_at(self, watch: Watch) -> bool:
        found = self.reconciler.memory.observed
        return (watch.responder.public_key, watch.port) == (found.public_key, found.listen_port)

    def _shield(self, watch: Watch) -> None:
        """Keep floods from WireGuard; that they cannot be is no reason not to watch."""
        try:
            nft.limit_initiations(self.reconciler.name, watch.port)
        except LinkError as error:
            logger.warning("initiations_not_limited", extra={"port": watch.port, "error": str(error)})

    def _lift_what_was_left(self) -> None:
        """Take away, once, the limits of a gateway that was killed while the interface was on demand."""
        if not self._lifted and self.reconciler.record.has_let_in:
            self._lift()
        self._lifted = True

    def _lift(self) -> None:
        with suppress(LinkError):  # where they cannot be lifted they could not be put there
            nft.lift_limits(self.reconciler.name)

    def shut(self) -> None:
        if self.watch is None:
            return
        self.watch.close()
        self._lift()
        self.watch = None

    def sockets(self) -> list[socket.socket]:
        """Return what to wait for."""
        return self.watch.sockets() if self.watch else []

    def due(self) -> list[float]:
        """Return when there is something to do, whatever comes in until then; by the monotonic clock."""
        moments = [self.watch.until() if self.watch else 0.0, self.initiator.due()]
        return [moment for moment in moments if moment]

    @property
    def flood(self) -> bool:
        return bool(self.watch and self.watch.flood)

    def let_in(self) -> None:
        """Put on whoever asks and may."""
        self._away = False
        if self.watch:
            flooded = self.watch.flood
            if (asked := self.watch.asked()).timestamps:
                self._admit(self.watch, asked)
            if self.watch.flood and not flooded:
                self._shield(self.watch)  # whoever loads other rules may have flushed ours
        self.initiator.look(self.reconciler.memory.wanted, monotonic())

    def refuse(self) -> None:
        """Let nobody in: nobody can be asked who may. What comes meanwhile is not kept, its clients will try again."""
        self.initiator.look(self.reconciler.memory.wanted, monotonic())
        if not self.watch:
            return
        asked = self.watch.asked()
        on = asked.packets.keys() & self.reconciler.memory.observed.peers.keys()
        if self.watch.flood:
            self._go_on(self.watch, asked, on)
        refused = len(asked.packets) - len(on)
        self._counts["refused"] += refused
        if refused and not self._away:
            self._away = True
            logger.warning("handshakes_refused_database_away", extra={"interface": self.reconciler.name})

    def take_counts(self) -> Counter[str]:
        """Return how many handshakes came to what since the last call."""
        counts = self._counts.copy()
        self._counts.clear()
        return counts

    def forget(self, peers: Collection[str] | None = None) -> None:
        """Ask the database about these peers again, or with None about all, however short ago they were refused."""
        if self.watch:
            self.watch.refused.forget(peers)

    def _admit(self, watch: Watch, asked: Asked) -> None:
        """Put on who is entitled now and asks later than ever before; count what becomes of each."""
        interface = self.reconciler.interface
        known = timestamps.advance(interface, asked.timestamps)
        newer = {key for key, one in known.items() if one.newer}
        entitled = gather_asking(interface, newer)
        new = entitled.peers.keys() - self.reconciler.memory.observed.peers.keys()
        self.reconciler.put_on(entitled, lambda: self._go_on(watch, asked, new))
        for key in entitled.peers:
            watch.limits.trust(asked.packets[key].source)
        if watch.flood:  # theirs may be among those that WireGuard was kept from; a second one does nothing
            self._go_on(watch, asked, entitled.peers.keys() - new)
        refused = {key: known[key].peer for key in newer - entitled.peers.keys()}
        refusals.note(set(refused.values()))
        unknown = dict.fromkeys(asked.timestamps.keys() - known.keys())
        watch.refuse({**refused, **unknown})
        self._counts["admitted"] += len(new)
        self._counts["invalid"] += len(known) - len(newer)

    def _go_on(self, watch: Watch, asked: Asked, keys: Collection[str]) -> None:
        """Have the handshakes go on with which those have come who are on."""
        at, wanted = monotonic(), self.reconciler.memory.wanted
        packets = {key: asked.packets[key] for key in keys if key in wanted}
        begun = {key: packet for key, packet in packets.items() if self.initiator.is_needed(packet, at)}
        for key in packets.keys() - begun.keys():
            watch.resend(packets[key])
        self.initiator.begin(begun, {key: wanted[key].settings for key in begun}, at)
