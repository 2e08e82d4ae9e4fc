"""How much of what comes is looked at. Pure: the time, in seconds that only grow, is an argument."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

SOURCE_RATE, SOURCE_BURST = (
    20.0,
    200.0,
)  # initiations a second of one address: an office behind one has many devices
RATE, BURST = 1000.0, 2000.0  # of all: at 0.15 ms each a sixth of a core
SOURCES = 10_000  # remembered
REFUSED_FOR = 10.0  # seconds; WireGuard tries again every five
REFUSED_KEYS = 1000  # remembered


@dataclass(slots=True)
class Bucket:
    """A token bucket: ``rate`` a second, ``burst`` at once."""

    rate: float
    burst: float
    tokens: float
    at: float

    def take(self, at: float) -> bool:
        """Return whether there is a token, and take it."""
        self.tokens = min(self.burst, self.tokens + (at - self.at) * self.rate)
        self.at = at
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Limits:
    """A bucket for each source, and one for all: so one source takes nothing from the others."""

    def __init__(self) -> None:
        self._all = Bucket(RATE, BURST, BURST, 0.0)
        self._sources: OrderedDict[bytes, Bucket] = OrderedDict()

    def allow(self, source: bytes, at: float) -> bool:
        """Return whether an initiation of this address, 4 or 16 bytes, is looked at; an IPv6 source is its /64."""
        source = source[:8]
        bucket = self._sources.get(source)
        if bucket is None:
            bucket = self._sources[source] = Bucket(SOURCE_RATE, SOURCE_BURST, SOURCE_BURST, at)
            if len(self._sources) > SOURCES:
                self._sources.popitem(last=False)
        self._sources.move_to_end(source)
        return bucket.take(at) and self._all.take(at)


class Refused:
    """Who was refused a moment ago: asked again, the database would say the same."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, tuple[float, str | None]] = OrderedDict()

    def note(self, key: str, peer: str | None, at: float) -> None:
        """Remember a public key, with the id of its peer; None: nobody knows it."""
        self._until[key] = (at + REFUSED_FOR, peer)
        self._until.move_to_end(key)
        if len(self._until) > REFUSED_KEYS:
            self._until.popitem(last=False)

    def lately(self, key: str, at: float) -> bool:
        return at < self._until.get(key, (0.0, None))[0]

    def forget(self, peers: Collection[str] | None = None) -> None:
        """Drop what is remembered of some peers, and of keys that nobody knew; with None everything."""
        for key, (_, peer) in list(self._until.items()):
            if peers is None or peer is None or peer in peers:
                del self._until[key]
