"""Give a peer its host number: one statement, safe under concurrency, O(log n)."""

from typing import Any

from django.db import connection

from peers.models import Peer

# A number comes from, in this order: one that its owner gave up (at once), one that has rested, one whose former holder
# was pruned, the next never given, one that its service account gave up: as long as there are others, each of an account's
# machines can come back to its own.
# SKIP LOCKED lets racers pass each other; the mark's row lock makes them queue, so the last number is given once.
# The interface's own number is stepped over.
ALLOCATE = """
WITH own AS (
    SELECT id, host FROM peers_peer
    WHERE interface_id = %(interface)s AND owner_id = %(owner)s AND id <> %(peer)s
      AND host IS NOT NULL AND released_at <= now()
    ORDER BY released_at LIMIT 1 FOR UPDATE SKIP LOCKED
), rested AS (
    SELECT id, host FROM peers_peer
    WHERE interface_id = %(interface)s AND id <> %(peer)s AND NOT EXISTS (SELECT FROM own)
      AND host IS NOT NULL AND released_at <= now() - %(rest)s
    ORDER BY released_at LIMIT 1 FOR UPDATE SKIP LOCKED
), freed AS (
    DELETE FROM peers_freednumber WHERE id = (
        SELECT id FROM peers_freednumber WHERE interface_id = %(interface)s
          AND NOT EXISTS (SELECT FROM own) AND NOT EXISTS (SELECT FROM rested)
        ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING host
), fresh AS (
    UPDATE peers_interface
    SET next_host = next_host + CASE WHEN next_host = host THEN 2 ELSE 1 END
    WHERE id = %(interface)s
      AND NOT EXISTS (SELECT FROM own) AND NOT EXISTS (SELECT FROM rested) AND NOT EXISTS (SELECT FROM freed)
      AND next_host + CASE WHEN next_host = host THEN 1 ELSE 0 END <= %(last)s
    RETURNING next_host - 1 AS host
), siblings AS (
    SELECT id, host FROM peers_peer
    WHERE interface_id = %(interface)s AND service_account_id = %(account)s AND id <> %(peer)s
      AND host IS NOT NULL AND released_at <= now()
      AND NOT EXISTS (SELECT FROM rested) AND NOT EXISTS (SELECT FROM freed) AND NOT EXISTS (SELECT FROM fresh)
    ORDER BY released_at LIMIT 1 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE peers_peer AS former SET host = NULL
    FROM (SELECT * FROM own UNION ALL SELECT * FROM rested UNION ALL SELECT * FROM siblings) AS released
    WHERE former.id = released.id RETURNING released.host
)
SELECT host FROM taken UNION ALL SELECT host FROM freed UNION ALL SELECT host FROM fresh
"""


class PoolExhausted(Exception):
    """Every number of the interface's pools is in use or rests."""


def allocate(peer: Peer) -> int:
    """Return a host number for ``peer`` and take it from whoever had it last; raise PoolExhausted.

    Call it inside a transaction and as late as possible: the interface's row stays locked until its end.
    """
    interface = peer.interface
    values: dict[str, Any] = {
        "interface": interface.pk,
        "owner": peer.owner_id,
        "account": peer.service_account_id,
        "peer": peer.pk,
        "rest": interface.address_rest,
        "last": interface.last_host,
    }
    with connection.cursor() as cursor:
        cursor.execute(ALLOCATE, values)
        row = cursor.fetchone()
    if row is None:
        raise PoolExhausted
    return int(row[0])
