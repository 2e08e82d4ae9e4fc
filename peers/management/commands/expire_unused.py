"""`manage.py expire_unused [--loop]`: end the machines that nobody uses."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from peers import services
from peers.states import database_now
from portal.rounds import go_round

PAUSE = 30  # seconds


class Command(BaseCommand):
    help = "End the machines that nobody uses; with --loop go on doing so until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM or SIGINT")

    def handle(self, *_args: Any, loop: bool, **_options: Any) -> None:
        if loop:
            go_round(_expire, pause=PAUSE)
        else:
            self.stdout.write(f"{_expire()} machines were ended.")


def _expire() -> int:
    return services.expire_unused(actor=services.Actor(), at=database_now())
