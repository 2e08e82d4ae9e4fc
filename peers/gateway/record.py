"""The gateway's word on itself and the interface, written with the statuses and receipts of a pass."""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime

from django.db import connection
from django.db.models.functions import Now

from peers import __version__, audit
from peers.gateway.decide import Brake, Decision
from peers.gateway.samples import Samples
from peers.gateway.status import Ended, Reading, Statuses, drift_event, receipts
from peers.models import GatewayStatus, Interface
from peers.signals import READ_BACK

WITH_HEARTBEAT = (
    "last_pass_at", "flood_at",
    "handshakes_admitted", "handshakes_refused", "handshakes_invalid", "handshakes_dropped",
)  # fmt: skip
TOLD_AT_ONCE = 200  # ids, of the 8,000 bytes that a notification may have

logger = logging.getLogger(__name__)


class Record:
    """The rows that this gateway writes about one interface."""

    def __init__(self, gateway: str, interface: Interface, row: GatewayStatus) -> None:
        self.gateway, self.interface, self.row = gateway, interface, row
        self.statuses = Statuses(gateway, interface)
        self._samples = Samples(row)
        self._saved: tuple[str, ...] | None = None

    @classmethod
    def begun(cls, gateway: str, interface: Interface, *, attached: bool) -> "Record":
        """Return the record of a gateway that starts, or comes back, now."""
        values = {"version": __version__, "attached": attached, "started_at": Now()}
        row, _ = GatewayStatus.objects.update_or_create(
            gateway=gateway,
            interface=interface,
            defaults=values,
            create_defaults={**values, "heartbeat_at": Now()},
        )
        row.refresh_from_db()
        return cls(gateway, interface, row)

    @classmethod
    def unsaved(cls, gateway: str, interface: Interface) -> "Record":
        """Return the record as it stands, for a look that writes nothing."""
        row = GatewayStatus.objects.filter(gateway=gateway, interface=interface).first()
        return cls(gateway, interface, row or GatewayStatus(gateway=gateway, interface=interface))

    @property
    def brake(self) -> Brake:
        return Brake(self.row.unexplained, self.row.brake_at, self.row.released_at)

    @property
    def has_let_in(self) -> bool:
        """Whether this interface was ever on demand here, and somebody came."""
        return bool(self.row.handshakes_admitted)

    def first_contact(self, unknown: Collection[str], at: datetime) -> None:
        """Leave alone, and list, what stood on the interface before this gateway first saw it."""
        self.row.first_contact_at, self.row.left_alone = at, sorted(unknown)
        if unknown:
            self._audit("first_contact", new={"left_alone": sorted(unknown)})
            logger.warning(
                "unknown_peers_left_alone", extra={"interface": self.interface.name, "peers": len(unknown)}
            )

    def write(
        self,
        news: Mapping[str, Reading],
        *,
        removed: Mapping[str, str],
        drift: Mapping[str, Collection[str]],
        decision: Decision,
        ended: Mapping[str, Ended],
        at: datetime,
        read_at: datetime,
    ) -> None:
        """Write what a pass that began at ``at`` found and did; nothing at all when it found and did nothing new.

        ``removed`` are the keys, with their peers, that are owed a receipt.
        """
        if news:
            self.statuses.write(news, at, whole=decision.whole)
            _tell(news)
            self._report(news)
        if removed:
            receipts(self.gateway, self.interface, removed, ended=ended, read_at=read_at)
        if drift:
            drift_event(self.gateway, self.interface, drift)
            self.row.drift_found += sum(map(len, drift.values()))
        if decision.whole:
            self._brake(decision)
            self.row.last_pass_at = at
        self._save_if_changed()

    def heartbeat(self, handshakes: Mapping[str, int], *, flood: bool) -> None:
        """Say that this gateway is alive and its passes succeed, and what handshakes came to since the last time."""
        for outcome, count in handshakes.items():
            column = f"handshakes_{outcome}"
            setattr(self.row, column, getattr(self.row, column) + count)
        self.row.flood_at = (self.row.flood_at or self.row.last_pass_at) if flood else None
        GatewayStatus.objects.filter(pk=self.row.pk).update(
            heartbeat_at=Now(), problem="", **{name: getattr(self.row, name) for name in WITH_HEARTBEAT}
        )

    def sample(self, at: datetime) -> None:
        """Keep what went through by ``at``, if anything was read back at all; call it while passes succeed."""
        if self.row.attached:
            self._samples.take(at)

    def trouble(self, problem: str) -> None:
        """Say why passes fail; the heartbeat stays as it is, so that pages stop claiming to know."""
        GatewayStatus.objects.filter(pk=self.row.pk).update(problem=problem[:200])

    def _report(self, news: Mapping[str, Reading]) -> None:
        for peer, reading in news.items():
            if reading.problem:
                logger.warning("row_put_aside", extra={"peer": peer, "problem": reading.problem})

    def _brake(self, decision: Decision) -> None:
        brake, was_at = decision.brake, self.row.brake_at
        self.row.unexplained, self.row.brake_at, self.row.released_at = (
            brake.unexplained,
            brake.at,
            brake.released_at,
        )
        self.row.held = len(decision.held)
        if brake.at and not was_at:
            self._audit("brake_engaged", new={"held": self.row.held})
            logger.error("brake_engaged", extra={"interface": self.interface.name, "held": self.row.held})

    def _save_if_changed(self) -> None:
        columns = (
            "drift_found",
            "first_contact_at",
            "left_alone",
            "unexplained",
            "brake_at",
            "released_at",
            "held",
        )
        now = tuple(map(str, (getattr(self.row, column) for column in columns)))
        if now != self._saved:
            self.row.save(update_fields=[*columns, "last_pass_at"])
            self._saved = now

    def _audit(self, action: str, *, new: dict[str, object]) -> None:
        audit.record(action, audit.Actor(gateway=self.gateway), self.interface, new=new)


def _tell(news: Collection[str]) -> None:
    """Tell those who wait which peers were read back; of too many for one notification it says nothing in particular."""
    peers = " ".join(news) if len(news) <= TOLD_AT_ONCE else ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [READ_BACK, peers])
