"""Insert rows of several tables in one statement: one way to the database, and nothing to make up anew each time."""

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
from django.db.models.expressions import DatabaseDefault

# Kinds whose values the driver takes as they are; of the others the field says how.
PLAIN = {BigIntegerField, CharField, DateTimeField, ForeignKey, UUIDField}


def insert_together(*rows: Model, channel: str, payload: str) -> None:
    """Insert the rows, past their signals, and notify; what the database gives them (ids, defaults) is not read back.

    Raise IntegrityError. They may refer to each other: a foreign key is checked at the end.
    """
    parts: list[str] = []
    values: list[Any] = []
    for number, row in enumerate(rows):
        given = {field.column: _value(row, field) for field in _columns(type(row))}
        kept = {name: value for name, value in given.items() if not isinstance(value, DatabaseDefault)}
        parts.append(_insert(type(row), number, tuple(kept)))
        values += kept.values()
    with connection.cursor() as cursor:
        cursor.execute(f"WITH {', '.join(parts)} SELECT pg_notify(%s, %s)", [*values, channel, payload])


@cache
def _columns(model: type[Model]) -> tuple["Field[Any, Any]", ...]:
    """Return the columns that are the row's own to say."""
    fields = model._meta.concrete_fields  # noqa: SLF001 - documented by Django
    return tuple(field for field in fields if not (field.generated or isinstance(field, AutoField)))


@cache
def _insert(model: type[Model], number: int, columns: tuple[str, ...]) -> str:
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, columns))
    places = ", ".join(["%s"] * len(columns))
    table = quote(model._meta.db_table)  # noqa: SLF001
    return f"row{number} AS (INSERT INTO {table} ({names}) VALUES ({places}))"  # noqa: S608 - names of ours


def _value(row: Model, field: "Field[Any, Any]") -> Any:
    value = getattr(row, field.attname)
    if type(field) in PLAIN or isinstance(value, DatabaseDefault):
        return value
    return field.get_db_prep_save(value, connection)
