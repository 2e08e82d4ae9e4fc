"""When a device was barred and when gateways read it back as gone; both moments are the database's, whose clock is one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, Exists, F, Max, OuterRef, Q, Subquery, When
from django.db.models.functions import JSONObject, Now

from peers.models import AuditEvent, Peer, PeerStatus

REMOVED = "removed"
DUE = "due"  # what ends a device's time without anybody's act: its expiry, or its owner's sign-in being over
OF_PEER = ("revoke", "suspend", "expire")
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


def cause() -> Case:
    """Return, for each ``removed`` among audit events, the act that barred the device as ``{action, at}``; null: none did.

    It is the latest one on the device, its owner or its service account or, for a replaced key, that key, unless an earlier
    receipt of the same gateway for the same key had answered it already.
    """
    outer = {name: OuterRef(OuterRef(name)) for name in ("peer", "gateway", "old")}
    answered = AuditEvent.objects.filter(
        action=REMOVED, at__gt=OuterRef("at"), at__lt=OuterRef(OuterRef("at")), **outer
    )
    replaced = Q(action="replace_key", old__public_key=OuterRef("old__public_key"))
    on_peer = Q(Q(action__in=OF_PEER) | replaced, peer=OuterRef("peer"))
    on_person = Q(action__in=OF_PERSON, peer=None, person=OuterRef("person"))
    barring = Q(action="suspend") | Q(action="change_account", old__has_key="interfaces")
    on_account = Q(barring, peer=None, service_account=OuterRef("service_account"))
    barred = on_peer | on_person | on_account
    acts = AuditEvent.objects.filter(barred, ~Exists(answered), at__lte=OuterRef("at"))
    # Plus nothing: an index in the order of ``id`` would be walked to its very end where there is no such act.
    latest = acts.order_by((F("id") + 0).desc()).values_list(JSONObject(action="action", at="at"))[:1]
    return Case(When(action=REMOVED, then=Subquery(latest)), default=None)


def causes(events: Iterable[int]) -> dict[int, dict[str, str] | None]:
    """Return the ``cause`` of each ``removed`` event by its number."""
    numbers = list(events)
    return dict(AuditEvent.objects.filter(pk__in=numbers).values_list("pk", cause())) if numbers else {}


def receipt(gateway: str, at: datetime, new: dict[str, Any], barred: dict[str, str] | None) -> Receipt:
    """Return the receipt that a ``removed`` event is, from its columns and its ``cause``.

    A deadline by which the gateway acted goes before any act.
    """
    removed_at = read_back_at(at, new)
    if (due_at := _time(new.get("due_at"))) is not None:
        return Receipt(gateway, DUE, due_at, removed_at)
    if barred is None:
        return Receipt(gateway, removed_at=removed_at)
    return Receipt(gateway, barred["action"], _time(barred["at"]), removed_at)


def receipts(peer: Peer) -> list[Receipt]:
    """Return what each gateway that had the peer says of its latest end, by the gateway's name; none while it may be on."""
    if Peer.objects.filter(pk=peer.pk).entitled(Now()).exists():
        return []
    restored = AuditEvent.objects.filter(peer=peer, action="restore").aggregate(at=Max("at"))["at"]
    told = AuditEvent.objects.filter(peer=peer, action=REMOVED).order_by("gateway", "-at", "-pk")
    if restored:  # what was before that ended then, and on demand nothing need follow
        told = told.filter(at__gt=restored)
    latest = told.distinct("gateway").values_list("gateway", "at", "new", cause())
    on = set(PeerStatus.objects.filter(peer=peer, present=True).values_list("gateway", flat=True))
    found = [receipt(*row) for row in latest if row[0] not in on]
    return sorted([*found, *map(Receipt, on)], key=lambda one: one.gateway)


def read_back_at(at: datetime, new: dict[str, Any]) -> datetime:
    """Return when the gateway saw what a ``removed`` event of ``at`` tells of; those of an earlier release say no more."""
    return _time(new.get("read_back_at")) or at


def _time(text: object) -> datetime | None:
    """Return the time that a gateway or the database wrote; None for what is none."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None
