"""`manage.py seal_audit [--loop]`: put what the audit has gained under a seal."""

import logging
import signal
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import InterfaceError, OperationalError

from peers import seals

logger = logging.getLogger(__name__)

ENDS = {signal.SIGTERM, signal.SIGINT}
PAUSE = 10  # seconds
SEARCH_EVERY = 3600  # seconds, for a look through the whole audit


class Command(BaseCommand):
    help = "Seal the audit's new events into its chain of digests; with --loop go on doing so until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM or SIGINT")

    def handle(self, *_args: Any, loop: bool, **_options: Any) -> None:
        if not loop:
            self.stdout.write(f"{seals.seal_all()} events sealed.")
            return
        # Blocked, a signal stays pending until it is asked for: between two batches, never within one.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
        search_at = 0.0
        while True:
            complete = time.monotonic() >= search_at
            if _round(complete=complete) and complete:
                search_at = time.monotonic() + SEARCH_EVERY
            if signal.sigtimedwait(ENDS, PAUSE) is not None:
                return


def _must_stop() -> bool:
    return bool(signal.sigpending() & ENDS)


def _round(*, complete: bool) -> bool:
    """Seal what is new, ``complete`` from the audit's beginning on; return whether the database let us."""
    try:
        (seals.seal_all if complete else seals.seal_recent)(stopped=_must_stop)
    except (OperationalError, InterfaceError):
        logger.exception("database_away")
        return False
    return True
