"""Insert rows of several tables in one statement: one way to the database, and nothing to make up anew each time."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import (
    AutoField,
    BigIntegerField,
    CharField,
    DateTimeField,
    Field,
    ForeignKey,
    Model,
    UUIDField,
)
from django.db.models.expressions import DatabaseDefault, RawSQL

from portal.database.prepared import execute

# Kinds whose values the driver takes as they are; of the others the field says how.
PLAIN = {BigIntegerField, CharField, DateTimeField, ForeignKey, UUIDField}


def insert_found(
    source: str, values: Sequence[Any], *rows: Model, where: str, channel: str, payload: str
) -> tuple[Any, ...]:
    """Return the row that the SELECT ``source`` finds; if ``where`` holds for it, insert ``rows``, past their signals, and notify.

    A column of theirs may be a RawSQL of what is ``found``; what the database gives them (ids, defaults) is not read back.
    Raise IntegrityError. They may refer to each other: a foreign key is checked at the end.
    """
    parts, all_values = [f"found AS MATERIALIZED ({source})"], list(values)
    for number, row in enumerate(rows):
        given = {field.column: _value(row, field) for field in _columns(type(row))}
        kept = {name: value for name, value in given.items() if not isinstance(value, DatabaseDefault)}
        places = tuple(value.sql if isinstance(value, RawSQL) else "%s" for value in kept.values())
        parts.append(_insert(type(row), number, tuple(kept), places, where))
        for value in kept.values():
            all_values += value.params if isinstance(value, RawSQL) else [value]
    told = f"CASE WHEN {where} THEN pg_notify(%s, %s) END"
    with connection.cursor() as cursor:
        statement = f"WITH {', '.join(parts)} SELECT found.*, {told} FROM found"  # noqa: S608 - names of ours
        execute(cursor, statement, [*all_values, channel, payload])
        found: tuple[Any, ...] = cursor.fetchone()
        return found[:-1]


@cache
def _columns(model: type[Model]) -> tuple["Field[Any, Any]", ...]:
    """Return the columns that are the row's own to say."""
    fields = model._meta.concrete_fields  # noqa: SLF001 - documented by Django
    return tuple(field for field in fields if not (field.generated or isinstance(field, AutoField)))


@cache
def _insert(
    model: type[Model], number: int, columns: tuple[str, ...], places: tuple[str, ...], where: str
) -> str:
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, columns))
    table = quote(model._meta.db_table)  # noqa: SLF001
    selected = f"SELECT {', '.join(places)} FROM found WHERE {where}"  # noqa: S608 - names of ours
    return f"row{number} AS (INSERT INTO {table} ({names}) {selected})"


def _value(row: Model, field: "Field[Any, Any]") -> Any:
    value = getattr(row, field.attname)
    if type(field) in PLAIN or isinstance(value, DatabaseDefault | RawSQL):
        return value
    return field.get_db_prep_save(value, connection)
