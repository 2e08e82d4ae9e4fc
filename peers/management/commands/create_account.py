"""`manage.py create_account NAME …`: let machines of a team enrol by themselves."""

from argparse import SUPPRESS, ArgumentParser
from datetime import timedelta
from ipaddress import ip_network
from shlex import quote
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from peers import services
from peers.forms import name_of
from peers.management.words import interface, lasting, sentences
from peers.models import ServiceAccount

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Command(BaseCommand):
    help = "Add a service account, for whose machines create_token then makes tokens."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--team", required=True, help="who answers for it")
        parser.add_argument(
            "--interface",
            action="append",
            required=True,
            dest="interfaces",
            help="where its machines may be; may be repeated",
        )
        parser.add_argument("--device-limit", type=int, default=100, help="machines at a time")
        parser.add_argument(
            "--default-ttl",
            type=lasting,
            default=HOUR,
            help="how long a machine stays; none: until it is revoked",
        )
        parser.add_argument(
            "--max-ttl",
            type=lasting,
            default=SUPPRESS,
            help="the longest that a machine may ask for; none: ten years; left out: a day, or none",
        )
        parser.add_argument(
            "--idle-after", type=lasting, help="ends a machine without a handshake for so long"
        )
        parser.add_argument(
            "--source-network",
            action="append",
            type=ip_network,
            default=[],
            dest="source_networks",
            help="where its tokens are taken from; may be repeated; everywhere by default",
        )

    def handle(self, *, name: str, team: str, interfaces: list[str], **options: Any) -> None:
        settings = {column: options[column] for column in services.ACCOUNT_SETTINGS if column in options}
        usual = options["default_ttl"]
        settings.setdefault("max_ttl", max(DAY, usual) if usual else None)
        try:
            account = ServiceAccount(name=_name(name), team=_name(team), **settings)
            account.full_clean()
        except ValidationError as error:
            raise CommandError(
                "\n".join(sentences(error) if hasattr(error, "error_dict") else error.messages)
            ) from None
        found = [interface(each) for each in interfaces]
        services.save_account(actor=services.Actor(), account=account, interfaces=found)
        self.stdout.write(
            f"Created {account}. Now make a token: manage.py create_token {quote(account.name)} --name ..."
        )


def _name(text: str) -> str:
    return name_of(text, missing="A service account and its team have names.")
