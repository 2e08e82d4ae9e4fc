"""Ask the database for the overview's figures: each a query whose number and cost do not grow with the people."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.core.cache import cache
from django.db.models import BooleanField, Count, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import TruncDay

from peers.admin.overview.judgement import Counts, GatewayLine, judged
from peers.models import (
    CONNECTED_WITHIN,
    GATEWAY_SILENT_AFTER,
    GatewayStatus,
    Interface,
    Peer,
    PeerStatus,
    TrafficSample,
)
from peers.plots import QUARTER
from portal.models import HeldLoss

LISTED = 20  # rows put aside, of which the page says how many there are
WRITTEN_BY = timedelta(minutes=2)  # a pass writes the samples of its quarter soon after it at the latest
FINISHED = "overview:connected"
KEPT = 48 * 3600  # seconds


class Holding(NamedTuple):
    """A gateway's hold on an interface; ``fresh``: it reports now what is on it."""

    pk: int
    gateway: str
    interface: int
    fresh: bool


def gateway_lines(at: datetime, on: Interface | None = None) -> list[GatewayLine]:
    """Return what each gateway says, of one interface or of all."""
    rows = GatewayStatus.objects.select_related("interface").order_by("interface__name", "gateway")
    if on is not None:
        rows = rows.filter(interface=on)
    counted = rows.annotate(unknown=F("left_alone__len")).defer("left_alone")
    return [judged(row, row.unknown, at) for row in counted]


def holdings(at: datetime) -> list[Holding]:
    """Return every hold that any gateway has ever reported."""
    fresh = Q(attached=True, heartbeat_at__gte=at - GATEWAY_SILENT_AFTER)
    rows = GatewayStatus.objects.order_by("pk").values_list("pk", "gateway", "interface")
    return [Holding(*row) for row in rows.annotate(fresh=ExpressionWrapper(fresh, BooleanField()))]


def shared(held: Iterable[Holding]) -> bool:
    """Return whether two gateways hold one interface, so that a peer may be counted by each."""
    interfaces = [holding.interface for holding in held]
    return len(interfaces) > len(set(interfaces))


def counts(at: datetime, held: Sequence[Holding]) -> dict[int, Counts]:
    """Return the counts of each interface by its id; an interface without any has no entry."""
    used, entitled, on = _used(at), _entitled(at), _on(at, held)
    return {
        pk: Counts(used.get(pk, 0), entitled.get(pk, 0), *on.get(pk, (0, 0)))
        for pk in {*used, *entitled, *on}
    }


def put_aside() -> tuple[list[PeerStatus], int]:
    """Return the first of the rows that gateways put aside, and how many there are."""
    found = PeerStatus.objects.exclude(problem="").select_related(
        "peer__owner", "peer__service_account", "peer__interface"
    )
    rows = found.annotate(total=Window(Count("*"))).order_by("peer__interface__name", "pk")
    first: list[Any] = list(rows[:LISTED])
    return first, first[0].total if first else 0


def losses_held() -> int:
    """Return of how many people the identity brake holds the loss of access."""
    return HeldLoss.objects.count()


def enrolments(since: datetime) -> Iterable[tuple[datetime, int]]:
    """Return (day, how many devices were enrolled on it), for the days that had any."""
    days = Peer.objects.filter(enrolled_at__gte=since).order_by().annotate(day=TruncDay("enrolled_at"))
    return days.values_list("day").annotate(count=Count("*"))


def connected(since: datetime, at: datetime, *, shared: bool) -> list[tuple[datetime, int]]:
    """Return (beginning of a quarter of an hour, how many devices were connected in it), for those that had any.

    ``shared``: two gateways may have seen one device. A quarter that is over never changes, so what was counted of it is
    kept: days of many samples are not counted anew on each look.
    """
    finished = _still_to_show(cache.get(FINISHED), since)
    after = max(finished, default=None)
    fresh = _sampled(since if after is None else after + QUARTER, shared=shared)
    done = {begin: count for begin, count in fresh if begin + QUARTER + WRITTEN_BY <= at}
    if done:
        cache.set(FINISHED, {**finished, **done}, KEPT)
    return [*finished.items(), *fresh]


def _still_to_show(kept: dict[datetime, int] | None, since: datetime) -> dict[datetime, int]:
    return {begin: count for begin, count in (kept or {}).items() if begin >= since}


def _sampled(since: datetime, *, shared: bool) -> list[tuple[datetime, int]]:
    found = TrafficSample.objects.filter(at__gte=since).order_by().values_list("at")
    # Each row is a device, which an index alone tells, unless two gateways may have written one.
    return list(found.annotate(count=Count("peer", distinct=True) if shared else Count("*")))


def _used(at: datetime) -> dict[int, int]:
    resting = Q(released_at__gt=at - F("interface__address_rest"))
    return _by_interface(Peer.objects.filter(Q(released_at=None) | resting, host__isnull=False))


def _entitled(at: datetime) -> dict[int, int]:
    return _by_interface(Peer.objects.entitled(at))


def _by_interface(peers: QuerySet[Peer]) -> dict[int, int]:
    return dict(peers.order_by().values_list("interface").annotate(count=Count("*")))


def _on(at: datetime, held: Sequence[Holding]) -> dict[int, list[int]]:
    """Return how many peers are on each interface and how many of them connected, by gateways that report now."""
    fresh = [holding for holding in held if holding.fresh]
    several, recent = shared(fresh), Q(latest_handshake__gt=at - CONNECTED_WITHIN)
    counted = {
        "on": Count("peer", distinct=several),
        "recent": Count("peer", distinct=several, filter=recent),
    }
    names = [holding.gateway for holding in fresh]
    on = PeerStatus.objects.filter(present=True, gateway__in=names).order_by()
    interface_of = {holding.gateway: holding.interface for holding in held}
    if several or len(interface_of) < len(held):
        rows = on.filter(_by_any(fresh)).values_list("peer__interface").annotate(**counted)
        return {interface: figures for interface, *figures in rows}
    # A gateway's name says which interface: the peers' rows, which cost more than all the rest, need not be read.
    rows = on.values_list("gateway").annotate(**counted)
    return {interface_of[gateway]: figures for gateway, *figures in rows}


def _by_any(held: Sequence[Holding]) -> Exists:
    holding = GatewayStatus.objects.filter(
        gateway=OuterRef("gateway"), interface=OuterRef("peer__interface"), pk__in=[one.pk for one in held]
    )
    return Exists(holding)
