"""Encrypt what is encrypted at rest anew, with the first of the keys, while everything runs."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import InvalidToken
from django.db import transaction
from django.db.models import QuerySet, TextField, Value
from django.db.models.functions import Cast

from peers.audit import Actor, record
from peers.models import Peer
from portal.encryption import made_by_first_key, renewed
from portal.models import RefreshToken

AT_ONCE = 500  # rows a transaction
COLUMNS: dict[str, tuple[type[Peer | RefreshToken], str]] = {
    "preshared_keys": (Peer, "preshared_key"),
    "refresh_tokens": (RefreshToken, "token"),
}


@dataclass(slots=True)
class Rotated:
    """How many values of each column were encrypted anew, and the ids of the rows whose value no key opens."""

    renewed: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in COLUMNS})


def rotate_encryption_keys(*, actor: Actor, progress: Callable[[int], None] = lambda _: None) -> Rotated:
    """Encrypt with the first key what another made; ``progress`` is told how many were by now, after each batch.

    What the first key made already stays as it is, so that a run which was interrupted goes on where it was. Each batch
    is a transaction, with an audit row of its own.
    """
    found = Rotated()
    for kind in COLUMNS:
        _rotate(kind, actor, found, progress)
    return found


def _rotate(kind: str, actor: Actor, found: Rotated, progress: Callable[[int], None]) -> None:
    """Go through the column; the rows that somebody else is changing come last, and are waited for one by one."""
    passed_over: list[Any] = []
    for ids in _of_other_keys(kind):
        passed_over += _renew(kind, ids, actor, found, wait=False)
        progress(found.renewed.total())
    for pk in passed_over:
        _renew(kind, [pk], actor, found, wait=True)


def _tokens(kind: str) -> "QuerySet[Any, tuple[Any, str]]":
    """Return the id and the token, as it stands, of each row that has one."""
    model, name = COLUMNS[kind]
    rows = model.objects.exclude(**{name: ""}).annotate(stands=Cast(name, TextField()))
    return rows.order_by("pk").values_list("pk", "stands")


def _of_other_keys(kind: str) -> Iterator[list[Any]]:
    """Give the ids of the rows whose token the first key did not make, in batches; without a lock."""
    rows = _tokens(kind)
    page = list(rows[:AT_ONCE])
    while page:
        yield [pk for pk, token in page if not made_by_first_key(token)]
        page = list(rows.filter(pk__gt=page[-1][0])[:AT_ONCE])


def _renew(kind: str, ids: Sequence[Any], actor: Actor, found: Rotated, *, wait: bool) -> set[Any]:
    """Encrypt the rows' values anew, as they are once the rows are ours; return the ids of those that were not to be had."""
    done = Rotated()
    with transaction.atomic():
        rows = _tokens(kind).filter(pk__in=ids).select_for_update(no_key=True, skip_locked=not wait)
        taken = dict(rows)
        for pk, token in taken.items():
            if not made_by_first_key(token):
                _write(kind, pk, token, done)
        _record(done, actor)
    found.renewed += done.renewed
    found.unreadable[kind] += done.unreadable[kind]
    return set(ids).difference(taken)


def _write(kind: str, pk: Any, token: str, done: Rotated) -> None:
    model, name = COLUMNS[kind]
    try:
        new = renewed(token)
    except InvalidToken:
        done.unreadable[kind].append(str(pk))
        return
    # As text, past the field, which would encrypt it; past the signals, since for a gateway nothing changes.
    model.objects.filter(pk=pk).update(**{name: Value(new, TextField())})
    done.renewed[kind] += 1


def _record(done: Rotated, actor: Actor) -> None:
    """Write down what a batch came to; nothing where nothing had to be done."""
    counts = {kind: done.renewed[kind] for kind in COLUMNS}
    unreadable = sum(map(len, done.unreadable.values()))
    if unreadable or any(counts.values()):
        record("rotate_encryption_keys", actor, None, new={**counts, "unreadable": unreadable})
