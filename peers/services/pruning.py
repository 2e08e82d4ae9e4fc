"""Forget devices that ended long ago; what stays is the audit and the fingerprint of each of their keys."""

from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Manager, Q, QuerySet

from peers.audit import Actor, record
from peers.models import (
    SAMPLES_KEPT,
    EnrolLink,
    FreedNumber,
    HandshakeTimestamp,
    Peer,
    PeerKey,
    PeerStatus,
    RefusedHandshake,
    TrafficSample,
)
from peers.services.refused import NotOwner

AT_ONCE = 1000  # peers a transaction
POINTING: list[tuple[Manager[Any], str]] = [
    (HandshakeTimestamp.objects, "key__peer"),
    *((model.objects, "peer") for model in (TrafficSample, PeerStatus, RefusedHandshake, PeerKey, EnrolLink)),
]
BAR = """
INSERT INTO peers_barredkey (fingerprint)
SELECT sha256(convert_to(public_key, 'UTF8')) FROM peers_peerkey WHERE peer_id = ANY(%s) ON CONFLICT DO NOTHING
"""


def prunable(*, before: datetime, at: datetime) -> QuerySet[Peer]:
    """Return the peers that were revoked or had expired before ``before``, and that nothing needs at ``at``.

    Those that a gateway still has on an interface, or whose address still rests, are not among them.
    """
    on = PeerStatus.objects.filter(present=True).values("peer")
    rested = Q(host=None) | Q(released_at__lte=at - F("interface__address_rest"))
    return Peer.objects.filter(rested, released_at__lt=before).exclude(pk__in=on)


@transaction.atomic
def prune(*, actor: Actor, before: datetime, at: datetime) -> int:
    """Delete a thousand prunable peers, with old links and samples; return how many peers went, 0 when none is left.

    Peers that somebody works on at this moment are left for the next time. Raises NotOwner: no other role may.
    """
    _must_be_owner()
    EnrolLink.objects.filter(expires_at__lt=before).delete()
    # A gateway drops its own, and must not wait for us; those of one that is gone would stay for ever.
    old = at - SAMPLES_KEPT
    TrafficSample.objects.filter(at__lt=old, gateway__heartbeat_at__lt=old).delete()
    waiting = prunable(before=before, at=at).select_for_update(of=("self",), skip_locked=True)
    rows = list(waiting.order_by("pk")[:AT_ONCE])
    if rows:
        _forget(rows)
        record("prune", actor, None, new={"peers": len(rows), "before": before.isoformat()})
    return len(rows)


def _must_be_owner() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege('peers_peer', 'DELETE')")
        if not cursor.fetchone()[0]:
            raise NotOwner


def _forget(rows: list[Peer]) -> None:
    """Delete locked peers and all that points to them, bar their keys, and free their numbers."""
    ids = [row.pk for row in rows]
    with connection.cursor() as cursor:
        cursor.execute(BAR, [ids])
    FreedNumber.objects.bulk_create(
        FreedNumber(interface_id=row.interface_id, host=row.host) for row in rows if row.host is not None
    )
    for rows_of, column in POINTING:
        rows_of.filter(**{f"{column}__in": ids}).delete()
    Peer.objects.filter(pk__in=ids).delete()
