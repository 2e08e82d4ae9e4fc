"""Measure how fast access ends: a person who is out, a lease that is over, and what asking a provider about everyone costs."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client as Browser
from django.test import override_settings
from django.utils import timezone

from deploy.demo.client import Client
from deploy.demo.netns import Namespace
from peers import services
from peers.models import Interface, Peer
from peers.wireguard import keys
from portal import oidc_config
from portal.access.revalidation import revalidate
from portal.models import RefreshToken, User
from tests import rows
from tests.conftest import WEB, Database
from tests.gateway.running import RunningGateway, configuration_of, last_reply
from tests.integration.refreshing import Refreshing

INSIDE = "10.77.0.1"
AT_ONCE = 6  # clients that ping at the same time; each brings a wireguard-go of its own
SUSPENDED = 30
LEASES = 5  # rounds of AT_ONCE clients
ASKED = 200  # people
LATENCY = 0.3  # seconds that a provider takes for an answer


def suspend_to_all_dead(running: RunningGateway, wg0: Interface, row: Any, spread: Any) -> None:
    """Measure the later of two ends: the last page that the person saw, and the last packet of their device."""
    seconds = []
    for number in range(SUSPENDED):
        person = rows.person(f"leaver-{number}")
        browser = Browser(SERVER_NAME=settings.ALLOWED_HOSTS[0])
        browser.force_login(person)
        assert browser.get("/").status_code == 200
        with connected(running, person, wg0) as (_, client):
            refused: list[float] = []
            last = last_reply(client, INSIDE, _suspending(person, browser, refused), for_seconds=2)
            seconds.append(refused[0] + max(0.0, last))  # ``last`` counts from the refusal
    row(
        "a person who is out: p99 ≤ 2 s",
        "suspended → the last page and the last packet of theirs, whichever is later",
        spread(seconds),
    )


def lease_to_last_packet(
    running: RunningGateway, wg0: Interface, database: Database, row: Any, spread: Any
) -> None:
    """Measure with the database there, and with it stopped a second before."""
    for away in (False, True):
        late = [seconds for _ in range(LEASES) for seconds in _leases(running, wg0, database, away=away)]
        while_away = ", the database stopped" if away else ""
        row("a deadline: ≤ 2 s, hard", f"lease over → last packet accepted{while_away}", spread(late))


@contextmanager
def connected(
    running: RunningGateway, person: User, wg0: Interface, namespace: Namespace | None = None
) -> Iterator[tuple[Peer, Client]]:
    """Give a device of the person's, with a client that pings through the tunnel already."""
    private_key = keys.generate_private_key()
    peer = rows.peer(person, wg0, public_key=keys.public_key_of(private_key))
    with Client(configuration_of(peer, private_key), namespace or running.namespace) as client:
        running.eventually(lambda: client.ping(INSIDE).received)
        yield peer, client


def _suspending(person: User, browser: Browser, refused: list[float]) -> Callable[[], None]:
    actor = services.Actor()

    def act() -> None:
        services.suspend_person(actor=actor, person=person, at=timezone.now(), reason="bench")
        answered = time.monotonic()
        while browser.get("/").status_code == 200:
            pass
        refused.append(time.monotonic() - answered)

    return act


def _leases(running: RunningGateway, wg0: Interface, database: Database, *, away: bool) -> list[float]:
    """Return how long after its lease's end each of several clients still had an answer; 0.0: none."""
    with ExitStack() as stack:
        people = [rows.person() for _ in range(AT_ONCE)]
        clients = [stack.enter_context(connected(running, person, wg0))[1] for person in people]
        ends = timezone.now() + timedelta(seconds=4)
        for person in people:
            person.signed_in_at, person.lease_limit = ends - timedelta(seconds=60), timedelta(seconds=60)
            person.save(update_fields=["signed_in_at", "lease_limit"])
        time.sleep(1.5)  # the gateway has heard
        with _stopped(database) if away else ExitStack(), ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(lambda client: last_reply(client, INSIDE, lambda: _until(ends)), clients))
    return [max(0.0, seconds) for seconds in found]


@contextmanager
def _stopped(database: Database) -> Iterator[None]:
    database.cluster.sql(
        f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false;"
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
    )
    connection.close()
    try:
        yield
    finally:
        database.cluster.sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")


def _until(at: datetime) -> None:
    time.sleep(max(0.0, at.timestamp() - time.time()))


def everyone_asked(database: Database, row: Any) -> None:
    """Measure a round of questions about two hundred people to a provider that takes its time."""
    idp = Refreshing(latency=LATENCY)
    seen, done = [], threading.Event()
    with ExitStack() as stack:
        stack.callback(idp.close)
        providers = (idp.provider(),)
        stack.enter_context(override_settings(
            OIDC_PROVIDERS=providers, SOCIALACCOUNT_PROVIDERS=oidc_config.allauth_settings(providers)
        ))  # fmt: skip
        _hire(idp, ASKED)
        watcher = threading.Thread(target=_count_connections, args=(database, seen, done))
        watcher.start()
        started = time.monotonic()
        outcomes = revalidate(timezone.now())
        took = time.monotonic() - started
        done.set()
        watcher.join()
    assert outcomes == {"fine": ASKED}, outcomes
    row(
        "",
        f"{ASKED} people asked about, two calls each, at a provider that takes {LATENCY * 1000:.0f} ms for one",
        f"{took:.1f} s, {idp.most_at_once} calls at once, {max(seen)} database connection",
    )


def _hire(idp: Refreshing, count: int) -> None:
    wg0, at = rows.interface("wg1"), timezone.now()
    for number in range(count):
        person = rows.person(f"asked-{number}")
        User.objects.filter(pk=person.pk).update(issuer=idp.issuer)
        rows.peer(person, wg0)
        RefreshToken.objects.create(
            person=person, provider=idp.name, token=idp.token(person.sub), obtained_at=at, due_at=at
        )


def _count_connections(database: Database, seen: list[int], done: threading.Event) -> None:
    ours = f"datname = '{database.name}' AND usename = '{WEB}'"
    while not done.is_set():
        seen.append(int(database.cluster.sql(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}")))
