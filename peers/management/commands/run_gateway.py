"""`manage.py run_gateway IFACE`: hold the interface until told to stop."""

import logging
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from peers.gateway.attachment import Stop
from peers.gateway.loop import Loop
from peers.gateway.start import reconciler

logger = logging.getLogger(__name__)

FLAGS = ("interface", "create", "no_interface", "publish_key", "take_over")


class Command(BaseCommand):
    help = "Keep a WireGuard interface equal to what the database says, until SIGTERM."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("interface", metavar="IFACE")
        parser.add_argument("--create", action="store_true", help="make the interface where it is missing")
        parser.add_argument(
            "--no-interface", action="store_true", help="touch nothing, log what would be done"
        )
        parser.add_argument(
            "--publish-key",
            action="store_true",
            help="with --no-interface: make and publish the key all the same",
        )
        parser.add_argument(
            "--take-over", action="store_true", help="remove the unknown peers of the first contact"
        )

    def handle(self, **options: Any) -> None:
        try:
            Loop(reconciler(**{name: options[name] for name in FLAGS})).run()
        except (Stop, ValueError) as error:
            raise CommandError(str(error)) from None
