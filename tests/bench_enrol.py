"""Measure how fast machines enrol, and what a restart leaves of it, beside the naive design in the same run."""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from deploy.demo.netns import Namespace, end
from peers import services
from peers.models import Interface, ServiceAccount
from peers.wireguard import link
from tests import scene
from tests.conftest import ROOT, Database
from tests.stack import START_WITHIN, Stack, free_port

AT_ONCE = int(os.environ.get("AT_ONCE", "8"))
REQUESTS = int(os.environ.get("REQUESTS", "400"))  # a run
WARM = 50  # requests before those that count
ROUNDS = int(os.environ.get("ROUNDS", "4"))  # of runs, each way of enrolling once a round
GIVEN = (200, 201)  # the statuses of success
TOKEN = "only-for-the-benchmark"
SCRIPT = str(ROOT / "tests" / "naive" / "add_peer.sh")
NAIVE = {
    "naive: sudo add_peer.sh": f"sudo {SCRIPT}",
    "naive, without sudo": SCRIPT,
    "naive, `wg set` called directly": "wg set wg0 peer",
}


Answer = tuple[float, int, str]  # seconds, status, address


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of enrolling: where to ask, from which namespace, and how to restart it."""

    where: str
    path: str
    token: str = field(repr=False)
    restart: Callable[[], None]
    namespace: Namespace | None = None


@dataclass(slots=True)
class Found:
    """What one way of enrolling came to, over all its runs; ``survived`` is how many of the first keys had theirs after a restart."""

    rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    addresses: Counter[str] = field(default_factory=Counter)
    survived: int = 0

    def add(self, answers: list[Answer], took: float) -> None:
        self.rates.append(sum(status in GIVEN for _, status, _ in answers) / took)
        self.seconds += [seconds for seconds, _, _ in answers]
        self.statuses.update(status for _, status, _ in answers)
        self.addresses.update(address for _, status, address in answers if status in GIVEN)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]

    @property
    def doubles(self) -> int:
        return sum(number - 1 for number in self.addresses.values())

    def __str__(self) -> str:
        failed = sum(number for status, number in self.statuses.items() if status not in GIVEN)
        median = statistics.median(self.seconds)
        return (
            f"{self.rate:.0f}/s, p50 {median * 1000:.1f} ms, p99 {self.p99 * 1000:.1f} ms, {failed} failed, "
            f"{self.doubles} of {self.addresses.total()} addresses given twice, "
            f"{self.survived} of {WARM} keep theirs over a restart"
        )


class Keys:
    """Public keys that nobody has used, in files of as many as a run takes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.used = folder, 1_000_000

    def file(self, count: int = REQUESTS) -> Path:
        path = self.folder / f"keys-{self.used}"
        path.write_text("\n".join(scene.made_up_key(self.used + number) for number in range(count)))
        self.used += count
        return path


class Portal(Stack):
    """The portal as it is set up by default, with limits that a load test does not meet, and what it counts all the same."""

    def environment(self) -> dict[str, str]:
        high = ",".join(f"{rate}=1000000" for rate in ("token", "account", "address"))
        own = {"LATCHKEY_WORKERS": os.environ.get("WORKERS", "4"), "LATCHKEY_RATE_LIMITS": high}
        return super().environment() | own

    def restart(self) -> None:
        """End the portal and the gateway, and return once both are there again."""
        end(self.portal)
        self.gateway.stop()
        self.gateway.start()
        self._start_portal()
        self.gateway.eventually(self.gateway.on)


