"""`manage.py enrol_peer OWNER …`: enrol a device for a person who has its public key at hand, or a service account's machine."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone

from peers import services
from peers.forms import peer_name
from peers.management import words
from peers.models import SHORTEST_TTL, Peer, ServiceAccount
from peers.wireguard import keys
from portal.models import User

LONGEST_TTL = timedelta(days=100 * 366)


class Command(BaseCommand):
    help = "Enrol a device for a person or a service account; prints its id and addresses."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "owner", nargs="?", help="the person's e-mail address or subject at the identity provider"
        )
        parser.add_argument(
            "--service-account", help="the name of a service account, in the place of a person"
        )
        parser.add_argument("--interface", default="wg0")
        parser.add_argument("--public-key", required=True)
        parser.add_argument("--name", required=True)
        parser.add_argument("--platform", default=Peer.Platform.OTHER, choices=Peer.Platform.values)
        parser.add_argument(
            "--ttl",
            type=_ttl,
            help="seconds until it expires, 60 at least; left out: it does not, or as its service account says",
        )

    def handle(self, *, interface: str, ttl: timedelta | None, **options: Any) -> None:
        at, holder = timezone.now(), _holder(options["owner"], options["service_account"])
        try:
            enrolled = services.enrol(
                actor=services.Actor(), owner=holder, interface=words.interface(interface),
                public_key=keys.public_key(options["public_key"]), name=peer_name(options["name"]),
                platform=options["platform"], at=at, expires_at=_end(holder, ttl, at),
            )  # fmt: skip
        except (services.Refused, keys.InvalidKey) as error:
            raise CommandError(str(error)) from None
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        addresses = ", ".join(map(str, enrolled.peer.addresses))
        self.stdout.write(f"{enrolled.peer.pk} {addresses}")


def _ttl(text: str) -> timedelta:
    least, most = (int(ttl.total_seconds()) for ttl in (SHORTEST_TTL, LONGEST_TTL))
    if not least <= int(text) <= most:
        raise ArgumentTypeError(f"a peer lasts from {least} to {most} seconds")
    return timedelta(seconds=int(text))


def _end(holder: User | ServiceAccount, ttl: timedelta | None, at: datetime) -> datetime | None:
    """Return when it ends; a person's device may be given longer here than one may ask for elsewhere."""
    if isinstance(holder, ServiceAccount):
        return services.end_of(holder, ttl, at)
    return at + ttl if ttl else None


def _holder(owner: str | None, account: str | None) -> User | ServiceAccount:
    if (owner is None) == (account is None):
        raise CommandError("name a person, or a service account with --service-account")
    return words.account(account) if account is not None else _person(owner or "")


def _person(text: str) -> User:
    found = list(User.objects.filter(Q(email__iexact=text) | Q(sub=text))[:2])
    if len(found) != 1:
        raise CommandError(
            "more than one person is called that" if found else "no such person has ever signed in"
        )
    return found[0]
