"""`manage.py reconcile IFACE [--dry-run]`: one pass, told line by line."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from peers.gateway.attachment import Stop
from peers.gateway.connection import AWAY, Connection
from peers.gateway.start import reconciler
from peers.models import Interface
from peers.wireguard.link import LinkError
from peers.wireguard.wg import WgError

DIFFERENT = 2


class Command(BaseCommand):
    help = "Make the interface equal to the database once; print + KEY ADDRESSES, - KEY, ~ KEY FIELD."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("interface", metavar="IFACE")
        parser.add_argument(
            "--dry-run", action="store_true", help="change nothing; exit 2 if there is a difference"
        )

    def handle(self, *, interface: str, dry_run: bool, **_: Any) -> None:
        try:
            self._preview(interface) if dry_run else self._pass(interface)
        except (Stop, WgError, LinkError, ValueError) as error:
            raise CommandError(str(error)) from None
        except AWAY as error:
            raise CommandError(f"the database cannot be reached: {str(error).strip()}") from None
        except Interface.DoesNotExist:
            raise CommandError(f"there is no interface {interface} in the database") from None

    def _preview(self, interface: str) -> None:
        found = reconciler(interface).preview().lines()
        self._print(found)
        if found:
            raise SystemExit(DIFFERENT)

    def _pass(self, interface: str) -> None:
        single = reconciler(interface)
        connection = Connection(single.gateway, interface)
        if not connection.open():
            raise CommandError(f"the gateway {single.gateway} is running and does this by itself")
        single.begin()
        outcome = single.full_pass()
        self._print(outcome.lines())
        if held := outcome.decision.held:
            raise CommandError(f"the brake holds {len(held)} unexplained removals: see release_brake")

    def _print(self, found: tuple[str, ...]) -> None:
        for line in found:
            self.stdout.write(line)
