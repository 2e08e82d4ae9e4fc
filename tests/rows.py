"""Rows that tests start from: a person, an interface, a service account, a token, a public key, a peer."""

from datetime import datetime, timedelta
from itertools import count

from django.utils import timezone

from peers import services
from peers.models import ApiToken, Interface, Peer, Scope, ServiceAccount
from peers.wireguard import keys
from portal.models import User

_people, _interfaces, _accounts, _tokens = count(1), count(1), count(1), count(1)


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


def account(*on: Interface, **fields: object) -> ServiceAccount:
    """Return a new service account that may use the interfaces."""
    made = ServiceAccount.objects.create(
        **{"name": f"account-{next(_accounts)}", "team": "builders", **fields}
    )
    made.interfaces.set(on)
    return made


def token(holder: ServiceAccount | User, *scopes: str, **fields: object) -> tuple[ApiToken, str]:
    """Return a new token, good for an hour and, unless ``scopes`` says less, for everything; and its text."""
    at = timezone.now()
    wanted = {"name": f"script-{next(_tokens)}", "at": at, "expires_at": at + timedelta(hours=1), **fields}
    return services.make_token(actor=services.Actor(), holder=holder, scopes=scopes or tuple(Scope), **wanted)


def machine(
    of: ServiceAccount, on: Interface, name: str = "build-1", at: datetime | None = None, **fields: object
) -> Peer:
    """Return a peer that a machine of the account has enrolled on the interface, for ever unless ``expires_at`` says less."""
    wanted = {"actor": services.Actor(), "public_key": public_key(), "at": at or timezone.now(), **fields}
    return services.enrol(owner=of, interface=on, name=name, **wanted).peer
