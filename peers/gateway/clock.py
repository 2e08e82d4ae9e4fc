"""The database's time, also while the database is away."""

import time
from datetime import datetime, timedelta


def monotonic() -> float:
    """Return seconds that no clock change moves and that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """What the database's ``now()`` must be by now: its last answer and the monotonic time since."""

    def __init__(self) -> None:
        self._set_to: datetime | None = None
        self._set_at = self._asked_at = 0.0

    def set(self, now: datetime, asked_at: float) -> None:
        """Take over ``now``, which was asked for when ``monotonic`` said ``asked_at``."""
        self._set_to, self._set_at, self._asked_at = now, monotonic(), asked_at

    def now(self) -> datetime:
        """Return the time; call ``set`` first."""
        if self._set_to is None:
            raise RuntimeError("the clock was never set")
        return self._set_to + timedelta(seconds=monotonic() - self._set_at)

    def latest(self) -> datetime:
        """Return the latest that the time can be, for what must not be told too early: the answer took a while to come."""
        return self.now() + timedelta(seconds=self._set_at - self._asked_at)

    def seconds_until(self, at: datetime) -> float:
        return max(0.0, (at - self.now()).total_seconds())
