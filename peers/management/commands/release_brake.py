"""`manage.py release_brake IFACE`: let the gateway carry out the removals that its brake holds."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Sum

from peers import services
from peers.models import GatewayStatus, Interface


class Command(BaseCommand):
    help = "Let go of the unexplained removals that the brake holds, and count afresh."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("interface", metavar="IFACE")

    def handle(self, *, interface: str, **_: Any) -> None:
        found = Interface.objects.filter(name=interface).first()
        if found is None:
            raise CommandError(f"there is no interface {interface}")
        held = GatewayStatus.objects.filter(interface=found).aggregate(held=Sum("held"))["held"] or 0
        services.release_brake(actor=services.Actor(), interface=found)
        self.stdout.write(f"Released: {held} removals were held.")
