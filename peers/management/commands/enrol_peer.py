"""`manage.py enrol_peer OWNER …`: enrol a device for a person who has its public key at hand."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone

from peers import services
from peers.forms import peer_name
from peers.models import Interface, Peer
from peers.wireguard import keys
from portal.models import User

SHORTEST_TTL = 60
LONGEST_TTL = 100 * 366 * 24 * 3600


class Command(BaseCommand):
    help = "Enrol a device for a person; prints its id and addresses."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("owner", help="the person's e-mail address or subject at the identity provider")
        parser.add_argument("--interface", default="wg0")
        parser.add_argument("--public-key", required=True)
        parser.add_argument("--name", required=True)
        parser.add_argument("--platform", default=Peer.Platform.OTHER, choices=Peer.Platform.values)
        parser.add_argument(
            "--ttl", type=_ttl, help="seconds until it expires, 60 at least; left out: it does not"
        )

    def handle(self, *, owner: str, interface: str, ttl: timedelta | None, **options: Any) -> None:
        at = timezone.now()
        try:
            enrolled = services.enrol(
                actor=services.Actor(), owner=_person(owner), interface=_interface(interface),
                public_key=keys.public_key(options["public_key"]), name=peer_name(options["name"]),
                platform=options["platform"], at=at, expires_at=at + ttl if ttl else None,
            )  # fmt: skip
        except (services.Refused, keys.InvalidKey) as error:
            raise CommandError(str(error)) from None
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        addresses = ", ".join(map(str, enrolled.peer.addresses))
        self.stdout.write(f"{enrolled.peer.pk} {addresses}")


def _ttl(text: str) -> timedelta:
    seconds = int(text)
    if not SHORTEST_TTL <= seconds <= LONGEST_TTL:
        raise ArgumentTypeError(f"a peer lasts from {SHORTEST_TTL} to {LONGEST_TTL} seconds")
    return timedelta(seconds=seconds)


def _person(text: str) -> User:
    found = list(User.objects.filter(Q(email__iexact=text) | Q(sub=text))[:2])
    if len(found) != 1:
        raise CommandError(
            "more than one person is called that" if found else "no such person has ever signed in"
        )
    return found[0]


def _interface(name: str) -> Interface:
    try:
        return Interface.objects.get(name=name)
    except Interface.DoesNotExist:
        raise CommandError(f"there is no interface {name}") from None
