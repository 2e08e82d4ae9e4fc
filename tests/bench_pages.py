"""Measure pages among 100,000 devices of 20,000 people: the time of a whole request inside the portal."""

import gc
import time
from collections.abc import Callable
from contextlib import ExitStack
from tempfile import TemporaryDirectory

from django.conf import settings
from django.db import connection
from django.test import Client, override_settings

from deploy.demo.postgres import WEB, Cluster
from peers.models import Peer
from portal.break_glass import LOCAL_ISSUER
from portal.models import User
from tests import company, rows
from tests.conftest import Database

# Nobody asks for the files, so none are collected.
STORAGES = {
    **settings.STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
PEOPLE, PEERS = 20_000, 100_000
TIMES = 30


def measure(
    cluster: Cluster, row: Callable[[str, str, str], None], spread: Callable[[list[float]], str]
) -> None:
    """Print a row for each page."""
    database = Database(cluster, "pages")
    cluster.sql(f"CREATE DATABASE {database.name}")
    done = database.manage("migrate", "-v0")
    assert done.returncode == 0, done.stderr
    cluster.grant(database.name)
    connection.close()
    connection.settings_dict.update(NAME=database.name, USER=WEB, HOST=str(cluster.socket), PORT="")
    with ExitStack() as stack:
        stack.callback(connection.close)
        without_static_files(stack)
        wg0 = rows.interface(ipv4_pool="10.64.0.0/12", ipv6_pool="fd00:77::/64")
        company.fill(database, wg0, people=PEOPLE, peers=PEERS)
        peer = Peer.objects.filter(revoked_at=None, owner__is_active=True).order_by("host")[PEERS // 2]
        admin = User.objects.create_user(
            issuer=LOCAL_ISSUER, sub="admin", is_staff=True, is_superuser=True, name="Admin"
        )
        gc.collect()
        gc.freeze()  # what other measurements left behind is in no portal's way
        for promise, what, person, path in pages(peer, admin):
            row(promise, f"{what}, {PEERS:,} devices of {PEOPLE:,} people", spread(seconds(person, path)))


def without_static_files(stack: ExitStack) -> None:
    nothing = stack.enter_context(TemporaryDirectory())
    stack.enter_context(override_settings(STORAGES=STORAGES, STATIC_ROOT=nothing))


def pages(peer: Peer, admin: User) -> list[tuple[str, str, User, str]]:
    listed = "/admin/peers/peer/"
    key = peer.key.public_key if peer.key else ""
    return [
        ("≤ 100 ms", "my devices", peer.owner, "/"),
        ("≤ 100 ms", "a device", peer.owner, peer.get_absolute_url()),
        ("≤ 300 ms", "admin: overview", admin, "/admin/"),
        ("≤ 300 ms", "admin: list of devices", admin, listed),
        ("≤ 300 ms", "admin: list, connected now", admin, f"{listed}?state=connected"),
        (
            "≤ 300 ms",
            "admin: search by an owner's name",
            admin,
            f"{listed}?q={peer.owner.name.replace(' ', '+')}",
        ),
        ("≤ 300 ms", "admin: search by an address", admin, f"{listed}?q={peer.addresses[0].ip}"),
        ("≤ 300 ms", "admin: search by a key", admin, f"{listed}?q={key.replace('+', '%2B')}"),
        ("≤ 300 ms", "admin: why is it not connected?", admin, f"{listed}{peer.pk}/why/"),
        ("≤ 300 ms", "admin: audit", admin, "/admin/peers/auditevent/"),
    ]


def seconds(person: User, path: str) -> list[float]:
    browser = Client(SERVER_NAME=settings.ALLOWED_HOSTS[0])
    browser.force_login(person)
    assert browser.get(path).status_code == 200, path
    return [_once(browser, path) for _ in range(TIMES)]


def _once(browser: Client, path: str) -> float:
    started = time.perf_counter()
    browser.get(path)
    return time.perf_counter() - started
