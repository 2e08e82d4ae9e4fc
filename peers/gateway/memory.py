"""What a gateway keeps between its passes, and what one pass came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from peers.gateway.attachment import NOTHING
from peers.gateway.decide import Decision
from peers.gateway.gather import Wanted
from peers.gateway.status import Ended
from peers.wireguard.state import Observed, PeerSettings, lines


@dataclass(slots=True)
class Memory:
    """What stays between passes: deadlines are kept and drift is repaired while the database is away, too.

    ``deadline`` is the first of what is ``wanted``; ``ended`` are the keys whose time was over, until that is written down.
    """

    wanted: dict[str, Wanted] = field(default_factory=dict)
    deadline: datetime | None = None
    ended: dict[str, Ended] = field(default_factory=dict)
    applied: dict[str, PeerSettings] = field(default_factory=dict)
    observed: Observed = NOTHING
    shown: tuple[str, ...] = ()

    def want(self, peers: dict[str, Wanted], at: datetime) -> None:
        """Want these from now on, and note whose time was over by ``at`` of those that are wanted no more."""
        over = {
            key: Ended(until)
            for key in self.wanted.keys() - peers.keys()
            if (until := self.wanted[key].until) and until <= at
        }
        self.ended = over | self.ended
        self.wanted = peers
        self.deadline = min((wanted.until for wanted in peers.values() if wanted.until), default=None)

    def due(self, at: datetime) -> dict[str, Wanted]:
        """Return the wanted whose time is over; nearly always none, which costs nothing: it is asked at every packet."""
        if self.deadline is None or at < self.deadline:
            return {}
        return {key: wanted for key, wanted in self.wanted.items() if wanted.until and wanted.until <= at}

    def note_gone(self, due: Mapping[str, Wanted], at: datetime) -> None:
        """Note those of ``due`` that were read back as gone by ``at``: the database may be away for long."""
        gone = due.keys() - self.observed.peers
        self.ended |= {key: Ended(until, at) for key in gone if (until := due[key].until)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass decided, and what it found before."""

    decision: Decision
    before: Observed

    def lines(self) -> tuple[str, ...]:
        """Return the changes as ``+ KEY ADDRESSES``, ``- KEY``, ``~ KEY FIELD``."""
        return tuple(lines(self.decision.changes, self.before.peers))
