"""`manage.py revoke_token BEGINNING`: refuse a token from now on, for ever."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from peers import services
from peers.models import ApiToken, Peer
from peers.tokens import beginning


class Command(BaseCommand):
    help = "Revoke a token by its first 17 characters. Revoking twice is no error."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("beginning", help="the token's first 17 characters, as pages show them")
        parser.add_argument(
            "--with-peers", action="store_true", help="revoke the machines that were enrolled with it too"
        )
        parser.add_argument("--reason", default="")

    def handle(self, *, with_peers: bool, reason: str, **options: Any) -> None:
        token = _find(options["beginning"])
        before = Peer.objects.enrolled_with(token).count()
        services.revoke_token(
            actor=services.Actor(), token=token, at=timezone.now(), reason=reason[:200], with_peers=with_peers
        )
        self.stdout.write(
            f"{token} revoked, {before - Peer.objects.enrolled_with(token).count()} machines with it"
        )


def _find(text: str) -> ApiToken:
    # Of a whole token, which somebody may have found in a log, the rest is not looked at.
    try:
        found = list(ApiToken.objects.filter(beginning=beginning(text.strip().removesuffix("…")))[:2])
    except ValueError:  # it is no text
        found = []
    if len(found) != 1:
        raise CommandError("more than one token begins so" if found else "there is no such token")
    return found[0]
