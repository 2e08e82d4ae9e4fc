"""How much of what comes is looked at. Pure: the time, in seconds that only grow, is an argument."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from peers.wireguard import nft

SOURCE_RATE = float(nft.RATE)  # initiations a second of one address
SOURCE_BURST = 200.0  # at once: an office behind one address has many devices
SHARE = 0.1  # of a core, for reading what strangers send: each takes 0.15 to 0.3 ms
AT_ONCE = 0.5  # seconds of it
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

    def take(self, at: float, tokens: float = 1.0) -> bool:
        """Return whether there are so many tokens, and take them."""
        self.tokens = min(self.burst, self.tokens + (at - self.at) * self.rate)
        self.at = at
        if self.tokens < tokens:
            return False
        self.tokens -= tokens
        return True


class Limits:
    """A bucket for each source, so that one takes nothing from the others, and one of processor time for all strangers.

    Who has once sent a handshake that was somebody's is no stranger: a flood from everywhere does not keep them away.
    """

    def __init__(self) -> None:
        self._all = Bucket(SHARE, AT_ONCE, AT_ONCE, 0.0)
        self._sources: OrderedDict[bytes, Bucket] = OrderedDict()
        self._trusted: OrderedDict[bytes, Bucket] = OrderedDict()

    def allow(self, source: bytes, at: float) -> bool:
        """Return whether an initiation of this address, 4 or 16 bytes, is looked at; an IPv6 source is its /64."""
        source = source[:8]
        if (bucket := self._trusted.get(source)) is not None:
            return bucket.take(at)
        bucket = self._sources.get(source) or Bucket(SOURCE_RATE, SOURCE_BURST, SOURCE_BURST, at)
        _remember(self._sources, source, bucket)
        return bucket.take(at) and self._all.take(at, 0.0)

    def trust(self, source: bytes) -> None:
        """Note that a handshake came from this address that was somebody's."""
        if (bucket := self._sources.pop(source[:8], None)) or (bucket := self._trusted.get(source[:8])):
            _remember(self._trusted, source[:8], bucket)

    def spend(self, source: bytes, seconds: float) -> None:
        """Take what it took to read one of this address; after the last of it no stranger's is looked at until there is more."""
        if source[:8] not in self._trusted:
            self._all.tokens = max(-AT_ONCE, self._all.tokens - seconds)


def _remember(buckets: OrderedDict[bytes, Bucket], source: bytes, bucket: Bucket) -> None:
    buckets[source] = bucket
    buckets.move_to_end(source)
    if len(buckets) > SOURCES:
        buckets.popitem(last=False)


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
