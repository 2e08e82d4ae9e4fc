"""Write down that peers asked for their tunnel when they were not entitled, for their owners to be told."""

from collections.abc import Collection

from django.db import connection

# An hour without any, and the next one begins something new to tell.
NOTE = """
INSERT INTO peers_refusedhandshake AS noted (peer_id, count, first_at, latest_at)
SELECT id, 1, now(), now() FROM unnest(%s::uuid[]) AS id ORDER BY id
ON CONFLICT (peer_id) DO UPDATE SET count = noted.count + 1, latest_at = excluded.latest_at,
    first_at = CASE WHEN noted.latest_at < now() - interval '1 hour' THEN excluded.first_at ELSE noted.first_at END
"""


def note(peers: Collection[str]) -> None:
    """Count one refusal more for each peer, by its id."""
    if peers:
        with connection.cursor() as cursor:
            cursor.execute(NOTE, [list(peers)])
