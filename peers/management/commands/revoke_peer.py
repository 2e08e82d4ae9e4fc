"""`manage.py revoke_peer ID-OR-KEY`: take a device's access away for ever."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from peers import services
from peers.models import Peer


class Command(BaseCommand):
    help = "Revoke a device by its id or its public key. Revoking twice is no error."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("peer", metavar="ID-OR-KEY")
        parser.add_argument("--reason", default="")

    def handle(self, *, peer: str, reason: str, **_: Any) -> None:
        found = _find(peer)
        if found is None:
            raise CommandError("there is no such device")
        services.revoke(actor=services.Actor(), peer=found, at=timezone.now(), reason=reason[:200])
        self.stdout.write(f"{found.pk} revoked")


def _find(text: str) -> Peer | None:
    try:
        return Peer.objects.filter(pk=UUID(text)).first()
    except ValueError:
        return Peer.objects.filter(keys__public_key=text).first()
