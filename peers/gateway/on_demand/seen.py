"""The greatest timestamp of each key that this gateway has seen, and when. Pure: the time is an argument."""

REMEMBERED = 10_000  # keys; the database has them all


class Seen:
    """``timestamps`` by public key; the time of each is kept in seconds that no clock change moves."""

    def __init__(self) -> None:
        self.timestamps: dict[str, bytes] = {}
        self._at: dict[str, float] = {}

    def note(self, key: str, timestamp: bytes, at: float) -> None:
        self.timestamps.pop(key, None)
        self.timestamps[key], self._at[key] = timestamp, at
        if len(self.timestamps) > REMEMBERED:
            oldest = next(iter(self.timestamps))
            del self.timestamps[oldest], self._at[oldest]

    def age(self, key: str, at: float) -> float | None:
        """Return how long ago the key's last handshake was seen, in seconds; None: before this gateway's time."""
        return at - self._at[key] if key in self._at else None
