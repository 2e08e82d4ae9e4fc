"""Rows that tests start from: a person, an interface, a public key, a peer."""

from datetime import datetime
from itertools import count

from django.utils import timezone

from peers import services
from peers.models import Interface, Peer
from peers.wireguard import keys
from portal.models import User

_people, _interfaces = count(1), count(1)


def person(name: str = "", **fields: object) -> User:
    """Return a new person who has signed in just now."""
    sub = name or f"person-{next(_people)}"
    fields = {"signed_in_at": timezone.now(), "groups_claim": ["employees"], "name": sub.title(), **fields}
    return User.objects.create_user(issuer="http://127.0.0.1:8001", sub=sub, **fields)


def interface(name: str = "wg0", **fields: object) -> Interface:
    """Return a new interface whose gateway has published its key.

    Its pools are its own: no test names one at or above 10.100, or in fdee.
    """
    number = next(_interfaces)
    fields = {
        "endpoint": "vpn.example.com:51820",
        "public_key": public_key(),
        "ipv4_pool": f"10.{100 + number % 156}.0.0/16",
        "ipv6_pool": f"fdee:{number % 0x10000:x}::/64",
        **fields,
    }
    made = Interface.objects.create(name=name, **fields)
    made.refresh_from_db()  # the pools as networks
    return made


def public_key() -> str:
    return keys.public_key_of(keys.generate_private_key())


def peer(
    owner: User, on: Interface, name: str = "laptop", at: datetime | None = None, **fields: object
) -> Peer:
    """Return a peer that ``owner`` has enrolled on the interface."""
    wanted = {"public_key": public_key(), "at": at or timezone.now(), **fields}
    actor = services.Actor(user=owner)
    return services.enrol(actor=actor, owner=owner, interface=on, name=name, **wanted).peer
