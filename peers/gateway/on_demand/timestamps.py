"""The greatest timestamp of each key, in the database: what makes a replay one after a taking off, or at another gateway."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction

from peers.models import HandshakeTimestamp, Interface
from portal.database import prepared

# Whoever is asked at the same moment waits for the row and then finds a greater one there. That a crash of PostgreSQL may
# forget the last half second is no harm that would be worth its wait for the disk.
ADVANCE = """
WITH asked (public_key, tai64n) AS (SELECT * FROM unnest(%s::text[], %s::bytea[])),
known AS (
    SELECT key.id, key.peer_id, asked.public_key, asked.tai64n FROM asked
    JOIN peers_peerkey key USING (public_key) JOIN peers_peer peer ON peer.id = key.peer_id AND peer.interface_id = %s),
newer AS (
    INSERT INTO peers_handshaketimestamp AS last (key_id, tai64n, seen_at)
    SELECT id, tai64n, now() FROM known ORDER BY id
    ON CONFLICT (key_id) DO UPDATE SET tai64n = excluded.tai64n, seen_at = excluded.seen_at
        WHERE last.tai64n < excluded.tai64n RETURNING key_id)
SELECT public_key, peer_id::text, EXISTS (SELECT FROM newer WHERE key_id = known.id),
    set_config('synchronous_commit', 'off', true)
FROM known
"""
PUT_LATER = """
UPDATE peers_handshaketimestamp last SET tai64n = passed.tai64n
FROM unnest(%s::bigint[], %s::bytea[]) AS passed (key_id, tai64n)
WHERE last.key_id = passed.key_id AND last.tai64n < passed.tai64n
"""
MARGIN = timedelta(seconds=5)  # a packet may be that long on its way
SECONDS = 8  # bytes; four of nanoseconds follow


class Asking(NamedTuple):
    """Who asks by a known key: the id of its peer, and whether the timestamp is greater than all before."""

    peer: str
    newer: bool


def advance(interface: Interface, timestamps: Mapping[str, bytes]) -> dict[str, Asking]:
    """Keep the timestamps of those keys that this interface ever had, and say of each whether it was news."""
    if not timestamps:
        return {}
    with connection.cursor() as cursor:
        prepared.execute(cursor, ADVANCE, [list(timestamps), list(timestamps.values()), interface.pk])
        return {key: Asking(peer, newer) for key, peer, newer, _ in cursor.fetchall()}


@transaction.atomic
def pass_over(ages: Mapping[str, float | None], at: datetime) -> None:
    """Have handshakes refused that these keys, which are taken off at ``at``, began before: not all were seen here.

    By then nothing had come from them for minutes. The device's clock is taken to be as far off as it was when the last
    timestamp was seen: by ``ages`` so many seconds ago, or with None when the database says.
    """
    known = HandshakeTimestamp.objects.filter(key__public_key__in=list(ages)).order_by("pk")
    rows = known.select_for_update(of=("self",)).values_list("pk", "key__public_key", "tai64n", "seen_at")
    passed = {pk: later(bytes(tai64n), _since(ages[key], at - seen_at)) for pk, key, tai64n, seen_at in rows}
    with connection.cursor() as cursor:
        cursor.execute(PUT_LATER, [list(passed), list(passed.values())])


def _since(age: float | None, by_the_database: timedelta) -> timedelta:
    return (by_the_database if age is None else timedelta(seconds=age)) - MARGIN


def later(tai64n: bytes, by: timedelta) -> bytes:
    """Return the timestamp that is ``by`` later; TAI64N counts from 2^62, so it cannot overflow in our time."""
    seconds = int.from_bytes(tai64n[:SECONDS], "big") + int(by.total_seconds())
    return (seconds % (1 << 64)).to_bytes(SECONDS, "big") + tai64n[SECONDS:]
