"""`manage.py create_interface NAME …`: tell the database of a WireGuard interface."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from peers import services
from peers.management.words import sentences
from peers.models import Interface


class Command(BaseCommand):
    help = "Add an interface; its gateway makes the keys and publishes the public one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--endpoint", required=True, help="host:port that clients send to")
        parser.add_argument("--listen-port", type=int, default=51820)
        parser.add_argument("--ipv4-pool", help="such as 10.77.0.0/16")
        parser.add_argument("--ipv6-pool", help="such as fd00:77::/64")
        parser.add_argument(
            "--dns", action="append", type=ip_address, default=[], help="an address; may be repeated"
        )
        parser.add_argument(
            "--client-allowed-ips",
            action="append",
            type=ip_network,
            default=[],
            help="a network; may be repeated",
        )
        parser.add_argument("--mtu", type=int, default=1420)
        parser.add_argument("--persistent-keepalive", type=int, default=25, help="seconds; 0 turns it off")
        parser.add_argument("--preshared-keys", action="store_true", dest="use_preshared_keys")
        parser.add_argument(
            "--mode",
            choices=Interface.Mode.values,
            default=Interface.Mode.PUSH,
            help="on_demand: a peer is put on at its first handshake",
        )
        parser.add_argument(
            "--idle-minutes",
            type=int,
            default=15,
            help="on demand: minutes without a packet, and it is taken off",
        )
        parser.add_argument("--device-limit", type=int, default=10)
        parser.add_argument("--enrol-group", action="append", default=[], dest="enrol_groups")
        parser.add_argument(
            "--lease-days", type=_days, default=timedelta(days=7), help="0: a sign-in lasts for ever"
        )

    def handle(self, *, lease_days: timedelta, **options: Any) -> None:
        columns = {field.name for field in Interface._meta.concrete_fields}  # noqa: SLF001
        interface = Interface(**{name: value for name, value in options.items() if name in columns})
        interface.lease = lease_days or None
        try:
            interface.full_clean()
        except ValidationError as error:
            raise CommandError("\n".join(sentences(error))) from None
        services.save_interface(actor=services.Actor(), interface=interface)
        self.stdout.write(
            f"Created {interface}. Now start its gateway: manage.py run_gateway {interface} --create"
        )


def _days(text: str) -> timedelta:
    try:
        return timedelta(days=float(text))
    except (ValueError, OverflowError):
        raise ArgumentTypeError("a lease is a number of days") from None
