"""When a device was barred and when gateways read it back as gone; both moments are the database's, whose clock is one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import CharField, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import JSONObject

from peers.models import AuditEvent, Peer

REMOVED = "removed"
DUE = "due"  # what ends a device's time without anybody's act: its expiry, or its owner's sign-in being over
OF_PEER = ("revoke", "suspend")
OF_PERSON = ("suspend", "access_ended", "groups_changed")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a gateway says of a device's end.

    ``after`` is the audit's action that barred it, or ``DUE``; "" where nothing recorded did. ``at`` is when that was;
    ``removed_at`` when the gateway read the interface back without the device, None while it has not.
    """

    gateway: str
    after: str = ""
    at: datetime | None = None
    removed_at: datetime | None = None

    @property
    def milliseconds(self) -> int | None:
        """How long it took; None where either moment is not known."""
        if self.at is None or self.removed_at is None:
            return None
        return max(0, round((self.removed_at - self.at) / timedelta(milliseconds=1)))


def cause() -> Subquery:
    """Return, for the ``removed`` among audit events, what barred the device as ``{action, at}``; null: nothing recorded.

    That is the latest act on the device, its owner or, for a replaced key, the key, that no earlier receipt of the same
    gateway for the same key had answered already.
    """
    same_key = {"gateway": OuterRef(OuterRef("gateway")), "old": OuterRef(OuterRef("old"))}
    answered = AuditEvent.objects.filter(
        action=REMOVED, peer=OuterRef(OuterRef("peer")), at__gt=OuterRef("at"), at__lt=OuterRef(OuterRef("at")), **same_key,
    )  # fmt: skip
    replaced = Q(action="replace_key", old__public_key=OuterRef("old__public_key"))
    on_peer = Q(Q(action__in=OF_PEER) | replaced, peer=OuterRef("peer"))
    on_person = Q(action__in=OF_PERSON, peer=None, person=OuterRef("person"))
    acts = AuditEvent.objects.filter(on_peer | on_person, ~Exists(answered), at__lte=OuterRef("at"))
    # Plus nothing: an index in the order of ``id`` would be walked to its very end where there is no such act.
    latest = acts.order_by((F("id") + 0).desc()).values_list(JSONObject(action="action", at="at"))[:1]
    return Subquery(latest)


def with_causes(events: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
    """Return the events, each ``removed`` with its ``cause``."""
    return events.annotate(cause=when_removed(cause()))
