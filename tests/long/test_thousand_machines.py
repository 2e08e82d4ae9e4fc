"""A thousand machines with a ttl of a minute enrol, expire and come back for ten; MACHINES and MINUTES change the numbers."""

import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from peers import services
from peers.models import Interface, Peer, ServiceAccount
from tests import scene
from tests.fleet import TTL, Fleet, Machine, doubles
from tests.gateway.conftest import real_interfaces  # noqa: F401
from tests.stack import WORKERS, Stack

MACHINES = int(os.environ.get("MACHINES", "1000"))
MINUTES = float(os.environ.get("MINUTES", "10"))
LOOK_EVERY = 10  # seconds
LATE = 2.0  # seconds that a deadline may be kept late by
THREADS = 4  # of a worker's, each of which keeps a connection once it has had one: so few that all soon have
OTHERS = 3  # connections: the gateway's, the test's, and that of whoever counts
GROWTH = 1.10  # of memory, from the third minute on


class Portal(Stack):
    def environment(self):
        limits = {"LATCHKEY_RATE_LIMITS": "token=0,account=0,address=0"}
        return super().environment() | limits | {"LATCHKEY_THREADS": str(THREADS)}


@pytest.mark.usefixtures("real_interfaces")
def test_a_thousand_machines_come_and_go_and_nothing_stays(database, tmp_path, capsys):
    with Portal(database, tmp_path, "--ipv4-pool=10.77.0.0/16") as stack:
        fleet = Fleet(stack.url.removeprefix("http://"), token(), machines())
        looks = watch(stack, fleet, capsys)
        stack.gateway.eventually(lambda: not stack.gateway.on(), TTL + 30)  # all of them go by themselves
        look = Look(stack)
    assert fleet.wrong == []
    assert doubles(fleet.held) == []
    assert [late for look in looks for late in look.late] == []
    assert not look.on
    settled = [one for one in looks if one.at > 180] or looks[-1:]
    assert max(one.connections for one in [*looks, look]) <= WORKERS * THREADS + OTHERS
    assert look.connections <= settled[0].connections + 2
    for name in ("portal", "gateway"):
        memory = [getattr(one, name) for one in settled]
        assert memory[-1] <= memory[0] * GROWTH, (name, memory)


def token():
    account = ServiceAccount(
        name="fleet", team="Fleet", device_limit=MACHINES * 2, default_ttl=timedelta(minutes=1)
    )
    actor, at = services.Actor(), timezone.now()
    services.save_account(actor=actor, account=account, interfaces=Interface.objects.all())
    scopes = ["peers:enrol", "peers:read"]
    wanted = {"name": "fleet", "scopes": scopes, "at": at, "expires_at": at + timedelta(days=1)}
    return services.make_token(actor=actor, holder=account, **wanted)[1]


def machines():
    return [Machine(number, scene.made_up_key(1_000_000 + number)) for number in range(MACHINES)]


def watch(stack, fleet, capsys):
    """Let the fleet live, and look at everything meanwhile."""
    running = threading.Thread(target=fleet.run, args=[MINUTES * 60])
    started, looks = time.monotonic(), []
    running.start()
    while running.is_alive():
        running.join(LOOK_EVERY)
        looks.append(Look(stack, time.monotonic() - started))
        with capsys.disabled():
            print(f"  {looks[-1]}, {fleet.asked} asked, {len(fleet.wrong)} went wrong", flush=True)
    return looks


class Look:
    """What is there at one moment: peers on the interface, those whose time was over, connections, memory in MB."""

    def __init__(self, stack, at: float = 0.0) -> None:
        self.at = at
        read_at = timezone.now()
        self.on = stack.gateway.on()
        over = Peer.objects.filter(expires_at__lt=read_at - timedelta(seconds=LATE))
        self.late = sorted(set(over.values_list("keys__public_key", flat=True)) & self.on)
        self.connections = int(
            stack.database.sql(
                f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{stack.database.name}'"
            )
        )
        self.portal = sum(resident(pid) for pid in [stack.portal.pid, *children(stack.portal.pid)])
        self.gateway = resident(stack.gateway.process.pid)

    def __str__(self) -> str:
        return (
            f"{self.at:4.0f} s: {len(self.on)} on, {len(self.late)} late, {self.connections} connections, "
            f"portal {self.portal:.0f} MB, gateway {self.gateway:.0f} MB"
        )


def children(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def resident(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
