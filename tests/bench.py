"""Measure what Latchkey promises, and print it as a table: ``make bench``; with ARGS=enrol, on-demand or million a part alone.

Real parts: PostgreSQL, wireguard-go or the kernel, wg(8), a client in a namespace of its own. Figures of one run belong
together; of two runs compare ratios.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django

from tests.conftest import WEB, Database  # first: it makes the settings' environment

django.setup()

from django.db import connection
from django.utils import timezone

from deploy.demo.client import Client
from deploy.demo.netns import Namespace, end
from deploy.demo.postgres import Cluster, debian_binaries, wheel_binaries
from peers import services
from peers.models import Interface, PeerStatus
from peers.wireguard import keys, link, wg
from tests import bench_access, bench_enrol, bench_million, bench_on_demand, bench_pages, rows, scene
from tests.consumption import cpu_seconds, memory_mb
from tests.gateway.running import RunningGateway, configuration_of, last_reply

SAMPLES = int(os.environ.get("SAMPLES", "30"))
INSIDE = "10.77.0.1"


def main() -> None:
    print(f"{os.cpu_count()} cores, {_memory_gb():.0f} GB, {platform.system()} {platform.release()}, "
          f"Python {platform.python_version()}\n")  # fmt: skip
    print("| promise | measured | figure |\n|---|---|---|")
    with ExitStack() as stack:
        bench = Bench(stack)
        for part in sys.argv[1:] or bench.parts:
            bench.parts[part]()


def row(promise: str, what: str, figure: str) -> None:
    print(f"| {promise} | {what} | {figure} |", flush=True)


def spread(seconds: list[float]) -> str:
    """Return median, p99 and maximum in ms; of fewer than a hundred samples p99 is the maximum."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {statistics.median(ordered) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms (n = {len(ordered)})"


