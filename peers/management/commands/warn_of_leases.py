"""`manage.py warn_of_leases [--loop]`: write to the people whose sign-in ends soon."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from peers import services
from portal.rounds import go_round, must_stop

PAUSE = 60  # seconds


class Command(BaseCommand):
    help = "Write to each person whose sign-in ends soon; with --loop go on doing so until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM or SIGINT")

    def handle(self, *_args: Any, loop: bool, **_options: Any) -> None:
        if loop:
            go_round(lambda: _warn(stopped=must_stop), pause=PAUSE)
        else:
            self.stdout.write(f"{_warn()} people were written to.")


def _warn(**options: Any) -> int:
    return services.warn_of_leases(actor=services.Actor(), at=timezone.now(), **options)
