"""The gateway as it runs in production: a process of its own, as its own role, in a namespace of the test."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.demo.client import Client, ping_result
from deploy.demo.netns import Namespace, end
from peers.configuration import configuration
from peers.models import Peer
from peers.wireguard import wg
from peers.wireguard.config import PLACEHOLDER
from peers.wireguard.state import Observed
from tests.conftest import GATEWAY, ROOT, Database

PATIENCE = 20.0  # seconds until a test gives up waiting; what a promise allows is asserted by the test itself


class RunningGateway:
    """``manage.py run_gateway wg0`` in ``namespace``; ``log`` holds what it says, one JSON object a line."""

    def __init__(
        self,
        namespace: Namespace,
        database: Database,
        directory: Path,
        *flags: str,
        under: tuple[str, ...] = (),
        **environment: str,
    ) -> None:
        self.namespace, self.database, self.directory, self.under = namespace, database, directory, under
        self.flags, self.environment = flags, environment
        self.log = directory / "gateway.log"
        self.process: subprocess.Popen[Any] | None = None
        self.start()

    def start(self) -> None:
        environment = {
            **self.database.environment(GATEWAY), "LATCHKEY_PRIVATE_KEY_DIR": str(self.directory),
            "LATCHKEY_GATEWAY_NAME": "gateway", **self.environment,
        }  # fmt: skip
        with self.log.open("ab") as log:
            self.process = self.namespace.popen(
                *self.under, sys.executable, "manage.py", "run_gateway", "wg0", *self.flags,
                cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        """End it as a crash would: nothing is said, nothing is cleaned up."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process:
            end(self.process)
        self.process = None

    def observed(self) -> Observed:
        """Return what the interface holds now."""
        return self.namespace.call(wg.show, "wg0")

    def on(self) -> set[str]:
        """Return the keys on the interface; none while there is no interface, or it is just being made."""
        try:
            return set(self.observed().peers)
        except wg.WgError:
            return set()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def eventually(self, holds: Callable[[], object], within: float = PATIENCE) -> float:
        """Wait until ``holds`` is true and return the seconds it took; fail the test with the log otherwise.

        The longer that takes the less often it looks: each look starts processes, which the gateway would wait for.
        """
        started = looked = time.monotonic()
        while not holds():
            waited, took = time.monotonic() - started, time.monotonic() - looked
            if waited > within:
                raise AssertionError(
                    f"not within {within} s; the gateway said:\n{self.log.read_text()[-3000:]}"
                )
            time.sleep(max(0.005, min(waited / 50, 0.1), 2 * took))
            looked = time.monotonic()
        return time.monotonic() - started

    def said(self, event: str) -> list[dict[str, Any]]:
        return [said for said in self.events() if said.get("event", said.get("message")) == event]


ON_THE_WAY = 10  # packets, a fifth of a second's


class Pinging:
    """A ping that runs on while other things happen; ``lost`` ends it and says how many replies never came."""

    def __init__(self, client: Client, address: str, every: float = 0.02) -> None:
        words = ("ping", "-n", "-i", str(every), "-W", "1", address)
        self._process = client.namespace.popen(*words, stdout=subprocess.PIPE, text=True)

    def lost(self) -> tuple[int, int]:
        """Return the packets lost and sent; the last few may still be on their way, and are not lost for that."""
        time.sleep(0.3)
        self._process.send_signal(signal.SIGINT)
        printed, _ = self._process.communicate(timeout=10)
        sent = ping_result(printed, 1).sent
        answered = {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", printed)}
        last = max(answered, default=0)
        unanswered_at_the_end = sent - last
        lost = last - len(answered)
        return lost + (unanswered_at_the_end if unanswered_at_the_end > ON_THE_WAY else 0), sent


class Replies:
    """A ping that runs on into ``log``; it can be asked meanwhile when replies came. ``close`` ends it."""

    def __init__(self, client: Client, address: str, log: Path, every: float = 0.02) -> None:
        self._log = log
        words = ("ping", "-n", "-D", "-i", str(every), address)
        with log.open("wb") as output:
            self._process = client.namespace.popen(*words, stdout=output)

    def times(self) -> list[float]:
        """Return when each reply came, in seconds since the epoch."""
        stamps = re.findall(r"^\[([\d.]+)\] \d+ bytes from", self._log.read_text(), re.MULTILINE)
        return [float(stamp) for stamp in stamps]

    def close(self) -> None:
        end(self._process)


def last_reply(
    client: Client, address: str, act: Callable[[], object], every: float = 0.01, for_seconds: int = 6
) -> float:
    """Return how many seconds after ``act`` returned the last ping reply came; negative when it came before."""
    words = ("ping", "-n", "-D", "-i", str(every), "-w", str(for_seconds), address)
    process = client.namespace.popen(*words, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    act()
    acted = time.time()
    printed, _ = process.communicate(timeout=15)
    replies = [float(stamp) for stamp in re.findall(r"^\[([\d.]+)\] \d+ bytes from", printed, re.MULTILINE)]
    assert replies, "the tunnel never carried a ping"
    return max(replies) - acted


def configuration_of(peer: Peer, private_key: str) -> str:
    """Return the file that the peer's owner gets, with the private key that only the test knows."""
    return configuration(peer).replace(PLACEHOLDER, private_key)
