"""Let peers in as they ask: while the interface is on demand, and the database can be asked whether they may."""

import logging
import socket
from collections import Counter
from collections.abc import Collection
from contextlib import suppress

from peers.gateway.clock import monotonic
from peers.gateway.gather import Desired, gather_asking
from peers.gateway.on_demand import refusals, timestamps
from peers.gateway.on_demand.initiate import Initiator
from peers.gateway.on_demand.watch import Asked, Watch
from peers.gateway.reconcile import Reconciler
from peers.wireguard import nft, wg
from peers.wireguard.handshake import Responder

logger = logging.getLogger(__name__)


class Admission:
    """What a gateway's loop does about handshakes; it is shut until a pass has found the interface on demand."""

    def __init__(self, reconciler: Reconciler) -> None:
        self.reconciler = reconciler
        self.watch: Watch | None = None
        self.initiator = Initiator(reconciler.name)
        self._counts: Counter[str] = Counter()
        self._away = False

    def attend(self) -> None:
        """Open, shut or move it, as a pass has just found the interface; raise CaptureError or WgError."""
        found = self.reconciler.memory.observed
        if (
            not self.reconciler.interface.on_demand or found.public_key is None
        ):  # it is not, or there is no interface
            self.shut()
        elif self.watch is None or not self._is_at(self.watch):
            self.shut()
            responder = Responder(wg.private_key(self.reconciler.name))
            self.watch = Watch(responder, found.listen_port, self._counts)
            self._shield(found.listen_port)
            logger.info("watching", extra={"interface": self.reconciler.name, "port": found.listen_port})

    def _is_at(self, watch: Watch) -> bool:
        found = self.reconciler.memory.observed
        return (watch.responder.public_key, watch.port) == (found.public_key, found.listen_port)

    def _shield(self, port: int) -> None:
        """Keep one source's flood from WireGuard; that it cannot be is no reason not to watch."""
        try:
            nft.limit_initiations(port)
        except nft.NftError as error:
            logger.warning("initiations_not_limited", extra={"port": port, "error": str(error)})

    def shut(self) -> None:
        if self.watch is None:
            return
        self.watch.close()
        with suppress(nft.NftError):  # said when it was put there
            nft.lift_limit(self.watch.port)
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
        if self.watch and (asked := self.watch.asked()).timestamps:
            self._admit(self.watch, asked)
        self.initiator.look(self.reconciler.memory.wanted, monotonic())

    def refuse(self) -> None:
        """Let nobody in: nobody can be asked who may. What comes meanwhile is not kept, its clients will try again."""
        if not self.watch:
            return
        asked = self.watch.asked()
        self._counts["refused"] += len(asked.timestamps)
        if asked.timestamps and not self._away:
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
        self.reconciler.put_on(entitled, lambda: self._meet(watch, asked, entitled.only(new)))
        for key in entitled.peers:
            watch.limits.trust(asked.packets[key].source)
        if watch.flood:  # theirs may be among those that WireGuard was kept from; a second one does nothing
            self._meet(watch, asked, entitled.without(new))
        refused = {key: known[key].peer for key in newer - entitled.peers.keys()}
        refusals.note(set(refused.values()))
        unknown = dict.fromkeys(asked.timestamps.keys() - known.keys())
        watch.refuse({**refused, **unknown})
        self._counts["admitted"] += len(new)
        self._counts["invalid"] += len(known) - len(newer)

    def _meet(self, watch: Watch, asked: Asked, new: Desired) -> None:
        """Have the handshakes go on with which those have come who are on now."""
        at = monotonic()
        for key, settings in new.settings.items():
            packet = asked.packets[key]
            if self.initiator.must(packet, at):
                self.initiator.begin(key, settings, packet, at)
            else:
                watch.resend(packet)
