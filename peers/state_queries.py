"""Find the peers in a state by SQL: what ``states.judge`` says of one, for a hundred thousand at once."""

from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_, or_
from typing import Any

from django.db.models import (
    BigIntegerField,
    Case,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Least

from peers.models import (
    CONNECTED_WITHIN,
    LEASE_UNTIL,
    GatewayStatus,
    Interface,
    Peer,
    PeerKey,
    PeerStatus,
    entitlement,
    held_loss,
)
from peers.states import State
from portal.models import HeldLoss

NONE = Q(pk__in=[])
ENTITLED = {State.PENDING, State.LIVE, State.CONNECTED, State.IDLE, State.INVALID}
REASONS = {State.REVOKED, State.EXPIRED, State.SUSPENDED, State.SIGNED_OUT}  # why it is off; in this order


@dataclass(slots=True)
class Watch:
    """The attached gateways of one interface: those that report, and those that have fallen silent."""

    fresh: list[GatewayStatus]
    silent: list[GatewayStatus]


def in_state(peers: QuerySet[Peer], state: State, at: datetime) -> QuerySet[Peer]:
    """Return those of ``peers`` whose state is ``state`` at ``at``; one query more than the one it returns.

    No condition is negated where it could be null: each is either an Exists or a Case that is true or false.
    """
    watches = _watches(at)
    judged = peers.alias(lease_until=LEASE_UNTIL)
    if state in ENTITLED:
        return _of_entitled(judged.filter(*entitlement(at).values()), state, watches, at)
    if state in REASONS:
        return _off(_for(judged, state, at), watches, at)
    if state == State.UNKNOWN:
        return peers.filter(pk__in=_unknown(watches, at))
    if state == State.HELD:
        return peers.filter(pk__in=_held(watches, at))
    return _still_on(_barred(judged, at), watches, at)


def _of_entitled(
    peers: QuerySet[Peer], state: State, watches: dict[int, Watch], at: datetime
) -> QuerySet[Peer]:
    by_fresh = _read_by_fresh(watches)
    put_aside = Exists(_statuses().filter(by_fresh).exclude(problem=""))
    if state == State.INVALID:
        return peers.filter(put_aside)
    # A key is one peer's for ever: to compare the peers too would only make PostgreSQL expect a single row.
    with_its_key = PeerKey.objects.filter(public_key=OuterRef("public_key"), retired_at=None)
    on = _on().filter(by_fresh).filter(Exists(with_its_key))
    used = on.filter(latest_handshake__gt=at - CONNECTED_WITHIN)
    watched = peers.filter(
        ~put_aside, interface__in=[interface for interface, watch in watches.items() if watch.fresh]
    ).alias(loss_held=_yes(held_loss()))
    if state == State.HELD:
        return watched.filter(loss_held=True)
    watched = watched.filter(loss_held=False)
    if state == State.CONNECTED:
        return watched.filter(Exists(used))
    if state == State.LIVE:
        return watched.filter(Exists(on), ~Exists(used))
    on_demand = Q(interface__mode=Interface.Mode.ON_DEMAND)
    # As a difference: few are off, and for a page of few PostgreSQL would else look at each of the others in turn.
    taken = _present().filter(by_fresh).filter(Exists(with_its_key))
    off = Peer.objects.entitled(at).values("pk").difference(taken.values("peer"))
    return watched.filter(on_demand if state == State.IDLE else ~on_demand, pk__in=off)


def _unknown(watches: dict[int, Watch], at: datetime) -> QuerySet[Any]:
    """Return the ids of the peers of which nobody knows; a union, since PostgreSQL joins no condition within an OR."""
    watched = [interface for interface, watch in watches.items() if watch.fresh]
    barred = _barred(Peer.objects.alias(lease_until=LEASE_UNTIL), at)
    return (
        Peer.objects.entitled(at)
        .exclude(interface__in=watched)
        .values("pk")
        .union(_blind(barred, watches, at).values("pk"), barred.filter(_unheard(watches)).values("pk"))
    )


def _barred(peers: QuerySet[Peer], at: datetime) -> QuerySet[Peer]:
    return peers.alias(entitled=_yes(reduce(and_, entitlement(at).values()))).filter(entitled=False)


def _held(watches: dict[int, Watch], at: datetime) -> QuerySet[Any]:
    """Return the ids of the peers that a brake holds: a gateway's, which are barred, or that for identity, which are not."""
    barred = _barred(Peer.objects.alias(lease_until=LEASE_UNTIL), at)
    on = _sighted(barred, watches, at).filter(~_unheard(watches), Exists(_on().filter(held=True)))
    suspects = Peer.objects.entitled(at).filter(owner__in=HeldLoss.objects.values("person"))
    return on.values("pk").union(_of_entitled(suspects, State.HELD, watches, at).values("pk"))


def _still_on(peers: QuerySet[Peer], watches: dict[int, Watch], at: datetime) -> QuerySet[Peer]:
    held = Exists(_on().filter(held=True))
    known = _sighted(peers, watches, at).filter(~_unheard(watches))
    on = PeerStatus.objects.filter(present=True).values("peer")
    return known.filter(~held, pk__in=on.union(_unseen(watches, at).values("pk")))


def _off(peers: QuerySet[Peer], watches: dict[int, Watch], at: datetime) -> QuerySet[Peer]:
    unseen = Exists(_unseen(watches, at).filter(pk=OuterRef("pk")))
    return _sighted(peers, watches, at).filter(~Exists(_on()), ~unseen)


def _for(peers: QuerySet[Peer], reason: State, at: datetime) -> QuerySet[Peer]:
    """Return the peers that ``reason``, the first of ``REASONS`` to apply, bars; by plain columns where that can be."""
    met = entitlement(at)
    if reason == State.REVOKED:
        return peers.filter(revoked_at__isnull=False)
    peers = peers.filter(met["not_revoked"])
    if reason == State.EXPIRED:
        return peers.filter(expires_at__lte=at)
    peers = peers.filter(met["not_expired"])
    if reason == State.SUSPENDED:
        account = Q(service_account__suspended_at__isnull=False)
        return peers.filter(Q(suspended_at__isnull=False) | Q(owner__is_active=False) | account)
    signed_in = _yes(met["signed_in"] & met["admitted"] & met["access_lasts"])
    return peers.alias(signed_in=signed_in).filter(met["not_suspended"], met["owner_active"], signed_in=False)


def _watches(at: datetime) -> dict[int, Watch]:
    """Return who watches each interface that an attached gateway has ever reported on."""
    found: dict[int, Watch] = {}
    for gateway in GatewayStatus.objects.filter(attached=True):
        watch = found.setdefault(gateway.interface_id, Watch([], []))
        (watch.silent if gateway.is_silent(at) else watch.fresh).append(gateway)
    return found


def _yes(condition: Q) -> Case:
    return Case(When(condition, then=Value(True)), default=Value(False))


def _ended_at(at: datetime) -> Least:
    """Return when the peer was last cut off by its row, its owner's access or its account; null when something else bars it."""
    ends = (
        "revoked_at", "expires_at", "suspended_at", "owner__access_ended_at", "service_account__suspended_at",
    )  # fmt: skip
    return Least(*(Case(When(Q((f"{end}__lte", at)), then=F(end))) for end in ends))


def _missed(gateway: GatewayStatus) -> Q:
    """Return the condition that this gateway has not passed since the peer's end."""
    passed_at = gateway.last_pass_at
    return Q(ended_at__isnull=False) if passed_at is None else Q(ended_at__gt=passed_at)


def _blind(peers: QuerySet[Peer], watches: dict[int, Watch], at: datetime) -> QuerySet[Peer]:
    """Return the peers of whose end nobody can tell: no gateway reports, and none that is silent had passed since."""
    conditions = (
        Q(interface=interface) & reduce(and_, map(_missed, watch.silent))
        for interface, watch in watches.items()
        if watch.silent and not watch.fresh
    )
    return peers.alias(ended_at=_ended_at(at)).filter(reduce(or_, conditions, NONE))


def _sighted(peers: QuerySet[Peer], watches: dict[int, Watch], at: datetime) -> QuerySet[Peer]:
    blind = _blind(Peer.objects.all(), watches, at)
    return peers.filter(~Exists(blind.filter(pk=OuterRef("pk"))))


def _unseen(watches: dict[int, Watch], at: datetime) -> QuerySet[Peer]:
    """Return the peers since whose end a gateway which reports has not looked."""
    conditions = (
        Q(interface=interface)
        & _missed(gateway)
        & ~Exists(_statuses().filter(gateway=gateway.gateway, since__gte=OuterRef("ended_at")))
        for interface, watch in watches.items()
        for gateway in watch.fresh
    )
    return Peer.objects.alias(ended_at=_ended_at(at)).filter(reduce(or_, conditions, NONE))


def _unheard(watches: dict[int, Watch]) -> Exists:
    """Return the condition that the peer is on, as last written by a gateway that does not report."""
    on = _present().filter(peer=OuterRef("pk"))
    return Exists(on.exclude(_read_by_fresh(watches)))


def _statuses() -> QuerySet[PeerStatus]:
    """Return what gateways read back of the outer query's peer, with that peer's interface."""
    interface = ExpressionWrapper(OuterRef("interface_id"), output_field=BigIntegerField())
    return PeerStatus.objects.filter(peer=OuterRef("pk")).alias(on_interface=interface)


def _on() -> QuerySet[PeerStatus]:
    return _statuses().filter(present=True)


def _present() -> QuerySet[PeerStatus]:
    """Return what gateways have on, with each peer's interface, whatever the outer query is about."""
    return PeerStatus.objects.filter(present=True).alias(on_interface=F("peer__interface"))


def _read_by_fresh(watches: dict[int, Watch]) -> Q:
    """Return the condition that a status is of a gateway that reports on its peer's interface."""
    named: dict[tuple[str, ...], list[int]] = {}
    for interface, watch in watches.items():
        names = tuple(sorted(gateway.gateway for gateway in watch.fresh))
        named.setdefault(names, []).append(interface)
    conditions = (
        Q(gateway__in=names, on_interface__in=interfaces) for names, interfaces in named.items() if names
    )
    return reduce(or_, conditions, NONE)
