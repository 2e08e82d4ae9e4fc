"""The gateway's process: wait for a reason to look, look, and keep deadlines whatever else is away."""

import gc
import logging
import math
import select
import signal
import socket
import time
from contextlib import suppress
from typing import Any
from uuid import UUID

from peers.gateway.attachment import Stop
from peers.gateway.clock import monotonic
from peers.gateway.connection import AWAY, Connection
from peers.gateway.gather import forget
from peers.gateway.links import Links
from peers.gateway.memory import Memory, Outcome
from peers.gateway.on_demand.admission import Admission
from peers.gateway.on_demand.capture import CaptureError
from peers.gateway.reconcile import Reconciler
from peers.models import Interface, Peer
from peers.wireguard.link import LinkError
from peers.wireguard.wg import WgError

logger = logging.getLogger(__name__)

FULL_PASS_EVERY = (1.0, 4.0)  # seconds: the more a pass costs, the longer the pause
SHARE = 0.02  # of one core, for passes with nothing to do
HEARTBEAT_EVERY = 5.0
FORGET_EVERY = 1000  # full passes: memory stays in proportion to the peers there are
RETRY_AFTER = (0.2, 3.0)
SOON = 0.25  # seconds
HOLDERS = {
    "owner": "owner",
    "account": "service_account",
}  # the column of the rows that a notification is about
PAUSE = 0.003  # seconds after a pass over a few, in which more may come together; a quarter of what it took, at least
MANY = 200  # peers; beyond that one full pass costs less


