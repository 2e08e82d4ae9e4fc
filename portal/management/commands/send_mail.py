"""`manage.py send_mail [--loop]`: deliver the letters that wait."""

import logging
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from portal import mail

logger = logging.getLogger(__name__)

ENDS = {signal.SIGTERM, signal.SIGINT}
PAUSE = 2  # seconds
PAUSE_WITHOUT_DATABASE = 10


class Command(BaseCommand):
    help = "Deliver the letters that are due; with --loop go on doing so until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM or SIGINT")

    def handle(self, *_args: Any, loop: bool, **_options: Any) -> None:
        if not loop:
            mail.deliver(timezone.now())
            return
        # Blocked, a signal stays pending until it is asked for: between two letters, never within one.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
        while signal.sigtimedwait(ENDS, _round()) is None:
            pass


def _must_stop() -> bool:
    return bool(signal.sigpending() & ENDS)


def _round() -> int:
    """Deliver what is due, and return for how many seconds to wait then."""
    try:
        mail.deliver(timezone.now(), stopped=_must_stop)
    except (OperationalError, InterfaceError):
        logger.exception("database_away")
        return PAUSE_WITHOUT_DATABASE
    return PAUSE
