"""Statements that are planned once a session."""

import pytest
from django.db import OperationalError, ProgrammingError, connection

from portal.database import prepared

pytestmark = pytest.mark.usefixtures("database")
ADD = "SELECT %s::int + %s::int, 'a % sign'"
KNOWN = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'latchkey_%'"


def run(statement, *values):
    with connection.cursor() as cursor:
        prepared.execute(cursor, statement, values)
        return cursor.fetchone()


def known():
    with connection.cursor() as cursor:
        cursor.execute(KNOWN)
        return cursor.fetchone()[0]


def test_a_statement_is_prepared_once_and_answers_with_its_values():
    connection.close()
    assert [run(ADD, 1, number)[0] for number in range(3)] == [1, 2, 3]
    assert known() == 1


def test_another_session_prepares_it_anew():
    run(ADD, 1, 2)
    connection.close()
    assert known() == 0
    assert run(ADD, 1, 2)[0] == 3


def test_a_session_that_was_ended_by_the_server_leaves_nothing_behind():
    run(ADD, 1, 2)
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    connection.close()
    assert run(ADD, 1, 2)[0] == 3


def test_one_that_cannot_be_prepared_is_not_taken_for_known():
    for _ in range(2):
        with pytest.raises(ProgrammingError, match="does not exist"):
            run("SELECT %s::int FROM nothing_of_ours", 1)
