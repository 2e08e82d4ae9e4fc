"""Many machines that enrol, renew, stop and come back over the API, and what each was told. Does not know pytest."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPConnection
from threading import Lock

AT_ONCE = 8
TTL = 60  # seconds
OFTEN = 0.4  # of the times that a machine's lease is near its end, it renews
AWAY = 20.0  # seconds at most between its end and its coming back
PATIENCE = 30  # seconds, for an answer


@dataclass(frozen=True, slots=True)
class Held:
    """An address as a machine was told that it holds it, by the portal's clock."""

    address: str
    machine: int
    since: datetime
    until: datetime


@dataclass(slots=True)
class Machine:
    number: int
    public_key: str
    peer: str = ""
    due_at: float = 0.0  # when it next does something, by the monotonic clock
    ends_at: float = 0.0


@dataclass(slots=True)
class Fleet:
    """Machines of one account at the portal at ``where`` (host:port); ``held`` and ``wrong`` grow as it runs."""

    where: str
    token: str
    machines: list[Machine]
    held: list[Held] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    asked: int = 0
    _lock: Lock = field(default_factory=Lock)

    def run(self, seconds: float) -> None:
        """Let them live for ``seconds``; the first come within one ttl, so that they are spread."""
        started = time.monotonic()
        for machine in self.machines:
            machine.due_at = started + random.uniform(0, TTL)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while (now := time.monotonic()) < started + seconds:
                due = [machine for machine in self.machines if machine.due_at <= now]
                list(pool.map(self._act, due))
                time.sleep(0.05)

    def _act(self, machine: Machine) -> None:
        now = time.monotonic()
        if now < machine.ends_at and random.random() < OFTEN:
            status, answer = self._ask(f"/api/v1/peers/{machine.peer}/renew", {"ttl": TTL})
        elif now < machine.ends_at:
            machine.due_at = machine.ends_at + random.uniform(0.5, AWAY)
            return
        else:
            status, answer = self._ask("/api/v1/peers", {"public_key": machine.public_key, "ttl": TTL})
        if status not in (200, 201):
            self.wrong.append(f"machine {machine.number}: {status} {answer}")
            machine.due_at = now + 1
            return
        self._told(machine, answer)

    def _told(self, machine: Machine, answer: dict) -> None:
        machine.peer = answer["id"]
        ends = datetime.fromisoformat(answer["expires_at"])
        left = ends.timestamp() - time.time()
        machine.ends_at = time.monotonic() + left
        machine.due_at = machine.ends_at - random.uniform(5, 15)
        since = datetime.fromtimestamp(time.time(), ends.tzinfo)
        with self._lock:
            self.held.append(Held(answer["addresses"][0], machine.number, since, ends))

    def _ask(self, path: str, body: dict) -> tuple[int, dict]:
        self.asked += 1
        connection = HTTPConnection(self.where, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except OSError as error:
            return 0, {"error": str(error)}
        finally:
            connection.close()


def doubles(held: list[Held]) -> list[str]:
    """Return the addresses that two machines held at one moment."""
    found, last = [], {}
    for one in sorted(held, key=lambda one: (one.address, one.since)):
        before = last.get(one.address)
        if before and before.machine != one.machine and one.since < before.until:
            found.append(f"{one.address}: {before} and {one}")
        if before is None or before.machine != one.machine or one.until > before.until:
            last[one.address] = one
    return found
