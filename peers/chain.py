"""Walk the chain of seals over the audit, from its first event to its last, and say what does not add up."""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Exists, Min, OuterRef

from peers.models import AuditEvent, AuditSeal, SealedEvent
from peers.seals import COLUMNS, FIRST, digest_of, text, unsealed

AT_ONCE = 100  # seals
FEW = 5  # events by name
UNSEALED_FOR = timedelta(hours=1)  # longer is wrong: nobody seals, or seals were taken away

NO_GROUP: tuple[int | None, Iterator[Any]] = (None, iter(()))

GAPS = """
SELECT number FROM generate_series(%s::bigint, %s::bigint) number
WHERE NOT EXISTS (SELECT FROM peers_auditevent WHERE id = number) ORDER BY number LIMIT %s
"""


class Walk:
    """One walk over the whole chain; ``seals`` and ``events`` count what it has seen, ``head`` is the last digest."""

    def __init__(self, heads: Collection[bytes] = ()) -> None:
        self.seals = self.events = 0
        self.head = FIRST
        self.waiting = 0
        self.waiting_since: datetime | None = None
        self._last: AuditSeal | None = None
        self._sought = set(heads)

    def findings(self, at: datetime, progress: Callable[[], None] = lambda: None) -> Iterator[str]:
        """Give a sentence for each thing that is wrong at ``at``, the database's time; none: all is as it was sealed.

        ``progress`` is called now and then. Memory does not grow with the audit.
        """
        while chunk := list(AuditSeal.objects.filter(pk__gt=self._last_id).order_by("pk")[:AT_ONCE]):
            yield from self._chunk(chunk)
            progress()
        yield from self._strays()
        yield from self._unsealed(at)
        for head in sorted(self._sought):
            yield f"No seal has the digest {head.hex()}: the chain was cut or rewritten since that was its head."

    @property
    def _last_id(self) -> int:
        return self._last.pk if self._last else 0

    def _chunk(self, chunk: list[AuditSeal]) -> Iterator[str]:
        marks = SealedEvent.objects.filter(seal__gt=self._last_id, seal__lte=chunk[-1].pk)
        columns = [f"event__{name}" for name in COLUMNS]
        rows = marks.order_by("seal_id", "event_id").values_list("seal_id", *columns)
        with transaction.atomic():  # in which the rows come as they are asked for
            groups = groupby(rows.iterator(1000), key=lambda row: row[0])
            number, events = next(groups, NO_GROUP)
            for seal in chunk:
                while number is not None and number < seal.pk:
                    number, events = next(groups, NO_GROUP)  # of a seal that is missing: ``_strays`` tells
                mine = number == seal.pk
                yield from self._seal(seal, (row[1:] for row in (events if mine else ())))
                if mine:
                    number, events = next(groups, NO_GROUP)

    def _seal(self, seal: AuditSeal, rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
        """Give what is wrong with one seal over ``rows``, its events by ``COLUMNS``."""
        seen = _Seen()
        digest = digest_of(bytes(seal.previous), seal.sealed_at, seen.counted(rows))
        if bytes(seal.previous) != self.head:
            after = f"seal {self._last.pk}" if self._last else "the beginning"
            yield f"Seal {seal.pk} does not follow {after}: a seal between them is missing, or their order was changed."
        if seen.count != seal.events:
            yield f"Seal {seal.pk} covers {seal.events} events, but {seen.count} are there, {seen}{_missing(seal, seen)}."
        elif digest != bytes(seal.digest):
            yield f"Seal {seal.pk} does not fit {seen}: what it covers, or the seal itself, was changed."
        self._last, self.head = seal, bytes(seal.digest)
        self._sought.discard(self.head)
        self.seals, self.events = self.seals + 1, self.events + seen.count

    def _strays(self) -> Iterator[str]:
        """Give the events that are under a seal which is not there."""
        there = AuditSeal.objects.filter(pk=OuterRef("seal"))
        strays = SealedEvent.objects.filter(~Exists(there)).values_list("event", "seal").order_by("pk")
        for event, seal in strays[:FEW]:
            yield f"Event {event} is under seal {seal}, which is missing."

    def _unsealed(self, at: datetime) -> Iterator[str]:
        found = unsealed().aggregate(count=Count("pk"), since=Min("at"))
        self.waiting, self.waiting_since = found["count"], found["since"]
        old = unsealed().filter(at__lt=at - UNSEALED_FOR)
        first = old.order_by("at", "pk").first()
        if first is not None:
            yield (
                f"Event {first.pk} of {text(first.at)} and {old.count() - 1} others have been under no seal for more than "
                "an hour: seal_audit does not run, or their seals were taken away."
            )


class _Seen:
    """Which events went by."""

    def __init__(self) -> None:
        self.count = 0
        self.first = self.last = 0

    def counted(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            event = dict(zip(COLUMNS, row, strict=True))
            self.count, self.first, self.last = self.count + 1, self.first or event["id"], event["id"]
            yield event

    def __str__(self) -> str:
        if self.count == 1:
            return f"event {self.first}"
        return f"events {self.first} to {self.last}" if self.count else "none of them"


def _missing(seal: AuditSeal, seen: _Seen) -> str:
    """Return which events are gone from under the seal, as far as that can be known."""
    there = AuditEvent.objects.filter(pk=OuterRef("event"))
    gone = SealedEvent.objects.filter(~Exists(there), seal=seal).values_list("event", flat=True)
    if numbers := list(gone.order_by("pk")[:FEW]):
        return f"; no longer there: {_events(numbers)}"
    if 0 < seen.count < seal.events and (numbers := _gaps(seen.first, seen.last)):
        return f"; perhaps no longer there: {_events(numbers)}"
    return ""


def _gaps(first: int, last: int) -> list[int]:
    """Return the first numbers in between that no event has: also a transaction that was rolled back leaves some."""
    with connection.cursor() as cursor:
        cursor.execute(GAPS, [first, last, FEW])
        return [number for (number,) in cursor.fetchall()]


def _events(numbers: Iterable[int]) -> str:
    return ", ".join(f"event {number}" for number in numbers)
