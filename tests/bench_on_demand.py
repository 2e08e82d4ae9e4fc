"""Measure interfaces on demand beside those that hold every peer: first pings, a crowd, a flood, a million devices."""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from deploy.demo.netns import Namespace
from peers.models import Interface
from tests import rows
from tests.conftest import ROOT, Database
from tests.consumption import cpu_seconds
from tests.first_ping import OUTSIDE, Devices, enrolled
from tests.gateway.running import Pinging, RunningGateway

Row = Callable[[str, str, str], None]
Fresh = Callable[[ExitStack], tuple[Database, Namespace, Path, Interface]]
FIRST_PINGS = int(os.environ.get("FIRST_PINGS", "200"))
CROWD, OWN = (
    200,
    ip_address("198.51.100.2"),
)  # clients; each has an address of the gateway's of its own, from that one on
PING = ("ping", "-n", "-D", "-i", "0.2", "-c", "40", "-W", "1", "10.77.0.1")
FLOOD_RATE, FLOOD_SECONDS = 10_000, 10
PATIENCE = {"mac1": 7, "content": 7, "spoofed": 40}  # seconds; nothing tells whose a spoofed one is


def measure(fresh: Fresh, row: Row) -> None:
    """Print a row for each figure; ``fresh`` gives a database, a namespace with a bare wg0, a folder and the interface's row."""
    first = {}
    for mode in ("push", "on_demand"):
        with _gateway(fresh, mode) as (running, wg0):
            for version in (4, 6):
                first[mode, version] = list(_first_pings(running, wg0, version, FIRST_PINGS))
                what = "always on" if mode == "push" else "on demand"
                row(
                    "" if mode == "push" else "median ≤ always on + 10 ms, max < 100 ms",
                    f"first packet → first reply, {what}, IPv{version}",
                    spread(first[mode, version]),
                )
    _keep(first)
    with _gateway(fresh, "on_demand") as (running, wg0), _busy(os.cpu_count() or 1):
        row(
            "max < 250 ms",
            f"the same on demand with {os.cpu_count()} busy cores, IPv4",
            spread(list(_first_pings(running, wg0, 4, FIRST_PINGS))),
        )
    with _gateway(fresh, "on_demand") as (running, wg0):
        crowd(running, wg0, row)
    for kind in ("mac1", "content", "spoofed"):
        with _gateway(fresh, "on_demand") as (running, wg0):
            flood(running, wg0, kind, row)


def spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p95 = ordered[int(len(ordered) * 0.95)]
    return f"p50 {statistics.median(ordered) * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms, max {ordered[-1] * 1000:.1f} ms (n = {len(ordered)})"


@contextmanager
def _gateway(fresh: Fresh, mode: str) -> Iterator[tuple[RunningGateway, Interface]]:
    with ExitStack() as stack:
        database, namespace, home, wg0 = fresh(stack)
        wg0.mode, wg0.persistent_keepalive = mode, 0
        wg0.save(update_fields=["mode", "persistent_keepalive"])
        running = RunningGateway(namespace, database, home)
        stack.callback(running.stop)
        running.eventually(lambda: running.said("watching") or (mode == "push" and running.said("connected")))
        running.eventually(
            lambda: database.sql("SELECT public_key FROM peers_interface WHERE public_key <> ''")
        )
        wg0.refresh_from_db()
        yield running, wg0


def _first_pings(running: RunningGateway, wg0: Interface, version: int, count: int) -> Iterator[float]:
    given = enrolled(rows.person(f"first-{version}"), wg0, count)
    if wg0.mode == "push":
        running.eventually(lambda: {peer.key.public_key for peer, _ in given} <= running.on())
    devices = Devices(running.namespace, wg0, running.directory, version)
    time.sleep(2)
    for peer, private_key in given:
        devices.become(peer, private_key)
        yield devices.first_ping()
    devices.close()


def _keep(first: dict[tuple[str, int], list[float]]) -> None:
    """Write the samples down for the plot in the documentation, where a file is named for them."""
    if name := os.environ.get("FIRST_PINGS_FILE"):
        Path(name).write_text(
            json.dumps({f"{mode} {version}": seconds for (mode, version), seconds in first.items()})
        )


def crowd(running: RunningGateway, wg0: Interface, row: Row) -> float:
    """Have many clients send their first packet within a second; return the seconds until the last has its reply."""
    with _room_for_many():
        return _crowd(running, wg0, row)


@contextmanager
def _room_for_many() -> Iterator[None]:
    """Allow a user more of what each wireguard-go takes one of, and put the limit back."""
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    before = limit.read_text()
    limit.write_text(str(max(int(before), 2 * CROWD)))
    try:
        yield
    finally:
        limit.write_text(before)


def _crowd(running: RunningGateway, wg0: Interface, row: Row) -> float:
    clients = []
    for number, (peer, private_key) in enumerate(enrolled(rows.person("crowd"), wg0, CROWD)):
        clients.append(Devices(running.namespace, wg0, running.directory, 4, OWN + number))
        clients[-1].become(peer, private_key)
    started = time.time()
    pings = [client.namespace.popen(*PING, stdout=subprocess.PIPE, text=True) for client in clients]
    within, printed = time.time() - started, [ping.communicate()[0] for ping in pings]
    first = [
        float(min(re.findall(r"^\[([\d.]+)\] \d+ bytes", text, re.MULTILINE), default="inf"))
        for text in printed
    ]
    for client in clients:
        client.close()
    last = max(first) - started
    row(
        "all ≤ 3 s",
        f"{CROWD} clients within {within:.1f} s at an empty interface on demand → the last one's first reply",
        f"{last:.2f} s",
    )
    return last


@contextmanager
def _busy(cores: int) -> Iterator[None]:
    """Keep every core busy meanwhile."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def flood(running: RunningGateway, wg0: Interface, kind: str, row: Row) -> dict[str, Any]:
    """Flood the port, and measure what becomes of a running ping, of genuine first pings, and what it costs the gateway."""
    known = enrolled(rows.person(f"flood-{kind}"), wg0, 8)
    stays = Devices(running.namespace, wg0, running.directory, 4)
    stays.become(*known[0])
    stays.first_ping()
    comes = Devices(running.namespace, wg0, running.directory, 6)
    pinging = Pinging(stays, "10.77.0.1", 0.01)
    used = cpu_seconds(running.process.pid)
    where = (str(OUTSIDE[4]), "51820", str(FLOOD_RATE), str(FLOOD_SECONDS), kind, str(wg0.public_key))
    process = stays.namespace.popen(
        sys.executable, "-m", "tests.flood", *where, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    time.sleep(1)
    first = []
    for peer, private_key in known[1:]:
        comes.become(peer, private_key)
        first.append(comes.first_ping(patience=PATIENCE[kind]))
        if process.poll() is not None:
            break
    sent = int(process.communicate()[0])
    share = (cpu_seconds(running.process.pid) - used) / FLOOD_SECONDS
    lost, pings = pinging.lost()
    time.sleep(6)
    for each in (stays, comes):
        each.close()
    row("≤ 1 %; ≤ 50 ms", f"{sent:,} bogus initiations in {FLOOD_SECONDS} s, {kind}: a running ping; first pings meanwhile",
        f"{lost} of {pings} lost; {spread(first)}")  # fmt: skip
    row(
        "",
        "the same: the gateway's share of a core; on the interface; told as a flood",
        f"{share:.0%}; {len(running.on())} of {len(known)}; {bool(running.said('handshake_flood'))}",
    )
    return {"lost": lost / pings, "sent": sent, "on": len(running.on()), "known": len(known)}
