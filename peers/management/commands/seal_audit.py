"""`manage.py seal_audit [--loop]`: put what the audit has gained under a seal."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from peers import seals
from portal.rounds import go_round, must_stop

PAUSE = 10  # seconds
SEARCH_EVERY = 3600  # seconds, for a look through the whole audit


class Command(BaseCommand):
    help = "Seal the audit's new events into its chain of digests; with --loop go on doing so until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM or SIGINT")

    def handle(self, *_args: Any, loop: bool, **_options: Any) -> None:
        if loop:
            go_round(Sealer().seal, pause=PAUSE)
        else:
            self.stdout.write(f"{seals.seal_all()} events sealed.")


class Sealer:
    """What is done every round; it knows when to look through the whole audit again."""

    def __init__(self) -> None:
        self._search_at = 0.0  # by the monotonic clock

    def seal(self) -> None:
        """Seal what is new, once an hour from the audit's beginning on; a search that failed is made again."""
        if time.monotonic() < self._search_at:
            seals.seal_recent(stopped=must_stop)
        else:
            seals.seal_all(stopped=must_stop)
            self._search_at = time.monotonic() + SEARCH_EVERY