class Loop:
    """Runs passes until it is told to stop; one thread, one connection, no listening socket."""

    def __init__(self, reconciler: Reconciler) -> None:
        self.reconciler = reconciler
        self.connection = Connection(reconciler.gateway, reconciler.name, self._until_deadline)
        self.links = Links()
        self.admission = Admission(reconciler)
        self.stopping = False
        self._connected = self._well = False
        self._passes_made = 0
        self._expire_at = 0.0  # not before: only after a failure is it later than the deadline itself
        self._scope: set[str] = set()
        self._soonest = 0.0  # for a full pass that somebody waits for
        self._scope_at = 0.0  # not before: what comes in meanwhile is looked at together
        self._full_pass_at = self._heartbeat_at = self._retry_at = 0.0
        self._retry_after = RETRY_AFTER[0]
        self._wakeup, signalled = socket.socketpair()
        for end in (self._wakeup, signalled):
            end.setblocking(False)
        self._signalled = signalled

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, which end it between two steps; raise Stop when it must not go on."""
        signal.set_wakeup_fd(self._signalled.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self.stopping:
                self.step()
                self._wait()
        finally:
            self.close()

    def step(self) -> None:
        """Do all that is due now."""
        self._hear_links()
        try:
            self._expire()
            if self._connected or self._connect():
                self._hear()
                self._let_in()
                self._passes()
            else:
                self._without_database()
            self._expire()
        except AWAY as error:
            self._lost(error)
        except (WgError, LinkError, CaptureError) as error:
            self._failed(error)
        except Interface.DoesNotExist:
            self._lost("this database knows no such interface")
        except Stop:
            raise
        except Exception:
            logger.exception("step_failed", extra={"interface": self.reconciler.name})
            self._lost("an unexpected error")

    def _expire(self) -> None:
        if monotonic() >= self._expire_at:
            self._scope |= self.reconciler.expire()

    def _let_in(self) -> None:
        """Let in who asks; that one of them cannot be put on must keep nobody else waiting, and no deadline."""
        try:
            self.admission.let_in()
        except (WgError, LinkError) as error:
            logger.warning("not_let_in", extra={"interface": self.reconciler.name, "error": str(error)})
            self._full_pass_at = min(self._full_pass_at, monotonic() + FULL_PASS_EVERY[0])

    def _without_database(self) -> None:
        self.admission.refuse()
        if monotonic() >= self._full_pass_at:
            self._full_pass_at = monotonic() + FULL_PASS_EVERY[0]
            self.reconciler.repair()

    def close(self) -> None:
        self.admission.shut()
        self.connection.close()
        self.links.close()
        self.reconciler.attachment.close()

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _connect(self) -> bool:
        if monotonic() < self._retry_at:
            return False
        if not self.connection.open():
            logger.warning("waiting_for_the_lock", extra={"interface": self.reconciler.name})
            self.reconciler.memory = Memory()  # another one holds the interface now: ours is not to repair
            self._back_off()
            return False
        self.reconciler.begin()
        self.admission.forget()  # nobody told us what changed meanwhile
        self._connected, self._retry_after, self._full_pass_at = True, RETRY_AFTER[0], 0.0
        logger.info(
            "connected", extra={"interface": self.reconciler.name, "gateway": self.reconciler.gateway}
        )
        return True

    def _hear(self) -> None:
        if payloads := self.connection.heard():
            for payload in payloads:
                self._note(payload)
            self.admission.forget(self._scope)

    def _hear_links(self) -> None:
        if self.links.changed(self.reconciler.name):
            self.reconciler.attachment.look_again()
            self._full_pass_at = 0.0

    def _note(self, payload: str) -> None:
        """Note what to look at again; anyone who can connect may send a payload, so none is believed."""
        kind, _, value = payload.partition(":")
        if kind == "interface":
            self._full_pass_at = 0.0
            self.admission.forget()
        elif kind in HOLDERS and value.isdecimal() and len(value) < 19:
            mine = Peer.objects.filter(interface=self.reconciler.interface, **{HOLDERS[kind]: int(value)})
            self._scope.update(map(str, mine.values_list("pk", flat=True)))
        elif kind == "peer":
            try:
                self._scope.add(str(UUID(value)))
            except ValueError:
                logger.warning("notification_ignored")

    def _passes(self) -> None:
        if monotonic() >= self._full_pass_at or len(self._scope) > MANY:
            self._scope.clear()
            self._full_pass()
        elif self._scope and monotonic() >= self._scope_at:
            self._partial_pass()
        if self._well and monotonic() >= self._heartbeat_at:
            self.reconciler.record.heartbeat(self.admission.take_counts(), flood=self.admission.flood)
            self._heartbeat_at = monotonic() + HEARTBEAT_EVERY
        if self._well:
            self.reconciler.record.sample(self.reconciler.clock.now())

    def _full_pass(self) -> None:
        started, used = monotonic(), time.process_time()
        was_well, self._well = self._well, False
        self._passes_made += 1
        if self._passes_made % FORGET_EVERY == 0:
            forget()
        outcome = self._passed()
        self._well = True
        if not was_well:
            gc.freeze()  # what a full pass leaves behind stays: the collector need not walk it again
        took = monotonic() - started
        least, most = FULL_PASS_EVERY
        self._full_pass_at = monotonic() + min(most, max(least, took / SHARE))
        self._soonest = monotonic() + max(SOON, took * 4)
        changes, cpu = bool(outcome.decision.changes), time.process_time() - used
        logger.debug("pass", extra={"changes": changes, "seconds": took, "cpu_seconds": cpu})

    def _passed(self) -> Outcome:
        """Make a full pass, and attend to who may come; also where the interface is not set up as wanted."""
        try:
            outcome = self.reconciler.full_pass()
        except (WgError, LinkError) as error:
            if error is self.reconciler.attachment.trouble:
                self.admission.attend()
            raise
        self.admission.attend()
        return outcome

    def _partial_pass(self) -> None:
        scope, self._scope = self._scope, set()
        started = monotonic()
        if self.reconciler.partial_pass(
            scope
        ):  # somebody may wait to be told so, and that takes a whole pass
            self._full_pass_at = self._heartbeat_at = min(self._full_pass_at, max(started, self._soonest))
        self._scope_at = monotonic() + max(PAUSE, (monotonic() - started) / 4)

    def _lost(self, error: object) -> None:
        logger.warning(
            "database_away", extra={"interface": self.reconciler.name, "error": str(error).strip()}
        )
        self._connected = False
        self.connection.close()
        self._back_off()

    def _failed(self, error: Exception) -> None:
        logger.error("pass_failed", extra={"interface": self.reconciler.name, "error": str(error)})
        self._well = False
        self._full_pass_at = self._expire_at = monotonic() + FULL_PASS_EVERY[0]
        self.reconciler.attachment.look_again()
        if self._connected:
            self._tell(str(error))

    def _tell(self, problem: str) -> None:
        try:
            self.reconciler.record.trouble(problem)
        except AWAY as error:
            self._lost(error)

    def _back_off(self) -> None:
        self._retry_at = monotonic() + self._retry_after
        self._retry_after = min(RETRY_AFTER[1], self._retry_after * 2)

    def _wait(self) -> None:
        """Sleep until a notification, an interface event, a signal, or the next thing that is due."""
        try:
            if self._connected:
                self._hear()  # what came in with the answer to a query makes nothing readable
            listens = self._connected and not self._scope  # with a pass to come, more of them can wait for it
            watched: list[Any] = [self._wakeup, self.links, *([self.connection] if listens else [])]
            watched += self.admission.sockets()
            select.select(watched, [], [], self._seconds())
        except AWAY as error:
            self._lost(error)
        with suppress(BlockingIOError):
            self._wakeup.recv(64)

    def _seconds(self) -> float:
        due = [self._full_pass_at, self._heartbeat_at if self._well else self._full_pass_at]
        if not self._connected:
            due = [self._full_pass_at, self._retry_at]
        elif self._scope:
            due.append(self._scope_at)
        due += self.admission.due()
        return min(max(0.0, min(due) - monotonic()), self._until_deadline())

    def _until_deadline(self) -> float:
        deadline = self.reconciler.memory.deadline
        until = self.reconciler.clock.seconds_until(deadline) if deadline else math.inf
        return max(until, self._expire_at - monotonic())
