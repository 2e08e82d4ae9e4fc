"""How long a machine stays: the time it asks for, the renewal of it, and the end of those that nobody uses."""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Value
from django.utils.translation import gettext as _

from peers.audit import Actor, addresses, record
from peers.models import (
    GATEWAY_SILENT_AFTER,
    GatewayStatus,
    Interface,
    Peer,
    PeerStatus,
    ServiceAccount,
    TrafficSample,
)
from peers.models.interface import LONGEST
from peers.services.locks import active
from peers.services.refused import Expired, TtlMissing, TtlTooLong
from portal.models import User

AT_ONCE = 500  # peers a transaction
NEVER_USED = "It never made a first handshake."
IDLE = "It had no handshake for too long."


def end_of(holder: ServiceAccount | User, ttl: timedelta | None, at: datetime) -> datetime | None:
    """Return when a peer of the holder's ends that is enrolled at ``at`` for ``ttl``; None: not by itself.

    Without ``ttl`` it is what the account says. Raises TtlTooLong: a longer one is never silently cut.
    """
    usual, longest = None, LONGEST
    if isinstance(holder, ServiceAccount):
        usual, longest = holder.default_ttl, holder.max_ttl or LONGEST
    if ttl is not None and ttl > longest:
        seconds = int(longest.total_seconds())
        sentence = _("The longest time that you may ask for is %(seconds)d seconds.") % {"seconds": seconds}
        raise TtlTooLong(sentence)
    lasts = ttl or usual
    return at + lasts if lasts else None


def renew(*, actor: Actor, peer: Peer, ttl: timedelta | None, at: datetime) -> Peer:
    """Return the peer, to end ``ttl`` from ``at``, or as its account says. Raises NotActive, Expired, TtlTooLong, TtlMissing."""
    with active(peer) as row:
        if row.host is None or (row.expires_at is not None and row.expires_at <= at):
            raise Expired  # without a number: it was over, and another was given it while this waited
        old, row.expires_at = row.expires_at, end_of(row.holder, ttl, at)
        if row.expires_at is None and old is not None:
            raise TtlMissing  # it was to end, and forgetting to say when is no wish that it never does
        if old != row.expires_at:
            row.save(update_fields=["expires_at"])
            record(
                "renew", actor, row, old={"expires_at": text(old)}, new={"expires_at": text(row.expires_at)}
            )
    return row


# Whose use shows in its status: on demand, who is off was not used since.
WATCHED = Q(present=True) | Q(peer__interface__mode=Interface.Mode.ON_DEMAND)


def expire_unused(*, actor: Actor, at: datetime) -> int:
    """End the machines that nobody uses at ``at``, the database's time, and return how many that were.

    Those of an account with ``idle_after`` end after that long without a handshake, and every machine that came on the
    interface a day ago (LATCHKEY_FIRST_HANDSHAKE_WITHIN) and never made one. It is judged by what gateways which report
    have read back since, and none is ended for what nobody could see. On demand one that is off is not used: it would be on.
    """
    unused = _on(at).filter(_never_used(), since__lte=at - settings.LATCHKEY_FIRST_HANDSHAKE_WITHIN)
    return _expire(unused, NEVER_USED, actor, at) + _expire(_idle(at), IDLE, actor, at)


def _on(at: datetime) -> QuerySet[PeerStatus]:
    """Return what is read back of machines that are on, or on demand were, by gateways that report."""
    reports = GatewayStatus.objects.filter(
        gateway=OuterRef("gateway"), interface=OuterRef("peer__interface"), attached=True,
        heartbeat_at__gt=at - GATEWAY_SILENT_AFTER,
    )  # fmt: skip
    return PeerStatus.objects.filter(WATCHED, Exists(reports), peer__service_account__isnull=False)


def _never_used() -> Q:
    """Return the condition that no handshake is known: an interface that was made anew has forgotten those there were."""
    return Q(latest_handshake=None) & ~Q(Exists(TrafficSample.objects.filter(peer=OuterRef("peer"))))


def _idle(at: datetime) -> QuerySet[PeerStatus]:
    from_then_on = ExpressionWrapper(
        Value(at) - F("peer__service_account__idle_after"), output_field=DateTimeField()
    )
    seen = _on(at).alias(idle_from=from_then_on).filter(since__lte=F("idle_from"))
    return seen.filter(_never_used() | Q(latest_handshake__lte=F("idle_from")))


def _expire(unused: QuerySet[PeerStatus], reason: str, actor: Actor, at: datetime) -> int:
    ended = 0
    while ids := list(_to_end(unused, at).values_list("pk", flat=True)[:AT_ONCE]):
        ended += _end(ids, unused, reason, actor, at)
    return ended


def _to_end(unused: QuerySet[PeerStatus], at: datetime) -> QuerySet[Peer]:
    """Return the entitled peers of which no gateway says that they are used."""
    used = PeerStatus.objects.filter(WATCHED, peer=OuterRef("pk")).exclude(pk__in=unused.values("pk"))
    return Peer.objects.entitled(at).filter(~Exists(used), pk__in=unused.values("peer")).order_by("pk")


@transaction.atomic
def _end(ids: list[UUID], unused: QuerySet[PeerStatus], reason: str, actor: Actor, at: datetime) -> int:
    """End those that are still to be ended now that they are ours; a renewal may have come first."""
    rows = Peer.objects.select_for_update(of=("self",), no_key=True).select_related(
        "interface", "service_account"
    )
    mine = list(rows.filter(pk__in=ids).order_by("pk"))
    due = set(_to_end(unused, at).filter(pk__in=ids).values_list("pk", flat=True))
    for row in mine:
        if row.pk in due:
            old, row.expires_at = row.expires_at, at
            row.save(update_fields=["expires_at"])
            record(
                "expire",
                actor,
                row,
                old={"expires_at": text(old), "addresses": addresses(row)},
                reason=reason,
            )
    return len(due)


def text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
