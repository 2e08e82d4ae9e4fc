"""The audit as a file: a row an event, streamed, so that a million of them need no more memory than a few."""

import csv
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from io import StringIO
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import StreamingHttpResponse

from peers.models import AuditEvent, Peer
from peers.receipts import REMOVED, cause, receipt

AT_ONCE = 1000  # rows a piece
MOST = (
    500_000  # rows an export: a web server gives up on an answer that takes longer (deploy/gunicorn.conf.py)
)

# Not joined: an event of a device that was pruned would be left out.
NAME = Subquery(Peer.objects.filter(pk=OuterRef("peer_id")).values("name"))

# Each column's name in both formats, and where its value comes from; docs/audit.md tells what each means.
COLUMNS: dict[str, Any] = {
    "id": "id",
    "at": "at",
    "action": "action",
    "actor_kind": "actor_kind",
    "actor_id": "actor_id",
    "actor": "actor__name",
    "actor_email": "actor__email",
    "gateway": "gateway",
    "token_id": "token_id",
    "token": "token__beginning",
    "person_id": "person_id",
    "person": "person__name",
    "person_email": "person__email",
    "service_account_id": "service_account_id",
    "service_account": "service_account__name",
    "peer_id": "peer_id",
    "peer": NAME,
    "interface": "interface__name",
    "source": "source",
    "reason": "reason",
    "old": "old",
    "new": "new",
}
# Of a receipt: what it answers, and how long after that the gateway read the interface back.
RECEIPT = ("after", "milliseconds")
NAMES = (*COLUMNS, *RECEIPT)

Row = tuple[Any, ...]


def is_too_long(events: QuerySet[AuditEvent]) -> bool:
    return events.order_by()[: MOST + 1].count() > MOST


def answer(events: QuerySet[AuditEvent], kind: str, at: datetime) -> StreamingHttpResponse:
    """Return the events as a download; ``kind`` is a key of ``KINDS``."""
    content_type, pieces = KINDS[kind]
    name = f"latchkey-audit-{at.astimezone(UTC):%Y-%m-%d}.{kind}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(pieces(_rows(events)), content_type=content_type, headers=headers)


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """Give pieces of a CSV file (RFC 4180): a line of column names, then the rows, nothing in them a formula."""
    yield _csv([NAMES])
    for piece in _pieces(rows):
        yield _csv([tuple(neutralised(_cell(value)) for value in row) for row in piece])


def as_jsonl(rows: Iterable[Row]) -> Iterator[str]:
    """Give pieces of a file of JSON lines, one object a row, every text exactly as it is."""
    for piece in _pieces(rows):
        yield "".join(json.dumps(dict(zip(NAMES, map(_plain, row), strict=True))) + "\n" for row in piece)


KINDS: dict[str, tuple[str, Callable[[Iterable[Row]], Iterator[str]]]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "jsonl": ("application/jsonl; charset=utf-8", as_jsonl),
}


def neutralised(text: str) -> str:
    """Return ``text`` so that no spreadsheet takes it for a formula: with an apostrophe before what could begin one.

    Blanks before it, which some strip, and other forms of the same sign, which some fold into it, change nothing
    (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    if text[:1].isascii() and text[:1].isalnum():
        return text  # nearly all of them
    first = next((sign for sign in text if not _is_blank(sign)), "")
    if text.startswith(("\t", "\r", "\n")) or unicodedata.normalize("NFKC", first).startswith(tuple("=+-@")):
        return f"'{text}"
    return text


def _is_blank(sign: str) -> bool:
    return sign.isspace() or unicodedata.category(sign) in {"Cc", "Cf"}


def _rows(events: QuerySet[AuditEvent]) -> Iterator[Row]:
    # In a transaction the rows come as they are found; outside one PostgreSQL would first put all of them aside.
    with transaction.atomic():
        for *row, barred in events.values_list(*COLUMNS.values(), cause()).iterator(AT_ONCE):
            yield (*row, *_receipt(dict(zip(COLUMNS, row, strict=True)), barred))


def _receipt(event: dict[str, Any], barred: dict[str, str] | None) -> Row:
    """Return what the event's ``RECEIPT`` columns hold."""
    if event["action"] != REMOVED:
        return None, None
    told = receipt(event["gateway"], event["at"], event["new"], barred)
    return told.after or None, told.milliseconds


def _pieces(rows: Iterable[Row]) -> Iterator[list[Row]]:
    source = iter(rows)
    while piece := list(islice(source, AT_ONCE)):
        yield piece


def _csv(rows: Iterable[Row]) -> str:
    text = StringIO(newline="")
    # Every cell in quotes: a program that splits at another sign finds no cell of its own inside one.
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(_plain(value))


def _plain(value: Any) -> Any:
    """Return what JSON has a word for; a time as in RFC 3339."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    return value if value is None or isinstance(value, int | str | dict) else str(value)
