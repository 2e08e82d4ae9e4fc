"""What a gateway keeps between its passes, and what one pass came to."""

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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass decided, and what it found before."""

    decision: Decision
    before: Observed

    def lines(self) -> tuple[str, ...]:
        """Return the changes as ``+ KEY ADDRESSES``, ``- KEY``, ``~ KEY FIELD``."""
        return tuple(lines(self.decision.changes, self.before.peers))
