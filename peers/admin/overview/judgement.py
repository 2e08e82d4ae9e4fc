"""Judge what gateways and interfaces report: what is well, and what an administrator has to see first. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext

from peers.models import GatewayStatus, Interface

NEARLY_FULL = 0.9
ENDLESS = 1 << 32  # numbers; an IPv6 pool alone has more than anyone can give


class Heard(StrEnum):
    FRESH = "fresh"
    SILENT = "silent"
    UNATTACHED = "unattached"


@dataclass(frozen=True, slots=True)
class GatewayLine:
    """A gateway on one interface; ``left_alone`` counts the unknown peers of the first contact.

    ``released`` says that an operator has released what it holds, and that it has not acted on that yet.
    """

    row: GatewayStatus
    heard: Heard
    heartbeat: str
    left_alone: int
    released: bool

    @property
    def on_demand(self) -> bool:
        """Whether it looks at the handshakes that come to its interface."""
        return self.row.interface.on_demand

    @property
    def flooded(self) -> bool:
        """Whether it says that a flood of them comes that lead to nothing."""
        return self.on_demand and self.heard == Heard.FRESH and self.row.flood_at is not None


@dataclass(frozen=True, slots=True)
class Counts:
    """What an interface's peers add up to: host numbers not free, peers entitled, read back as on it, and connected."""

    used: int = 0
    entitled: int = 0
    on: int = 0
    connected: int = 0


@dataclass(frozen=True, slots=True)
class InterfaceLine:
    """An interface with its counts. ``heard`` says whether a gateway reports now what is on it; None: none ever has."""

    row: Interface
    counts: Counts
    heard: bool | None

    @property
    def size(self) -> int:
        """How many numbers peers can have: all but the interface's own."""
        return max(0, self.row.last_host - (1 if self.row.host <= self.row.last_host else 0))

    @property
    def endless(self) -> bool:
        return self.size >= ENDLESS

    @property
    def share(self) -> int:
        """The pool's use in whole per cent, rounded up so that nothing used is nothing shown."""
        return min(100, -(-100 * self.counts.used // self.size)) if self.size else 100

    @property
    def nearly_full(self) -> bool:
        return self.counts.used >= self.size * NEARLY_FULL


def judged(row: GatewayStatus, left_alone: int, at: datetime) -> GatewayLine:
    """Return what ``row`` says at ``at``, the database's time, as heartbeats are."""
    word = row.interface.brake_released_at
    return GatewayLine(
        row=row,
        heard=_heard(row, at),
        heartbeat=ago(row.heartbeat_at, at),
        left_alone=left_alone,
        released=bool(row.held and word and (row.released_at is None or word > row.released_at)),
    )


@dataclass(frozen=True, slots=True)
class Access:
    """Of how many people the loss of access is held, and about how many no provider could be asked for too long.

    ``unanswered`` are pairs of a provider's name and the count, the name empty where there is but one provider.
    """

    held: int = 0
    unanswered: tuple[tuple[str, int], ...] = ()


def troubles(
    gateways: Sequence[GatewayLine], interfaces: Sequence[InterfaceLine], aside: int, access: Access
) -> list[str]:
    """Return what is wrong, the worst first, each in a few words; ``aside`` counts the rows put aside."""
    silent = sum(line.heard == Heard.SILENT for line in gateways)
    held = sum(line.row.held for line in gateways)
    failing = sum(bool(line.row.problem) and line.heard != Heard.SILENT for line in gateways)
    flooded = sum(line.flooded for line in gateways)
    unserved = sum(line.heard is None for line in interfaces)
    full = sum(line.nearly_full for line in interfaces)
    first = [
        (silent, ngettext("%d gateway silent", "%d gateways silent", silent)),
        (held, ngettext("%d removal held", "%d removals held", held)),
        (access.held, ngettext("access of %d person held", "access of %d people held", access.held)),
    ]
    then = [
        (failing, ngettext("%d gateway in trouble", "%d gateways in trouble", failing)),
        (flooded, ngettext("%d gateway flooded", "%d gateways flooded", flooded)),
        (unserved, ngettext("%d interface without a gateway", "%d interfaces without a gateway", unserved)),
        (aside, ngettext("%d device put aside", "%d devices put aside", aside)),
        (full, ngettext("%d pool nearly full", "%d pools nearly full", full)),
    ]
    return [*_said(first), *map(_no_answer, access.unanswered), *_said(then)]


def _said(counted: Iterable[tuple[int, str]]) -> list[str]:
    return [words % count for count, words in counted if count]


def _no_answer(counted: tuple[str, int]) -> str:
    provider, count = counted
    if not provider:
        return ngettext("no answer about %d person", "no answer about %d people", count) % count
    words = ngettext(
        "no answer from %(provider)s about %(count)d person",
        "no answer from %(provider)s about %(count)d people",
        count,
    )
    return words % {"provider": provider, "count": count}


def ago(then: datetime, at: datetime) -> str:
    """Return how long before ``at`` something was, in words."""
    if at - then < timedelta(minutes=1):
        seconds = max(0, int((at - then).total_seconds()))
        return ngettext("%d second ago", "%d seconds ago", seconds) % seconds
    return gettext("%s ago") % timesince(then, at)


def _heard(row: GatewayStatus, at: datetime) -> Heard:
    if row.is_silent(at):
        return Heard.SILENT
    return Heard.FRESH if row.attached else Heard.UNATTACHED
