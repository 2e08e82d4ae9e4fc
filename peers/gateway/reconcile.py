"""One pass: gather, decide, act, record. A boot, a repair and a single change are all this."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from django.db import connection, transaction

from peers.gateway import gather as database
from peers.gateway.attachment import Attachment, NoInterface
from peers.gateway.clock import Clock, monotonic
from peers.gateway.decide import Brake, Decision, decide, spoken
from peers.gateway.gather import Desired, Wanted
from peers.gateway.memory import Memory, Outcome
from peers.gateway.on_demand.presence import Presence
from peers.gateway.record import Record
from peers.gateway.status import Reading
from peers.models import Interface
from peers.wireguard import wg
from peers.wireguard.state import Changes, Observed, ObservedPeer, lines

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Reconciler:
    """The passes of one gateway over one interface; with NoInterface it only says what it would do."""

    def __init__(
        self, gateway: str, name: str, attachment: Attachment | NoInterface, *, take_over: bool = False
    ) -> None:
        self.gateway, self.name, self.attachment, self.take_over = gateway, name, attachment, take_over
        self.clock = Clock()
        self.memory = Memory()
        self.presence = Presence()

    def begin(self) -> None:
        """Read what was written before; call it after each connecting. Raise Interface.DoesNotExist."""
        self.interface = Interface.objects.get(name=self.name)
        self.record = Record.begun(self.gateway, self.interface, attached=self.attachment.live)

    def full_pass(self) -> Outcome:
        """Make the interface hold what the database wants and write down what it holds then."""
        self.interface.refresh_from_db()
        at = self._look_at_the_clock()
        observed = self._observe()
        desired = self.presence.desired(
            self.interface, observed, self.memory.wanted.keys() if self.attachment.live else set()
        )
        idle = self.presence.idle(self.interface, desired, at)
        desired = desired.without(idle)
        extra = observed.peers.keys() - desired.peers.keys()
        explained = database.explained(self.interface, extra)
        expected = self._first_contact(extra, at).union(explained, idle)
        decision = self._decide(desired, observed.peers, expected, at, on_interface=len(observed.peers))
        self._want(dict(desired.peers))
        known = self.record.statuses.on() | explained | idle | desired.ids | self._sound_again()
        self._carry_out(decision, desired, observed, known, explained, at, idle=idle)
        self.take_over = False
        if self.attachment.trouble:
            raise self.attachment.trouble
        return Outcome(decision, observed)

    def partial_pass(self, peers: Collection[str]) -> bool:
        """Do the same for ``peers`` alone, against what the last pass read back.

        Return whether one of them is barred and was not on: only a full pass says of such a peer that it is off.
        """
        at = self._look_at_the_clock()
        desired = database.gather(self.interface, peers=peers)
        known, may = database.keys_of(peers), set(desired.ids.values())
        if self.interface.on_demand:
            loaded = self._loaded()
            barred = {peer for key, peer in known.items() if key not in loaded} - may
            known = {key: peer for key, peer in known.items() if key in loaded}
            desired = desired.only(known)
        found = {key: self.memory.observed.peers[key] for key in known if key in self.memory.observed.peers}
        explained = database.explained(self.interface, found.keys() - desired.peers.keys())
        decision = self._decide(desired, found, explained, at, on_interface=None)
        self._want(_without(self.memory.wanted, known) | desired.peers)
        known = known | desired.ids
        self._carry_out(decision, desired, self.memory.observed, known, explained, at)
        return self.interface.on_demand and bool(barred)

    def put_on(self, desired: Desired, then: Callable[[], None]) -> None:
        """Put those of ``desired`` on that are not, and call ``then`` before anything is written down: somebody waits."""
        new = desired.without(self.memory.observed.peers)
        if not (new.peers or new.problems):
            return
        wanted = self.memory.wanted
        self._want(wanted | new.peers)
        decision = Decision(
            Changes(new.settings, {}, frozenset()), frozenset(), self.record.brake, whole=False
        )
        before, at = self.memory.observed, self.clock.now()
        try:
            self._carry_out(decision, new, before, new.ids, {}, at, then=then)
        except wg.WgError:
            self._want(wanted)  # or every pass would try what has just failed, and do nothing else
            raise

    def _sound_again(self) -> dict[str, str]:
        """Return those keys, with their peers, whose row was put aside and is sound: on demand nothing else looks at them."""
        put_aside = self.record.statuses.put_aside() if self.interface.on_demand else ()
        return database.gather(self.interface, peers=put_aside).ids if put_aside else {}

    def _loaded(self) -> set[str]:
        """Return the keys that are on, as last read or written down, or are to be put back."""
        on = self.memory.observed.peers.keys() | self.memory.wanted.keys()
        return on.union(self.record.statuses.on())

    def repair(self) -> None:
        """Put back what is missing or was changed, from memory, while the database is away; remove nothing."""
        if not self.memory.wanted:
            return
        observed = self._observe()
        settings = {key: wanted.settings for key, wanted in self.memory.wanted.items()}
        changes = decide(
            settings, observed.peers, left_alone=(), explained=(), brake=Brake(), released=False,
            on_interface=None, at=self.clock.now(),
        ).changes  # fmt: skip
        self.memory.observed = self._act(changes, observed)

    def expire(self) -> set[str]:
        """Take off the peers whose time is over, without asking the database; return them."""
        if not self.memory.deadline or not (due := self.memory.due(self.clock.now())):
            return set()
        self.memory.observed = self._act(Changes({}, {}, frozenset(due)), self.memory.observed, due.keys())
        self.memory.note_gone(due, self.clock.latest())
        self._want(_without(self.memory.wanted, due))
        for key in due:
            self.memory.applied.pop(key, None)
        logger.info("expired", extra={"interface": self.name, "peers": len(due)})
        return {wanted.peer for wanted in due.values()}

    def _want(self, peers: dict[str, Wanted]) -> None:
        self.memory.want(peers, self.clock.now())

    def preview(self) -> Outcome:
        """Return what a full pass would decide, and write nothing anywhere."""
        self.interface = Interface.objects.get(name=self.name)
        at = self._look_at_the_clock()
        observed = wg.show(self.name)
        desired = self.presence.desired(self.interface, observed, set())
        extra = observed.peers.keys() - desired.peers.keys()
        self.record = Record.unsaved(self.gateway, self.interface)
        if self.record.row.first_contact_at is None:
            self.record.row.left_alone = sorted(extra - database.known_keys(extra))
        explained = database.explained(self.interface, extra)
        decision = self._decide(desired, observed.peers, explained, at, on_interface=len(observed.peers))
        return Outcome(decision, observed)

    def _look_at_the_clock(self) -> datetime:
        asked_at = monotonic()
        with connection.cursor() as cursor:
            cursor.execute("SELECT now()")
            self.clock.set(cursor.fetchone()[0], asked_at)
        return self.clock.now()

    def _observe(self) -> Observed:
        return self.attachment.observe(self.interface)

    def _first_contact(self, extra: AbstractSet[str], at: datetime) -> set[str]:
        """Leave alone what stood there before us; return the keys that the operator has us take over."""
        if self.attachment.live and self.record.row.first_contact_at is None:
            self.record.first_contact(extra - database.known_keys(extra), at)
        taken = set(self.record.row.left_alone) if self.take_over else set()
        self.record.row.left_alone = [key for key in self.record.row.left_alone if key not in taken]
        return taken

    def _decide(
        self,
        desired: Desired,
        observed: Mapping[str, ObservedPeer],
        explained: Collection[str],
        at: datetime,
        *,
        on_interface: int | None,
    ) -> Decision:
        brake, released = spoken(self.record.brake, self.interface.brake_released_at)
        return decide(
            desired.settings, observed, left_alone=set(self.record.row.left_alone), explained=explained,
            brake=brake, released=released, on_interface=on_interface, at=at,
        )  # fmt: skip

    def _carry_out(
        self,
        decision: Decision,
        desired: Desired,
        before: Observed,
        known: Mapping[str, str],
        explained: Mapping[str, str],
        at: datetime,
        *,
        idle: Collection[str] = (),
        then: Callable[[], None] | None = None,
    ) -> None:
        drift = self._drift(decision.changes, {*explained, *idle})
        after = self._act(decision.changes, before, None if decision.whole else known.keys(), then)
        read_at = self.clock.latest()
        self.memory.observed = after
        self._remember_applied(decision.changes, desired)
        if not self.attachment.live:
            known = {}  # what was never read back is not written down, not even as absent
        ended = self.memory.ended
        removed = decision.changes.remove.difference(after.peers)
        gone = {key: peer for key, peer in explained.items() if key in removed}
        gone |= {key: known[key] for key, end in ended.items() if end.gone_at and key in known}
        with transaction.atomic():
            news = self.record.statuses.read(
                known, after.peers, held=decision.held, problems=desired.problems, ended=ended, at=read_at
            )
            self.record.write(
                news,
                removed=self._owed(news, gone),
                drift=drift,
                decision=decision,
                ended=ended,
                at=at,
                read_at=read_at,
            )
        written = ended if decision.whole else known
        self.memory.ended = {key: end for key, end in ended.items() if key not in written}

    def _owed(self, news: Mapping[str, Reading], gone: Mapping[str, str]) -> dict[str, str]:
        """Return who is owed a receipt: what went before a crash has no other witness, and who is only idle is owed none."""
        went = {**self.record.statuses.gone(news), **gone}
        if not self.interface.on_demand:
            return went
        ended = {*gone, *self.memory.ended, *database.explained(self.interface, went)}
        return {key: peer for key, peer in went.items() if key in ended}

    def _act(
        self,
        changes: Changes,
        observed: Observed,
        only: AbstractSet[str] | None = None,
        then: Callable[[], None] | None = None,
    ) -> Observed:
        """Make the changes and return what the interface holds then; with ``only``, of the others what was ``observed``."""
        if not changes:
            return observed
        if not self.attachment.live:
            self._say(changes, observed)
            return observed
        wg.remove(self.name, changes.remove)
        wg.add(self.name, {**changes.add, **changes.update})
        if then:
            then()
        logger.info(
            "changed", extra={"interface": self.name, "added": len(changes.add), "updated": len(changes.update),
                              "removed": len(changes.remove)},
        )  # fmt: skip
        found = wg.show(self.name, only)
        return (
            found
            if only is None
            else replace(found, peers=_without(observed.peers, only) | dict(found.peers))
        )

    def _say(self, changes: Changes, observed: Observed) -> None:
        would = tuple(lines(changes, observed.peers))
        if would != self.memory.shown:
            self.memory.shown = would
            logger.info("would_change", extra={"interface": self.name, "lines": would})

    def _drift(self, changes: Changes, explained: Collection[str]) -> dict[str, set[str]]:
        """Return the changes that nobody made here: what this process had put on and read back, and what is rogue."""
        ours = self.memory.applied
        found = {
            "added": {key for key, settings in changes.add.items() if ours.get(key) == settings},
            "corrected": {key for key, settings in changes.update.items() if ours.get(key) == settings},
            "removed": set(changes.remove.difference(explained)),
        }
        return {kind: keys for kind, keys in found.items() if keys} if self.attachment.live else {}

    def _remember_applied(self, changes: Changes, desired: Desired) -> None:
        for key in changes.remove:
            self.memory.applied.pop(key, None)
        present = self.memory.observed.peers
        self.memory.applied.update({key: w.settings for key, w in desired.peers.items() if key in present})


def _without(values: Mapping[str, T], keys: Iterable[str]) -> dict[str, T]:
    """Return the values but for some; what is taken out is little, and the rest may be much."""
    rest = dict(values)
    for key in keys:
        rest.pop(key, None)
    return rest
