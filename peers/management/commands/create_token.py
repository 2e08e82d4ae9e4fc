"""`manage.py create_token ACCOUNT …`: make a token for a service account, and print it alone."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from peers import services
from peers.forms import name_of
from peers.management.words import account
from peers.models import MOST_USES, Scope


class Command(BaseCommand):
    help = "Make a token for a service account. It is printed alone on standard output, this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account", help="the name of the service account")
        parser.add_argument("--name", required=True, help="what it is for")
        parser.add_argument(
            "--scope",
            action="append",
            choices=Scope.values,
            dest="scopes",
            help="may be repeated; peers:enrol by default",
        )
        parser.add_argument("--expires-days", type=int, default=90, help="1 to 3650")
        parser.add_argument(
            "--use-limit", type=int, help="how many machines it may enrol; any number by default"
        )

    def handle(self, *, name: str, use_limit: int | None, expires_days: int, **options: Any) -> None:
        at, holder = timezone.now(), account(options["account"])
        longest = services.longest_of(holder).days
        if not 1 <= expires_days <= longest:
            raise CommandError(f"a token lasts from 1 to {longest} days")
        if use_limit is not None and not 1 <= use_limit <= MOST_USES:
            raise CommandError(f"a use limit is a number from 1 to {MOST_USES}")
        try:
            token, text = services.make_token(
                actor=services.Actor(), holder=holder, name=_name(name), scopes=options["scopes"] or [Scope.ENROL],
                at=at, expires_at=at + timedelta(days=expires_days), use_limit=use_limit,
            )  # fmt: skip
        except services.TokenNameTaken as refused:
            raise CommandError(str(refused)) from None
        self.stderr.write(
            f"{token} of {holder} ends at {token.expires_at:%Y-%m-%d %H:%M} UTC. This is it, shown this once:"
        )
        self.stdout.write(text)


def _name(text: str) -> str:
    try:
        return name_of(text, missing="Give the token a name.")
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
