"""When each peer on the interface was last heard. Pure: the time, in seconds that only grow, is an argument.

That a peer is heard shows in what the interface counts, never in a clock: a tunnel in use is not cut when somebody sets one.
What only goes towards a device proves nothing, for it may have been switched off: who receives answers at least every ten
seconds (WireGuard's passive keepalive), and that is counted.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from peers.wireguard.state import ObservedPeer

EVERY = 60.0  # seconds from one taking off to the next
LEAST = 185.0  # seconds after which a client's session is dead, whoever forgot it first

Mark = tuple[datetime | None, int]


class Activity:
    """What was last read of each peer, and since when it is so; of a gateway that starts, from the start on."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[Mark, float]] = {}
        self._taken_off_at = 0.0

    def note(self, peers: Mapping[str, ObservedPeer], at: float) -> None:
        """Take over what was read back at ``at`` of all that are on the interface."""
        self._heard = {key: self._since(key, _mark(peer), at) for key, peer in peers.items()}

    def _since(self, key: str, mark: Mark, at: float) -> tuple[Mark, float]:
        before = self._heard.get(key)
        return before if before and before[0] == mark else (mark, at)

    def idle(self, at: float, minutes: int) -> set[str]:
        """Return the keys unheard for so many minutes; none where the last such batch is not yet a minute ago."""
        if at - self._taken_off_at < EVERY:
            return set()
        self._taken_off_at = at
        before = at - max(LEAST, minutes * 60)
        return {key for key, (_, since) in self._heard.items() if since <= before}

    def still(self, keys: Collection[str], peers: Mapping[str, ObservedPeer]) -> set[str]:
        """Return those of ``keys`` that by a second look at ``peers`` have not been heard meanwhile."""
        return {key for key in keys if key in peers and self._heard[key][0] == _mark(peers[key])}

    def forget(self) -> None:
        self._heard.clear()


def _mark(peer: ObservedPeer) -> Mark:
    return peer.latest_handshake, peer.rx_bytes
