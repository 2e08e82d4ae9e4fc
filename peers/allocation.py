"""Ask whether there is room for a peer, and give it its host number: safe under concurrency, to the very last one.

Both are functions of the database, made by a migration: PostgreSQL plans their statements once a connection, not at each call,
and they take one way to it. A number comes from, in this order: one that the owner gave up (at once), one that has rested,
one that is free or set aside, the next never given, one that the service account gave up: as long as there are others, each
of its machines can come back to its own.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

from peers.models import Peer

AHEAD = 32  # numbers that are set aside at a time

ADMIT = "SELECT * FROM latchkey_admit(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Admission:
    """What stands for or against one more peer: ``known`` is who has the key already, ``retired`` whether that is over.

    ``refusal`` is the code of a refusal, or "crowded": ask again, alone. ``number`` is the host number taken; None where
    none was wanted, or where there is a refusal.
    """

    known: UUID | None
    retired: bool | None
    refusal: str | None
    number: int | None


def admit(
    peer: Peer, public_key: str | None, *, at: datetime, alone: bool = False, wants_number: bool = True
) -> Admission:
    """Return whether ``peer`` may be one more of its owner's or account's at ``at``, without itself if it is there.

    ``public_key`` None: it has its key already. Call it inside a transaction and as late as possible, an owner's with the
    owner's row locked: others may have to wait until its end.
    """
    interface = peer.interface
    most = (peer.service_account or interface).device_limit
    values = [
        public_key, interface.pk, peer.owner_id, peer.service_account_id, peer.pk, at, most, alone, wants_number,
        interface.address_rest.total_seconds(), interface.last_host, AHEAD,
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(ADMIT, values)
        return Admission(*cursor.fetchone())
