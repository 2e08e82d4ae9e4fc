"""Measure an interface on demand with a million enrolled devices: its gateway's start, each admission, and the pages."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack

from django.utils import timezone

from peers import services
from peers.models import GatewayStatus, Interface, Peer
from peers.wireguard import keys
from portal.break_glass import LOCAL_ISSUER
from portal.models import User
from tests import bench_pages, company, rows
from tests.bench_on_demand import Fresh, Row
from tests.consumption import cpu_seconds, memory_mb
from tests.first_ping import OUTSIDE, enrolled
from tests.gateway.running import RunningGateway
from tests.initiator import initiation, tai64n
from tests.strangers import Strangers

PEERS = int(os.environ.get("PEERS", "1000000"))
PEOPLE = PEERS // 5
ACTIVE, MANY = 200, 1000


def measure(fresh: Fresh, row: Row, spread: Callable[[list[float]], str]) -> None:
    """Print a row for each figure."""
    with ExitStack() as stack:
        bench_pages.without_static_files(stack)
        database, namespace, home, wg0 = fresh(stack)
        wg0.mode, wg0.ipv4_pool, wg0.ipv6_pool = "on_demand", "10.64.0.0/11", None
        wg0.save(update_fields=["mode", "ipv4_pool", "ipv6_pool"])
        wg0.refresh_from_db()
        company.fill(database, wg0, people=PEOPLE, peers=PEERS)
        Interface.objects.update(next_host=PEERS + 10)
        # They have been there before, and are not now.
        database.sql(
            "UPDATE peers_peerstatus SET present = false; DELETE FROM peers_trafficsample; DELETE FROM peers_gatewaystatus; VACUUM ANALYZE peers_peerstatus"
        )
        running = RunningGateway(namespace, database, home)
        stack.callback(running.stop)
        strangers = stack.enter_context(Strangers(namespace, OUTSIDE[4]))
        running.eventually(lambda: running.said("watching"))
        wg0.refresh_from_db()
        active = enrolled(rows.person("active"), wg0, ACTIVE)
        strangers.send(_first(private_key, wg0) for _, private_key in active)
        running.eventually(lambda: len(running.on()) == ACTIVE)
        start(running, wg0, strangers, row)
        admissions(running, wg0, strangers, row)
        revoked(running, wg0, strangers, row)
        pages(wg0, row, spread)


def _first(private_key: str, wg0: Interface) -> bytes:
    return initiation(private_key, str(wg0.public_key), tai64n())


def start(running: RunningGateway, wg0: Interface, strangers: Strangers, row: Row) -> None:
    ((_, private_key),) = enrolled(rows.person("first"), wg0, 1)
    key = keys.public_key_of(private_key)
    running.stop()
    running.log.unlink()
    started = time.monotonic()
    running.start()
    while key not in running.on():
        strangers.send([_first(private_key, wg0)])
        time.sleep(0.05)
    row(
        "≤ 2 s",
        f"gateway started → first handshake let in, {PEERS:,} enrolled, {ACTIVE} on",
        f"{time.monotonic() - started:.2f} s",
    )
    time.sleep(10)
    row("≤ 150 MB", "its memory ten seconds later", f"{memory_mb(running.process.pid):.0f} MB")


def admissions(running: RunningGateway, wg0: Interface, strangers: Strangers, row: Row) -> None:
    """Let many in, first one by one and then all at once, and measure what each costs the gateway and its wg(8)."""
    owner = rows.person("admitted")
    for what, pause in (("one by one, 50/s", 0.02), ("all at once", 0.0)):
        packets = [_first(private_key, wg0) for _, private_key in enrolled(owner, wg0, MANY)]
        before, used, started = len(running.on()), cpu_seconds(running.process.pid), time.monotonic()
        strangers.send(packets, pause)
        running.eventually(lambda before=before: len(running.on()) == before + MANY, 60)
        took, cpu = time.monotonic() - started, cpu_seconds(running.process.pid) - used
        row("", f"{MANY} devices let in {what}: processor time each; so many a second of one core; it took",
            f"{cpu / MANY * 1000:.2f} ms; {MANY / cpu:.0f}/s; {took:.1f} s")  # fmt: skip


def revoked(running: RunningGateway, wg0: Interface, strangers: Strangers, row: Row) -> None:
    ((peer, private_key),) = enrolled(rows.person("revoked"), wg0, 1)
    started = time.monotonic()
    services.revoke(actor=services.Actor(user=peer.owner), peer=peer, at=timezone.now())
    took = time.monotonic() - started
    strangers.send([_first(private_key, wg0)])
    time.sleep(8)
    told = GatewayStatus.objects.get(gateway="gateway")
    outcome = (
        "on"
        if keys.public_key_of(private_key) in running.on()
        else f"not let in, {told.handshakes_refused} refused"
    )
    row("", f"an idle device is revoked, in {took * 1000:.0f} ms, and comes", outcome)


def pages(wg0: Interface, row: Row, spread: Callable[[list[float]], str]) -> None:
    owner, seconds = rows.person("enrols"), []
    for _ in range(bench_pages.TIMES):
        started = time.perf_counter()
        rows.peer(owner, wg0)
        seconds.append(time.perf_counter() - started)
    row("", f"enrolment in the services, {PEERS:,} devices", spread(seconds))
    peer = Peer.objects.filter(revoked_at=None, owner__is_active=True, host=PEERS // 2 + 3).get()
    admin = User.objects.create_user(
        issuer=LOCAL_ISSUER, sub="admin", is_staff=True, is_superuser=True, name="Admin"
    )
    for promise, what, person, path in bench_pages.pages(peer, admin):
        row(
            promise,
            f"{what}, {PEERS:,} devices of {PEOPLE:,} people",
            spread(bench_pages.seconds(person, path)),
        )
