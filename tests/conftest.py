"""A real PostgreSQL for every test: one cluster a run, a fresh copy of the migrated database a test.

Django's default connection is the role latchkey_web, as in production; nothing is mocked and everything commits.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import django
import psycopg2
import psycopg2.extensions
import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from hypothesis import settings

from deploy.demo.postgres import GATEWAY, OWNER, WEB, Cluster, debian_binaries, wheel_binaries

ROOT = Path(__file__).parent.parent
MEMORY = Path("/dev/shm")
TEMPLATE = "latchkey_template"

os.environ.update(
    DJANGO_SETTINGS_MODULE="portal.settings",
    SECRET_KEY="only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz",
    LATCHKEY_URL="http://127.0.0.1:8000",
    DATABASE_URL="postgresql://nobody@127.0.0.1:1/none",
    LATCHKEY_OIDC_PROVIDERS='[{"id": "demo", "name": "Demo", "issuer": "http://127.0.0.1:8001", '
    '"client_id": "latchkey", "client_secret": "only-for-tests", "groups_claim": "groups"}]',
    DJANGO_ALLOW_ASYNC_UNSAFE="true",
)

# Kept when there is one: a second process of the test run may have loaded the settings with it already.
os.environ.setdefault("LATCHKEY_ENCRYPTION_KEYS", Fernet.generate_key().decode())


def pytest_configure() -> None:
    django.setup()
    settings.register_profile("suite", deadline=None, max_examples=100)
    settings.register_profile("long", deadline=None, max_examples=int(os.environ.get("EXAMPLES", "1000000")))
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@dataclass(frozen=True)
class Database:
    """A test's own database; ``cluster.sql(…, name)`` runs statements in it as the superuser."""

    cluster: Cluster
    name: str

    def url(self, role: str = WEB) -> str:
        return self.cluster.url(role, self.name)

    def sql(self, text: str) -> str:
        return self.cluster.sql(text, self.name)

    def environment(self, role: str) -> dict[str, str]:
        """Return what a process of Latchkey's needs to run against it as ``role``."""
        return {**os.environ, "DATABASE_URL": self.url(role)}

    @contextmanager
    def as_role(self, role: str) -> Iterator[None]:
        """Let Django's default connection be that of ``role`` for a while."""
        from django.db import connection

        connection.close()
        connection.settings_dict["USER"] = role
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict["USER"] = WEB

    def call(self, *words: str, role: str = OWNER) -> str:
        """Run a management command as ``role`` in this process and return what it prints, in a twentieth of the time."""
        said = StringIO()
        with self.as_role(role):
            call_command(*words, stdout=said)
        return said.getvalue()

    def manage(self, *words: str, role: str = OWNER) -> subprocess.CompletedProcess[str]:
        """Run a management command as ``role`` and return how it ended."""
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT, env=self.environment(role), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with TemporaryDirectory(prefix="latchkey-tests-", dir=_memory()) as folder:
        made = Cluster(Path(folder), debian_binaries() or wheel_binaries(), durable=False)
        made.initialise()
        made.start()
        yield made
        made.stop()


def _memory() -> Path | None:
    """Return where files are kept in memory, which is half the time; None where there is too little of it."""
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 << 30
    return MEMORY if roomy else None


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    cluster.sql(f"CREATE DATABASE {TEMPLATE}")
    done = Database(cluster, TEMPLATE).manage("migrate", "-v0")
    assert done.returncode == 0, done.stderr
    cluster.grant(TEMPLATE)
    return TEMPLATE


@pytest.fixture(scope="session")
def superuser(cluster: Cluster) -> Iterator[psycopg2.extensions.cursor]:
    """Give a cursor that makes and drops databases: a psql for each would be a good part of the suite's time."""
    connection = psycopg2.connect(cluster.url(OWNER, "postgres"))
    connection.autocommit = True
    yield connection.cursor()
    connection.close()


_numbers = count()


@pytest.fixture
def database(
    cluster: Cluster, template: str, superuser: psycopg2.extensions.cursor, django_db_blocker: pytest.Item
) -> Iterator[Database]:
    """Give the test a database of its own, and Django's default connection to it as the web role."""
    from django.db import connection

    made = Database(cluster, f"latchkey_{next(_numbers)}")
    # Nothing is synced here, so a copy of the files takes half the time of one by way of the log.
    superuser.execute(f"CREATE DATABASE {made.name} TEMPLATE {template} STRATEGY file_copy")
    superuser.execute(f"REVOKE ALL ON DATABASE {made.name} FROM PUBLIC")
    superuser.execute(f"GRANT CONNECT ON DATABASE {made.name} TO {WEB}, {GATEWAY}")
    connection.close()
    connection.settings_dict.update(NAME=made.name, USER=WEB, HOST=str(cluster.socket), PORT="", PASSWORD="")
    with django_db_blocker.unblock():
        yield made
        connection.close()
    superuser.execute(f"DROP DATABASE {made.name} WITH (FORCE)")


__all__ = ["GATEWAY", "OWNER", "WEB"]