class Bench:
    """One PostgreSQL cluster, and for each measurement a database, a namespace and a gateway of its own."""

    def __init__(self, stack: ExitStack) -> None:
        self.home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latchkey-")))
        self.cluster = Cluster(self.home / "pg", debian_binaries() or wheel_binaries(), durable=True)
        self.cluster.initialise()
        self.cluster.start()
        stack.callback(self.cluster.stop)
        self.number = 0

    @property
    def parts(self) -> dict[str, Callable[[], None]]:
        """Return what there is to measure, by the name that chooses it."""
        return {
            "enrol": lambda: bench_enrol.measure(self.empty(), self.home, row),
            "gateway": self.gateway,
            "on-demand": lambda: bench_on_demand.measure(self.fresh, row),
            "pages": lambda: bench_pages.measure(self.cluster, row, spread),
            "million": lambda: bench_million.measure(self.fresh, row, spread),
        }

    def gateway(self) -> None:
        for count in (10_000, 50_000):
            self.start_of_gateway(count)
        self.one_wg_set_a_peer(10_000)
        for count in (1_000, 10_000):
            self.with_peers(count)
        self.ends_of_access()

    def empty(self) -> Database:
        """Return a migrated database with nothing in it, which Django is now connected to."""
        self.number += 1
        database = Database(self.cluster, f"bench{self.number}")
        self.cluster.sql(f"CREATE DATABASE {database.name}")
        done = database.manage("migrate", "-v0")
        assert done.returncode == 0, done.stderr
        self.cluster.grant(database.name)
        connection.close()
        connection.settings_dict.update(NAME=database.name, USER=WEB, HOST=str(self.cluster.socket), PORT="")
        return database

    def fresh(self, stack: ExitStack) -> tuple[Database, Namespace, Path, Interface]:
        """Return a migrated database, a namespace with a bare wg0, a folder and the interface's row."""
        database = self.empty()
        stack.callback(connection.close)
        namespace = stack.enter_context(Namespace())
        if process := namespace.call(link.create, "wg0"):
            stack.callback(end, process)
        home = self.home / database.name
        home.mkdir()
        wg0 = rows.interface(
            public_key=None, ipv4_pool="10.77.0.0/16", ipv6_pool="fd00:77::/64", device_limit=10**6
        )
        return database, namespace, home, wg0

    def start_of_gateway(self, count: int) -> None:
        with ExitStack() as stack:
            database, namespace, home, wg0 = self.fresh(stack)
            scene.fill(database, wg0, count)
            started = time.time()
            running = RunningGateway(namespace, database, home)
            stack.callback(running.stop)
            running.eventually(lambda: running.said("changed"), 120)
            took = _logged_at(running.said("changed")[0]) - started
            assert len(running.on()) == count
            row(
                "start ≤ 2 s with 10,000, ≤ 10 s with 50,000",
                f"gateway started → {count:,} peers on an empty interface",
                f"{took:.2f} s",
            )

    def one_wg_set_a_peer(self, count: int) -> None:
        with ExitStack() as stack:
            _, namespace, _, _ = self.fresh(stack)
            started = time.monotonic()
            namespace.call(_one_by_one, count)
            row(
                "",
                f"for comparison: one `wg set` a peer, {count:,} peers",
                f"{time.monotonic() - started:.2f} s",
            )

    def with_peers(self, count: int) -> None:
        with ExitStack() as stack:
            database, namespace, home, wg0 = self.fresh(stack)
            scene.fill(database, wg0, count)
            running = RunningGateway(namespace, database, home, LATCHKEY_LOG_LEVEL="DEBUG")
            stack.callback(running.stop)
            running.eventually(lambda: PeerStatus.objects.filter(present=True).count() == count, 120)
            wg0.refresh_from_db()
            if count >= 10_000:
                self.idle(running, count)
            self.commit_to_interface(running, wg0, count)
            self.revoke_to_last_packet(running, wg0, count)

    def ends_of_access(self) -> None:
        with ExitStack() as stack:
            bench_pages.without_static_files(stack)
            database, namespace, home, wg0 = self.fresh(stack)
            scene.fill(database, wg0, 1000)
            running = RunningGateway(namespace, database, home)
            stack.callback(running.stop)
            running.eventually(lambda: PeerStatus.objects.filter(present=True).count() == 1000, 120)
            wg0.refresh_from_db()
            bench_access.suspend_to_all_dead(running, wg0, row, spread)
            bench_access.lease_to_last_packet(running, wg0, database, row, spread)
            running.stop()
            bench_access.everyone_asked(database, row)

    def idle(self, running: RunningGateway, count: int, seconds: int = 60) -> None:
        """Measure a gateway that has nothing to do: memory, processor, and what a full pass costs."""
        time.sleep(5)
        used, passes = cpu_seconds(running.process.pid), len(running.said("pass"))
        time.sleep(seconds)
        share = (cpu_seconds(running.process.pid) - used) / seconds
        row(
            "≤ 150 MB", f"gateway idle at {count:,} peers: memory", f"{memory_mb(running.process.pid):.0f} MB"
        )
        row("≤ 3 %", f"gateway idle at {count:,} peers: share of a core, its `wg` included", f"{share:.1%}")
        own = [said["cpu_seconds"] for said in running.said("pass")[passes:] if not said["changes"]]
        row(
            "≤ 80 ms",
            f"a full pass with nothing to do at {count:,} peers, the gateway's own processor time",
            spread(own),
        )

    def commit_to_interface(self, running: RunningGateway, wg0: Interface, count: int) -> None:
        person, seconds = rows.person("commits"), []
        for _ in range(SAMPLES):
            seen = len(running.said("changed"))
            rows.peer(person, wg0)
            committed = time.time()
            running.eventually(lambda seen=seen: len(running.said("changed")) > seen)
            seconds.append(_logged_at(running.said("changed")[seen]) - committed)
        row(
            "enrolment: p50 ≤ 15 ms, p99 ≤ 100 ms with 1,000; p50 ≤ 120 ms with 10,000",
            f"commit → peer on the interface at {count:,} peers",
            spread(seconds),
        )

    def revoke_to_last_packet(self, running: RunningGateway, wg0: Interface, count: int) -> None:
        person, seconds = rows.person("revoked"), []
        for _ in range(SAMPLES):
            private_key = keys.generate_private_key()
            peer = rows.peer(person, wg0, public_key=keys.public_key_of(private_key))
            with Client(configuration_of(peer, private_key), running.namespace) as client:
                running.eventually(lambda client=client: client.ping(INSIDE).received)
                seconds.append(max(0.0, last_reply(client, INSIDE, _revoking(peer), for_seconds=2)))
        row(
            "revocation: p50 ≤ 150 ms, p99 ≤ 1 s",
            f"revoke answered → last packet accepted, {count:,} peers, 100 pings/s",
            spread(seconds),
        )


def _revoking(peer: Any) -> Callable[[], object]:
    actor = services.Actor(user=peer.owner)
    return lambda: services.revoke(actor=actor, peer=peer, at=timezone.now())


def _one_by_one(count: int) -> None:
    for number in range(count):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32"
        words = ("wg", "set", "wg0", "peer", scene.made_up_key(number), "allowed-ips", address)
        subprocess.run(words, check=True, env=wg.ENVIRONMENT)


def _logged_at(said: dict[str, Any]) -> float:
    return timezone.datetime.fromisoformat(said["time"]).timestamp()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


if __name__ == "__main__":
    sys.exit(main())
