"""Seal the audit into a chain of digests, in batches, and verify it; docs/audit.md writes the format down for other programs.

Only rows are added, and nothing of the audit itself is locked: who writes an event never waits for a seal.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from peers.models import AuditEvent, AuditSeal, SealedEvent

logger = logging.getLogger(__name__)

AT_ONCE = 1000  # events a seal
FIRST = bytes(32)  # what the first seal follows
# An event bears the time at which it was written, not that of its commit; one that was written longer ago than this before
# the last seal is found by a complete search alone.
LATE = timedelta(hours=1)
LOCK = 0x5EA1_A0D1
VERSION = "latchkey audit seal 1"
# Of these a seal says nothing where they are absent, which they were before machines acted: its digest stays the same.
LATER = ("token_id", "service_account_id")
# What a seal covers of an event, in no order: a column that a later release adds is not among them.
COLUMNS = (
    "id", "at", "actor_kind", "actor_id", "gateway", "action", "peer_id", "interface_id", "person_id", "source", "old", "new",
    "reason", *LATER,
)  # fmt: skip

# First those that may be unsealed, then which of them are: asked at once, PostgreSQL would walk the whole audit by its ids.
RECENT = """
WITH recent AS MATERIALIZED (SELECT id FROM peers_auditevent WHERE at >= %(since)s OR id > %(newest)s)
SELECT id FROM recent
WHERE NOT EXISTS (SELECT FROM peers_sealedevent WHERE event_id = recent.id) ORDER BY id LIMIT %(at_once)s
"""


def seal_all(*, stopped: Callable[[], bool] = lambda: False) -> int:
    """Seal every event that is not yet, until ``stopped`` says so, and return how many they were.

    It looks through the whole audit, which takes seconds at ten million events. Any number of processes may seal at
    once: one does, the others wait for it.
    """
    count = after = 0
    while not stopped() and (ids := _seal(partial(_beyond, after))):
        count, after = count + len(ids), ids[-1]
    return count


def seal_recent(*, stopped: Callable[[], bool] = lambda: False) -> int:
    """Do the same where it takes no longer as the audit grows.

    Events that were written an hour before the last seal, or earlier, and committed after it are left to ``seal_all``.
    """
    count = 0
    while not stopped() and (ids := _seal(_recent)):
        count += len(ids)
    return count


def unsealed() -> QuerySet[AuditEvent]:
    """Return the events that no seal covers."""
    return AuditEvent.objects.filter(~Exists(SealedEvent.objects.filter(event=OuterRef("pk"))))


def digest_of(previous: bytes, sealed_at: datetime, events: Iterable[dict[str, Any]]) -> bytes:
    """Return the digest of a seal made at ``sealed_at`` over ``events``, each by ``COLUMNS``, that follows ``previous``."""
    digest = hashlib.sha256(f"{VERSION}\n{previous.hex()}\n{text(sealed_at)}\n".encode())
    for event in events:
        digest.update(line(event))
    return digest.digest()


def line(event: dict[str, Any]) -> bytes:
    """Return the event as a seal covers it: a line of ASCII that depends on nothing but its values."""
    there = {name: value for name, value in event.items() if name not in LATER or value is not None}
    plain = {**there, "at": text(event["at"]), "peer_id": str(event["peer_id"]) if event["peer_id"] else None}
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def text(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


@transaction.atomic
def _seal(find: Callable[[AuditSeal | None], list[int]]) -> list[int]:
    """Put the events that ``find`` finds after the last seal under the next one and return their ids, in order."""
    now = _alone()
    last = AuditSeal.objects.order_by("-pk").first()
    if not (ids := find(last)):
        return []
    previous = bytes(last.digest) if last else FIRST
    events = AuditEvent.objects.filter(pk__in=ids).order_by("pk").values(*COLUMNS)
    digest = digest_of(previous, now, events)
    made = AuditSeal.objects.create(previous=previous, digest=digest, events=len(ids), sealed_at=now)
    SealedEvent.objects.bulk_create(SealedEvent(event_id=event, seal=made) for event in ids)
    fields = {"seal": made.pk, "events": made.events, "digest": digest.hex()}
    transaction.on_commit(lambda: logger.info("audit_sealed", extra=fields))
    return ids


def _alone() -> datetime:
    """Wait until no other process seals, keep it so until the transaction ends, and return the database's time then."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at


def _beyond(after: int, _last: AuditSeal | None = None) -> list[int]:
    """Return the ids of the first unsealed events beyond that of ``after``."""
    return list(unsealed().filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:AT_ONCE])


def _recent(last: AuditSeal | None) -> list[int]:
    """Return the ids of unsealed events that are newer than the last sealed one, or were written an hour before its seal at most."""
    if last is None:
        return _beyond(0)
    newest = SealedEvent.objects.order_by("-pk").values_list("pk", flat=True).first()
    with connection.cursor() as cursor:
        cursor.execute(RECENT, {"since": last.sealed_at - LATE, "newest": newest, "at_once": AT_ONCE})
        return [event for (event,) in cursor.fetchall()]
