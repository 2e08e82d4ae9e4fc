"""The gateway's one connection to PostgreSQL: queries, LISTEN, the lock, and a heartbeat that cannot hang."""

import math
import select
from collections.abc import Callable
from typing import Any

import psycopg2
import psycopg2.extensions
from django.db import InterfaceError, OperationalError, connection

from peers.signals import CHANNEL

ANSWER_WITHIN = 5.0  # seconds of silence; a dead network says nothing, and TCP itself would wait for hours
AT_LEAST = 1.0  # seconds of silence that are borne even when a peer's time is up: it may be late by so much
# What is raised below Django's wrapper, by poll() and fileno(), is the driver's own.
AWAY = (OperationalError, InterfaceError, psycopg2.OperationalError, psycopg2.InterfaceError)


class Connection:
    """The session that holds the advisory lock of (gateway, interface) and hears what has changed.

    ``due_in`` says in how many seconds something else must be done: no query is waited for much beyond that.
    """

    def __init__(self, gateway: str, interface: str, due_in: Callable[[], float] = lambda: math.inf) -> None:
        self.gateway, self.interface, self._due_in = gateway, interface, due_in
        self._backend: int | None = None
        psycopg2.extensions.set_wait_callback(self._wait)

    def open(self) -> bool:
        """Connect, take the lock and listen; False while another gateway of this name holds the lock."""
        connection.close()
        connection.ensure_connection()
        if not self._lock():
            connection.close()
            return False
        _execute(f"LISTEN {CHANNEL}")
        self._backend = _value("SELECT pg_backend_pid()")
        return True

    def _wait(self, driver: Any) -> None:
        """Wait for the server as psycopg2 would, but not for ever."""
        while (state := driver.poll()) != psycopg2.extensions.POLL_OK:
            reading = [driver.fileno()] if state == psycopg2.extensions.POLL_READ else []
            writing = [driver.fileno()] if state == psycopg2.extensions.POLL_WRITE else []
            patience = min(ANSWER_WITHIN, max(AT_LEAST, self._due_in()))
            if not any(select.select(reading, writing, [], patience)):
                raise psycopg2.OperationalError("the database does not answer")

    def _lock(self) -> bool:
        name = f"{self.gateway}/{self.interface}"
        if _value("SELECT pg_try_advisory_lock(hashtext('latchkey'), hashtext(%s))", name):
            return True
        # A session that the network swallowed keeps its lock until the server notices: end it, if it was ours.
        _execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = %s"
            " AND classid = (hashtext('latchkey')::bigint & 4294967295)::oid"
            " AND objid = (hashtext(%s)::bigint & 4294967295)::oid",
            self._backend,
            name,
        )
        return False

    def close(self) -> None:
        connection.close()

    def fileno(self) -> int:
        return int(connection.connection.fileno())

    def heard(self) -> set[str]:
        """Return what has been notified since the last call, without waiting."""
        driver = connection.connection
        driver.poll()
        heard = {notification.payload for notification in driver.notifies}
        driver.notifies.clear()
        return heard


def _execute(sql: str, *values: str | int | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)


def _value(sql: str, *values: str | int | None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchone()[0]
