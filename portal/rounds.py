"""Do something again and again in a process of its own, until SIGTERM or SIGINT; the database may be away meanwhile."""

import logging
import signal
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)

ENDS = {signal.SIGTERM, signal.SIGINT}
PAUSE_AFTER_FAILURE = 10  # seconds


def go_round(work: Callable[[], object], *, pause: int) -> None:
    """Do ``work`` every ``pause`` seconds until a signal asks to end; within it, ``must_stop`` says whether one did."""
    # Blocked, a signal stays pending until it is asked for: between two steps of the work, never within one.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    while signal.sigtimedwait(ENDS, _round(work, pause)) is None:
        pass


def must_stop() -> bool:
    return bool(signal.sigpending() & ENDS)


def _round(work: Callable[[], object], pause: int) -> int:
    """Do the work, and return for how many seconds to wait then; what it fails of is on record, and it is tried again."""
    try:
        work()
    except (OperationalError, InterfaceError):
        logger.exception("database_away")
    except Exception:
        logger.exception("round_failed")
    else:
        return pause
    connection.close()
    return max(pause, PAUSE_AFTER_FAILURE)
