"""Read the rows that a written-down statement finds, as models: where Django's own way costs more than the statement."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model

from portal.database.prepared import execute


class Columns(NamedTuple):
    """A model's columns: by name, as they stand in a SELECT, and how some of their values become Python's."""

    names: tuple[str, ...]
    selected: str
    converted: tuple[tuple[int, Callable[[Any], Any]], ...]


def rows_of(sql: str, values: Sequence[Any], *models: type[Model]) -> list[tuple[Any, ...]]:
    """Return a tuple of rows of ``models``, None where one is missing, and what else is selected, for each that ``sql`` finds.

    It names each table as it is and begins ``SELECT {columns}``.
    """
    parts = [_columns(model) for model in models]
    with connection.cursor() as cursor:
        execute(cursor, _statement(sql, models), values)
        return [_split(row, models, parts) for row in cursor.fetchall()]


@cache
def _statement(sql: str, models: tuple[type[Model], ...]) -> str:
    return sql.format(columns=", ".join(_columns(model).selected for model in models))


@cache
def _columns(model: type[Model]) -> Columns:
    fields = model._meta.concrete_fields  # noqa: SLF001 - documented by Django
    table = model._meta.db_table  # noqa: SLF001
    selected = ", ".join(f'"{table}"."{field.column}"' for field in fields)
    converted = tuple((at, convert) for at, field in enumerate(fields) if (convert := _converter(field)))
    return Columns(tuple(field.attname for field in fields), selected, converted)


def _converter(field: Any) -> Callable[[Any], Any] | None:
    """Return what makes a value of the driver's into one of the field's; None when they are the same."""
    column = field.cached_col
    steps = [*connection.ops.get_db_converters(column), *field.get_db_converters(connection)]

    def convert(value: Any) -> Any:
        for step in steps:
            value = step(value, column, connection)
        return value

    return convert if steps else None


def _split(row: tuple[Any, ...], models: Sequence[type[Model]], parts: list[Columns]) -> tuple[Any, ...]:
    found, start = [], 0
    for model, columns in zip(models, parts, strict=True):
        values = list(row[start : start + len(columns.names)])
        start += len(values)
        for at, convert in columns.converted:
            values[at] = convert(values[at])
        found.append(
            model.from_db(DEFAULT_DB_ALIAS, columns.names, values) if values[0] is not None else None
        )
    return (*found, *row[start:])
