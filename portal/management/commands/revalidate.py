"""`manage.py revalidate [--loop]`: ask the identity providers whether people's access lasts."""

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from portal.access.revalidation import revalidate
from portal.rounds import go_round, must_stop

PAUSE = 5  # seconds
ENDS = ("fine", "gone", "held", "cannot_tell", "outdated", "released")


class Command(BaseCommand):
    help = "Ask the identity providers about everyone who is due; with --loop go on doing so until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM or SIGINT")

    def handle(self, *_args: Any, loop: bool, **_options: Any) -> None:
        if loop:
            go_round(lambda: revalidate(timezone.now(), stopped=must_stop), pause=PAUSE)
        else:
            self.stdout.write(_words(revalidate(timezone.now())))


def _words(outcomes: Counter[str]) -> str:
    """Return such as "fine 41, gone 1, held 0, cannot_tell 0, outdated 0, released 0"."""
    return ", ".join(f"{end} {outcomes[end]}" for end in ENDS)
