"""Give a peer its host number: safe under concurrency, O(log n), to the very last one."""

from django.db import connection

from peers.models import Peer

AHEAD = 32  # numbers that are set aside at a time

# In this order: one that its owner gave up (at once), one that has rested, one that is free or set aside, the next never
# given, one that its service account gave up: as long as there are others, each of its machines can come back to its own.
# The function is made by a migration: PostgreSQL then plans its statements once a connection, not at each call.
TAKE = "SELECT latchkey_take_number(%s, %s, %s, %s, %s, %s, %s)"


class PoolExhausted(Exception):
    """Every number of the interface's pools is in use or rests."""


def allocate(peer: Peer) -> int:
    """Return a host number for ``peer`` and take it from whoever had it last; raise PoolExhausted.

    Call it inside a transaction and as late as possible: the interface's row may stay locked until its end.
    """
    interface, rest = peer.interface, peer.interface.address_rest.total_seconds()
    holder = (peer.owner_id, peer.service_account_id)
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [interface.pk, *holder, peer.pk, rest, interface.last_host, AHEAD])
        (host,) = cursor.fetchone()
    if host is None:
        raise PoolExhausted
    return int(host)
