"""`manage.py send_mail [--loop]`: deliver the letters that wait."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from portal import mail
from portal.rounds import go_round, must_stop

PAUSE = 2  # seconds


class Command(BaseCommand):
    help = "Deliver the letters that are due; with --loop go on doing so until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM or SIGINT")

    def handle(self, *_args: Any, loop: bool, **_options: Any) -> None:
        if loop:
            go_round(lambda: mail.deliver(timezone.now(), stopped=must_stop), pause=PAUSE)
        else:
            mail.deliver(timezone.now())
