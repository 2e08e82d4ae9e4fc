"""Who had an address when, from the audit alone: a device's row may be pruned long before somebody asks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from peers.models import AuditEvent, Interface, PeerStatus, ServiceAccount
from peers.receipts import REMOVED, read_back_at
from portal.models import User

MOST = 1000  # times that an address was given, in one answer

# What is read of a device: what gave it an address and what took it away, its name, and what gateways said.
TOLD = Q(new__has_key="addresses") | Q(action__in=["revoke", "rename", "removed"])
# What moves the end of a device's time and leaves its address alone; a machine renews again and again.
MOVES = ("renew", "expire")


class End(StrEnum):
    """What ends a device's time with an address."""

    NONE = "none"
    REVOKED = "revoked"
    EXPIRED = "expired"
    RENEWED = "renewed"
    UNRECORDED = "unrecorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """One device's time with an address: from ``since`` until just before ``until``.

    ``until`` is None while nothing ends it, and with ``End.UNRECORDED`` when nobody wrote down when it ended; it lies ahead
    for a device that will expire. ``name`` is the device's last. ``taken_off`` holds the times, in order, at which a
    gateway read it back as off the interface; ``on_since``, when one that still has it on first read it back as on.
    """

    peer: UUID | None
    name: str
    holder: User | ServiceAccount | None
    interface: Interface | None
    pruned: bool
    since: datetime
    until: datetime | None
    end: End
    on_since: datetime | None
    taken_off: tuple[datetime, ...]

    @property
    def is_a_machines(self) -> bool:
        return isinstance(self.holder, ServiceAccount)

    def covers(self, at: datetime) -> bool:
        return self.since <= at and (self.until is None or at < self.until)

    def last_off(self, at: datetime) -> datetime | None:
        """Return when a gateway had last taken it off by ``at``."""
        return max((off for off in self.taken_off if off <= at), default=None)

    def next_off(self, at: datetime) -> datetime | None:
        """Return when a gateway next took it off after ``at``, which proves that it was on by then."""
        return min((off for off in self.taken_off if off > at), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time during which a device had what one event gave it."""

    since: datetime
    until: datetime | None
    end: End


def holders(address: IPv4Address | IPv6Address) -> QuerySet[AuditEvent]:
    """Return the events that gave ``address`` to a device; an index finds them."""
    return AuditEvent.objects.filter(new__has_key="addresses", new__addresses__contains=[_text(address)])


def history(address: IPv4Address | IPv6Address, at: datetime) -> tuple[list[Spell], bool]:
    """Return every device's time with ``address``, the latest first, and whether there are more.

    Of an address that was given more than a thousand times, it is the last thousand times up to ``at``.
    """
    given = holders(address).exclude(peer=None).order_by("-at", "-pk").values_list("peer", flat=True)
    peers = list(given[: MOST + 1])
    if more := len(peers) > MOST:
        peers = list(given.filter(at__lte=at)[:MOST])
    wanted = Q(TOLD, peer__in=set(peers)) | Q(pk__in=_last_moves(peers))
    events = AuditEvent.objects.filter(wanted).order_by("peer_id", "at", "pk")
    # The device apart: joined, an event of one that was pruned would be left out.
    events = events.select_related("person", "service_account", "interface").prefetch_related("peer")
    on = _on_since(peers)
    found: list[Spell] = []
    for peer, told in groupby(events, key=lambda event: event.peer_id):
        found += _spells(list(told), _text(address), on.get(peer))
    return _bounded(found), more


def _last_moves(peers: Iterable[UUID]) -> list[int]:
    """Return the number of the event that last moved the end of each peer's time, of those that had it moved."""
    moves = AuditEvent.objects.filter(action__in=MOVES, peer__in=set(peers)).exclude(new__has_key="addresses")
    return list(moves.order_by("peer_id", "-at", "-pk").distinct("peer_id").values_list("pk", flat=True))


def _text(address: IPv4Address | IPv6Address) -> str:
    """Return the address as the audit writes it."""
    return f"{address}/{address.max_prefixlen}"


def _on_since(peers: Iterable[UUID]) -> dict[Any, datetime]:
    """Return since when the peers that are on an interface now have been read back as on it."""
    rows = PeerStatus.objects.filter(peer__in=set(peers), present=True, since__isnull=False)
    return dict(rows.order_by("-since").values_list("peer", "since"))  # the earliest is the last to be kept


