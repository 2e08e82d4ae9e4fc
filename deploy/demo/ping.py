"""Show the whole path on the running demo: enrol, connect a real WireGuard client, ping, revoke; and measure it."""

import argparse
import fcntl
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from queue import Empty, SimpleQueue
from threading import Thread

import requests

from deploy.demo.client import Client
from deploy.demo.console import Sorry, say, step
from deploy.demo.folder import Folder
from deploy.demo.netns import Joined
from deploy.demo.person import Person
from deploy.demo.stack import INTERFACE, ON_DEMAND
from peers.wireguard import keys
from peers.wireguard.config import PLACEHOLDER

PERSON, NAME, GATEWAY = "alice", "demo-ping", "10.77.0.1"
INTERVAL = 0.02  # seconds from one ping to the next
STARTS_WITHIN = 60  # seconds that a demo which is just starting has
READY_WITHIN = 15  # seconds until the gateway has published its key
REPLY_WITHIN = 20  # seconds: WireGuard tries a handshake again every 5
SILENT_AFTER = 1.0  # seconds without a reply, and the tunnel is dead
DEAD_WITHIN = 20  # seconds


class Pinging:
    """ping(8) at work in a client's namespace, until that is closed."""

    def __init__(self, client: Client, address: str) -> None:
        self._ping = client.namespace.popen(
            "ping",
            "-n",
            "-D",
            "-i",
            str(INTERVAL),
            address,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._replies: SimpleQueue[float] = SimpleQueue()
        Thread(target=self._listen, daemon=True).start()

    def reply(self, within: float) -> float | None:
        """Return when the next reply came, as time.time() has it; None if none does within so many seconds."""
        with suppress(Empty):
            return self._replies.get(timeout=within)
        return None

    def last_reply(self, within: float) -> float:
        """Return when the last reply came, once they have stopped; raise Sorry if they go on."""
        last, give_up = 0.0, time.monotonic() + within
        while (came := self.reply(SILENT_AFTER)) is not None:
            last = came
            if time.monotonic() > give_up:
                raise Sorry(
                    f"{within} s after the revocation pings are still answered. That is a fault: see gateway.log"
                )
        return last

    def _listen(self) -> None:
        with suppress(ValueError):  # the pipe is closed when the namespace is
            for line in self._ping.stdout or ():
                if came := re.match(r"\[(\d+\.\d+)\] \d+ bytes from", line):
                    self._replies.put(float(came[1]))


def ping(folder: Folder, _options: argparse.Namespace) -> None:
    """Enrol a throw-away device, ping through its tunnel, revoke it, and print how long each took."""
    running = folder.running(within=STARTS_WITHIN)
    gateway = Joined(running.need_namespace())
    with folder.path.joinpath("ping.lock").open("a") as lock, Person(running.url, PERSON) as person:
        # One at a time: the link's name and addresses are the same each time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with step(f"{PERSON.title()} signs in at the demo's identity provider"):
                person.sign_in()
            _through_the_tunnel(person, gateway, on_demand=running.mode == ON_DEMAND)
            person.sign_out()
        except (OSError, subprocess.CalledProcessError) as error:
            raise Sorry(f"It did not get through: {error}") from error


def _through_the_tunnel(person: Person, gateway: Joined, *, on_demand: bool) -> None:
    private_key = keys.generate_private_key()
    public_key = keys.public_key_of(private_key)
    with _device(person, public_key) as device:
        enrolled_at = time.time()
        if on_demand:
            _must_be_off(gateway, public_key)
        conf = device["config"].replace(PLACEHOLDER, private_key)
        with Client(conf, gateway) as client:
            pinging = Pinging(client, GATEWAY)
            first = pinging.reply(REPLY_WITHIN)
            if first is None:
                raise Sorry(f"No ping to {GATEWAY} was answered within {REPLY_WITHIN} s: see gateway.log")
            say(f"  First ping answered through the tunnel {first - enrolled_at:.2f} s after the enrolment")
            if on_demand:
                say(f"  {INTERFACE} held no such peer after the enrolment: its first packet put it on")
            _revoke(person, device)
            revoked_at = time.time()
            late = max(0.0, pinging.last_reply(DEAD_WITHIN) - revoked_at)
            say(f"  Last ping answered {late:.2f} s after the revocation, then silence")


def _must_be_off(gateway: Joined, public_key: str) -> None:
    """Raise Sorry when wg0 holds the peer of a device that has not sent a packet yet."""
    if public_key in gateway.run("wg", "show", INTERFACE, "peers").stdout.split():
        raise Sorry(f"{INTERFACE} holds the device before its first packet. That is a fault: see gateway.log")


@contextmanager
def _device(person: Person, public_key: str) -> Iterator[dict[str, str]]:
    """Enrol a device as the page's script does, give the portal's answer, and revoke it whatever happens."""
    with step(f"A device called {NAME} is enrolled, its key pair made here"):
        device: dict[str, str] = _enrol(person, public_key).json()
    try:
        yield device
    finally:
        _revoke(person, device)  # twice is no error


def _enrol(person: Person, public_key: str) -> requests.Response:
    fields = {"name": NAME, "platform": "linux", "public_key": public_key}
    give_up = time.monotonic() + READY_WITHIN
    while True:
        answer = person.submit("/", fields, Accept="application/json")
        if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > give_up:
            return person.accepted(answer)
        time.sleep(0.2)


def _revoke(person: Person, device: dict[str, str]) -> None:
    person.accepted(person.submit(f"{device['url']}revoke", {}))
