"""Give a peer its host number: safe under concurrency, O(log n), to the very last one."""

from typing import Any

from django.db import connection

from peers.models import Peer

AHEAD = 32  # numbers that are set aside at a time

# One that its owner gave up (at once), one that has rested, one that is free. SKIP LOCKED lets racers pass each other.
TAKE = """
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
), taken AS (
    UPDATE peers_peer AS former SET host = NULL
    FROM (SELECT * FROM own UNION ALL SELECT * FROM rested) AS released
    WHERE former.id = released.id RETURNING released.host
), freed AS (
    DELETE FROM peers_freednumber WHERE id = (
        SELECT id FROM peers_freednumber WHERE interface_id = %(interface)s AND NOT EXISTS (SELECT FROM taken)
        ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING host
)
SELECT host FROM taken UNION ALL SELECT host FROM freed
"""
# The next that were never given: one for this peer, the others for those who come after. Whoever moves the mark holds its
# row until the commit, and others who come this far wait. The interface's own number is stepped over.
ADVANCE = """
WITH mark AS (
    SELECT host AS own, next_host AS first, LEAST(next_host + %(ahead)s, %(last)s + 1) AS beyond
    FROM peers_interface WHERE id = %(interface)s FOR NO KEY UPDATE
), next AS (
    SELECT number AS host FROM mark, generate_series(first, beyond - 1) number WHERE number <> own
), moved AS (
    UPDATE peers_interface SET next_host = beyond FROM mark WHERE id = %(interface)s AND EXISTS (SELECT FROM next)
), aside AS (
    INSERT INTO peers_freednumber (interface_id, host) SELECT %(interface)s, host FROM next ORDER BY host OFFSET 1
)
SELECT min(host) FROM next HAVING count(*) > 0
"""
# One that its service account gave up a moment ago: as long as there are others, each of its machines can come back to its own.
SIBLINGS = """
UPDATE peers_peer AS former SET host = NULL FROM (
    SELECT id, host FROM peers_peer
    WHERE interface_id = %(interface)s AND service_account_id = %(account)s AND id <> %(peer)s
      AND host IS NOT NULL AND released_at <= now()
    ORDER BY released_at LIMIT 1 FOR UPDATE SKIP LOCKED
) AS released WHERE former.id = released.id RETURNING released.host
"""
# To take again: others may have set numbers aside while this waited for the mark, and moved it to the end.
IN_TURN = (TAKE, ADVANCE, TAKE, SIBLINGS)


class PoolExhausted(Exception):
    """Every number of the interface's pools is in use or rests."""


def allocate(peer: Peer) -> int:
    """Return a host number for ``peer`` and take it from whoever had it last; raise PoolExhausted.

    Call it inside a transaction and as late as possible: the interface's row may stay locked until its end.
    """
    interface = peer.interface
    values: dict[str, Any] = {
        "interface": interface.pk,
        "owner": peer.owner_id,
        "account": peer.service_account_id,
        "peer": peer.pk,
        "rest": interface.address_rest,
        "last": interface.last_host,
        "ahead": AHEAD,
    }
    with connection.cursor() as cursor:
        for statement in IN_TURN:
            cursor.execute(statement, values)
            if row := cursor.fetchone():
                return int(row[0])
    raise PoolExhausted