def _spells(events: Sequence[AuditEvent], text: str, on_since: datetime | None) -> list[Spell]:
    """Return one device's times with the address, given all that the audit tells of it, in order."""
    last = events[-1]
    removed = sorted(read_back_at(event.at, event.new) for event in events if event.action == REMOVED)
    return [
        Spell(
            peer=last.peer_id, name=_name(events), holder=_holder(events), interface=last.interface,
            pruned=last.peer is None, since=span.since, until=span.until, end=span.end,
            on_since=on_since if _reaches(span, on_since) else None,
            taken_off=_of(span, removed),
        )
        for span in _spans(events, text)
    ]  # fmt: skip


def _reaches(span: Span, on_since: datetime | None) -> bool:
    """Return whether what is on, from ``on_since`` to now, was on at any time of the span."""
    return on_since is not None and (span.until is None or on_since < span.until)


def _of(span: Span, removed: Iterable[datetime]) -> tuple[datetime, ...]:
    """Return the receipts from the span's beginning on, with the first after its end: that one is of this span too."""
    later = [at for at in removed if at >= span.since]
    if span.until is None:
        return tuple(later)
    within = [at for at in later if at < span.until]
    return (*within, *later[len(within) : len(within) + 1])


def _spans(events: Sequence[AuditEvent], text: str) -> list[Span]:
    """Return the times during which the device had the address; one that was renewed in time goes on."""
    given = [event for event in events if "addresses" in event.new]
    revoked = next((event.at for event in events if event.action == "revoke"), None)
    moved = next((event for event in reversed(events) if _moves(event)), None)
    spans: list[Span] = []
    for event, following in zip(given, [*given[1:], None], strict=True):
        if text not in event.new["addresses"]:
            continue
        span = _span(event, following, revoked, moved)
        if spans and spans[-1].end == End.RENEWED and spans[-1].until == span.since:
            span = replace(span, since=spans.pop().since)
        spans.append(span)
    return spans


def _moves(event: AuditEvent) -> bool:
    return event.action in MOVES and "addresses" not in event.new


def _span(
    event: AuditEvent, following: AuditEvent | None, revoked: datetime | None, moved: AuditEvent | None
) -> Span:
    """Return how long the device had what ``event`` gave it: the first of the things that end it."""
    expires, known = _expiry(event, following, moved)
    ends = [
        (expires, End.EXPIRED),
        (revoked, End.REVOKED),
        (following.at if following else None, End.RENEWED),
    ]
    until, end = min(
        ((at, end) for at, end in ends if at is not None),
        default=(None, End.NONE if known else End.UNRECORDED),
    )
    return Span(since=event.at, until=until, end=end)


def _expiry(
    event: AuditEvent, following: AuditEvent | None, moved: AuditEvent | None
) -> tuple[datetime | None, bool]:
    """Return when what ``event`` gave would expire, and whether anybody still knows; ``moved`` is the last that moved it."""
    if following is not None and "expires_at" in following.old:
        return _time(following.old["expires_at"]), True
    if following is None and moved is not None and moved.at >= event.at:
        return (moved.at if moved.action == "expire" else _time(moved.new.get("expires_at"))), True
    if "expires_at" in event.new:
        return _time(event.new["expires_at"]), True
    return (event.peer.expires_at, True) if event.peer else (None, False)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _name(events: Sequence[AuditEvent]) -> str:
    """Return the device's name, or the last one that the audit tells of."""
    if events[-1].peer is not None:
        return events[-1].peer.name
    return next((event.new["name"] for event in reversed(events) if "name" in event.new), "")


def _holder(events: Sequence[AuditEvent]) -> User | ServiceAccount | None:
    return next((holder for event in events if (holder := event.person or event.service_account)), None)


def _bounded(spells: Iterable[Spell]) -> list[Spell]:
    """Return the spells, the latest first, each over by when another device was given the address."""
    ordered = sorted(spells, key=lambda spell: spell.since, reverse=True)
    found: list[Spell] = []
    for spell in ordered:
        after = next((later.since for later in reversed(found) if later.peer != spell.peer), None)
        over = after is not None and (spell.until is None or after < spell.until)
        found.append(replace(spell, until=after, end=End.UNRECORDED) if over else spell)
    return found