def measure(database: Database, home: Path, row: Any) -> None:
    """Print the rows of the table; ``database`` is migrated and empty, ``home`` a folder."""
    found = {"POST /api/v1/peers": Found(), "POST /register": Found(), **{name: Found() for name in NAIVE}}
    keys = Keys(home)
    with ExitStack() as stack:
        portal = stack.enter_context(
            Portal(database, home, "--ipv4-pool=10.77.0.0/16", "--ipv6-pool=fd00:77::/64")
        )
        where, token = portal.url.removeprefix("http://"), _token()
        ways = {
            name: Way(where=where, path=name.split()[1], token=token, restart=portal.restart)
            for name in list(found)[:2]
        }
        for name, command in NAIVE.items():
            ways[name] = stack.enter_context(naive(command, home))
        first = {name: keys.file(WARM) for name in ways}
        given = {name: run(way, first[name])[0] for name, way in ways.items()}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                found[name].add(*run(way, keys.file()))
        for name, way in ways.items():
            way.restart()
            found[name].survived = _same(given[name], run(way, first[name])[0])
    _print(found, row)


def _same(before: list[Answer], after: list[Answer]) -> int:
    """Return how many keys were given an address, and the same one again."""
    return sum(one[2] == other[2] != "" for one, other in zip(before, after, strict=True))


def _print(found: dict[str, Found], row: Any) -> None:
    base = found["naive: sudo add_peer.sh"]
    goals = {"POST /api/v1/peers": "accepted: ≥ 2 × the naive rate, p99 ≤ half of its",
             "POST /register": "on the interface: ≥ 1.4 × the naive rate, p99 below its"}  # fmt: skip
    for name, one in found.items():
        ratios = f"{one.rate / base.rate:.2f} × the rate, {one.p99 / base.p99:.2f} × the p99"
        row(goals.get(name, ""), f"{name}, {AT_ONCE} at once", f"{one}; {ratios}")


def _token() -> str:
    account = ServiceAccount(name="load", team="Load", device_limit=10**6, default_ttl=timedelta(days=1))
    actor, at = services.Actor(), timezone.now()
    services.save_account(actor=actor, account=account, interfaces=Interface.objects.all())
    wanted = {"name": "load", "scopes": ["peers:enrol"], "at": at, "expires_at": at + timedelta(days=1)}
    return services.make_token(actor=actor, holder=account, **wanted)[1]


def run(way: Way, keys: Path) -> tuple[list[Answer], float]:
    """Send the keys, and return what came of each and how long all of it took; the load is a process of its own."""
    words = [sys.executable, "-m", "tests.load", way.where, way.path, str(keys), str(AT_ONCE)]
    start = way.namespace.popen if way.namespace else _popen
    process = start(*words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    printed, _ = process.communicate(way.token, timeout=300)
    took, answers = json.loads(printed)
    return [tuple(answer) for answer in answers], took


def _popen(*words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(words, **options)


@contextmanager
def naive(command: str, home: Path) -> Iterator[Way]:
    """Run the naive design with a wg0 of its own."""
    with ExitStack() as stack:
        namespace = stack.enter_context(Namespace())
        if process := namespace.call(link.create, "wg0"):
            stack.callback(end, process)
        where = f"127.0.0.1:{free_port()}"
        servers = [_serve(namespace, where, command, home)]
        stack.callback(lambda: end(servers[-1]))

        def restart() -> None:
            end(servers[-1])
            servers.append(_serve(namespace, where, command, home))

        yield Way(where=where, path="/register", token=TOKEN, restart=restart, namespace=namespace)


def _serve(namespace: Namespace, where: str, command: str, home: Path) -> subprocess.Popen[Any]:
    """Start the naive server and return once it takes connections."""
    words = [sys.executable, "-m", "gunicorn", "--workers=4", f"--bind={where}", "--no-control-socket",
             "--log-level=error", "tests.naive.app:app"]  # fmt: skip
    environment = {**os.environ, "ADD_PEER": command, "API_TOKEN": TOKEN}
    with (home / "naive.log").open("ab") as log:
        server = namespace.popen(*words, cwd=ROOT, env=environment, stdout=log, stderr=log)
    give_up = time.monotonic() + START_WITHIN
    while not namespace.call(_takes_connections, where):
        if time.monotonic() > give_up:
            raise RuntimeError(
                f"The naive server does not start:\n{(home / 'naive.log').read_text()[-3000:]}"
            )
        time.sleep(0.1)
    return server


def _takes_connections(where: str) -> bool:
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True
