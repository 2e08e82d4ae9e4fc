"""`manage.py change_interface IFACE …`: change when an interface holds its peers."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from peers import services
from peers.management import words
from peers.models import Interface

SETTINGS = ("mode", "idle_minutes")


class Command(BaseCommand):
    help = "Change when an interface holds its peers; what is not said stays as it is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("interface", metavar="IFACE")
        parser.add_argument(
            "--mode", choices=Interface.Mode.values, help="on_demand: a peer is put on at its first handshake"
        )
        parser.add_argument(
            "--idle-minutes", type=int, help="on demand: minutes without a packet, and it is taken off"
        )

    def handle(self, *, interface: str, **options: Any) -> None:
        changed = words.interface(interface)
        for name in SETTINGS:
            if options[name] is not None:
                setattr(changed, name, options[name])
        try:
            changed.full_clean()
        except ValidationError as error:
            raise CommandError("\n".join(words.sentences(error))) from None
        services.save_interface(actor=services.Actor(), interface=changed)
        self.stdout.write(f"{changed} is in mode {changed.mode}, idle minutes {changed.idle_minutes}.")
