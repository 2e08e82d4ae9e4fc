"""Ask whether there is room for a peer, and give it its host number: safe under concurrency, to the very last one.

Functions of the database answer, made by a migration: PostgreSQL plans their statements once a connection, not at each call,
and they take one way to it. A number comes from, in this order: one that the owner gave up, or that a revoked machine of the
account's had (at once), one that has rested, one that is free or set aside, the next never given, one that an expired machine
of the account's had. That is the first as soon as there are as many of those as the account may have machines: each can come
back to its own, and none of that uses up a pool.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model

from peers.inserts import insert_found
from peers.models import Peer
from peers.signals import CHANNEL

AHEAD = 32  # numbers that are set aside at a time

ADMIT = "SELECT * FROM latchkey_admit(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Admission:
    """What stands for or against one more peer: ``known`` is who has the key already, ``retired`` whether that is over.

    ``refusal`` is the code of a refusal, or "crowded": ask again, alone. ``number`` is the host number taken, ``addresses``
    what that stands for; None where none was wanted, or where there is a refusal.
    """

    known: UUID | None
    retired: bool | None
    refusal: str | None
    number: int | None
    addresses: list[str] | None


def admit(peer: Peer, *, at: datetime, wants_number: bool) -> Admission:
    """Return whether ``peer``, which has its key, may be one more of its owner's or account's at ``at``, without itself.

    Call it inside a transaction and as late as possible, an owner's with the owner's row locked: others may have to wait
    until its end.
    """
    with connection.cursor() as cursor:
        cursor.execute(ADMIT, _values(peer, None, at, alone=True, wants_number=wants_number))
        return Admission(*cursor.fetchone())


def admit_new(peer: Peer, public_key: str, *rows: Model, at: datetime, alone: bool) -> Admission:
    """Return whether ``peer`` may be one more; if so, ``rows`` have been inserted, and gateways told, in the same statement.

    They may use what is found: its ``number`` and ``addresses``. As for ``admit``, which this is by itself for an account.
    """
    values = _values(peer, public_key, at, alone=alone, wants_number=True)
    return Admission(
        *insert_found(
            ADMIT, values, *rows, where="found.number IS NOT NULL", channel=CHANNEL, payload=f"peer:{peer.pk}"
        )
    )


def _values(
    peer: Peer, public_key: str | None, at: datetime, *, alone: bool, wants_number: bool
) -> list[Any]:
    interface = peer.interface
    most = (peer.service_account or interface).device_limit
    return [
        public_key, interface.pk, peer.owner_id, peer.service_account_id, peer.pk, at, most, alone, wants_number,
        interface.address_rest.total_seconds(), interface.last_host, AHEAD,
    ]  # fmt: skip
