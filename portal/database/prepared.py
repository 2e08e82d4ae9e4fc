"""Run statements that PostgreSQL plans once a session: for those whose planning costs as much as what they do."""

import re
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from django.db import connection
from django.db.backends.utils import CursorWrapper

if TYPE_CHECKING:
    from portal.database.base import DatabaseWrapper


def execute(cursor: CursorWrapper, statement: str, values: Sequence[Any]) -> None:
    """Run ``statement``, whose places are ``%s``, of a type that it says where PostgreSQL cannot tell; raise as the cursor does."""
    name, known = _name(statement), cast("DatabaseWrapper", connection).prepared
    if name not in known:
        cursor.execute(_preparation(statement))
        known.add(name)
    cursor.execute(f"EXECUTE {name} ({', '.join(['%s'] * len(values))})", values)


@cache
def _name(statement: str) -> str:
    return f"latchkey_{sha256(statement.encode()).hexdigest()[:32]}"


def _preparation(statement: str) -> str:
    numbers = count(1)
    return f"PREPARE {_name(statement)} AS " + re.sub("%s", lambda _: f"${next(numbers)}", statement)
