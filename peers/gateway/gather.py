"""Read from the database what the interface should hold. Every row is hostile until it is validated."""

from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache, partial
from ipaddress import ip_network
from typing import Any, NamedTuple
from uuid import UUID

from cryptography.fernet import InvalidToken
from django.db import connection
from django.db.models import Q, TextField
from django.db.models.functions import Cast, Least, Now

from peers.models import LEASE_UNTIL, Interface, Peer, PeerKey
from peers.wireguard.keys import ZERO_KEY, InvalidKey, preshared_key, public_key
from peers.wireguard.state import MEMOS, PeerSettings, peer_settings
from portal.database import prepared
from portal.encryption import decrypt

# The same text for ever, also for a row whose deadline or interface has changed.
remembered = lru_cache(maxsize=1 << 17)(decrypt)
NO_KEEPALIVE = 0  # seconds; keeping the way open through a NAT is for the device, which is behind one
KEY_IN = '"peers_peerkey"."public_key" = ANY(%s)'
AS_TEXT = partial(Cast, output_field=TextField())


@dataclass(frozen=True, slots=True)
class Wanted:
    """A peer (its id as text) that may be on the interface until ``until``; None: until the database says otherwise."""

    peer: str
    settings: PeerSettings
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Desired:
    """What the database wants: ``peers`` by public key, and why a row was put aside by its peer's id."""

    peers: dict[str, Wanted] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, PeerSettings]:
        return {key: wanted.settings for key, wanted in self.peers.items()}

    @property
    def ids(self) -> dict[str, str]:
        return {key: wanted.peer for key, wanted in self.peers.items()}

    def only(self, keys: Container[str]) -> "Desired":
        return replace(self, peers={key: wanted for key, wanted in self.peers.items() if key in keys})

    def without(self, keys: Container[str]) -> "Desired":
        return replace(self, peers={key: wanted for key, wanted in self.peers.items() if key not in keys})


class Row(NamedTuple):
    """A row as read: nothing in it is trusted yet. ``token`` is the encrypted preshared key, '' for none."""

    peer: str
    key: str
    host: int | None
    token: str
    until: datetime | None


class Rules(NamedTuple):
    """What an interface says about each of its rows; the pools as text, which is cheaper to look up."""

    public_key: str | None
    pools: tuple[str, ...]
    host: int
    last_host: int


def gather(
    interface: Interface, *, peers: Collection[str] | None = None, keys: Collection[str] | None = None
) -> Desired:
    """Return what is wanted on the interface now: of all, or of those peers (ids) or public keys alone."""
    sql, values = _statement(interface.pk)
    for some, condition in ((peers, '"peers_peer"."id" = ANY(%s::uuid[])'), (keys, KEY_IN)):
        if some is not None:
            sql, values = f"{sql} AND {condition}", (*values, list(some))
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return validated(interface, cursor)


def gather_asking(interface: Interface, keys: Collection[str]) -> Desired:
    """Return the same of a few public keys, fast: somebody waits, and to plan the statement takes longer than all of it."""
    sql, values = _statement(interface.pk)
    with connection.cursor() as cursor:
        prepared.execute(cursor, f"{sql} AND {KEY_IN}", [*values, list(keys)])
        return validated(interface, cursor)


@lru_cache(maxsize=16)
def _statement(interface: int) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that finds them, and its values: to put it together takes longer than to carry it out for a few."""
    found = Peer.objects.filter(
        interface=interface, keys__in=PeerKey.objects.filter(retired_at=None)
    ).entitled(Now())
    # The preshared key as it stands, so that one that does not decrypt is one row put aside; ids as text are cheaper.
    columns = (
        AS_TEXT("id"),
        "keys__public_key",
        "host",
        AS_TEXT("preshared_key"),
        Least("expires_at", LEASE_UNTIL),
    )
    return found.order_by().values_list(*columns).query.sql_with_params()


def validated(interface: Interface, rows: Iterable[tuple[Any, ...]]) -> Desired:
    """Return the rows (see Row) that WireGuard may see, and the reason for each that it may not."""
    desired = Desired()
    rules = Rules(interface.public_key, tuple(map(str, interface.pools)), interface.host, interface.last_host)
    hosts: set[int] = set()
    for row in rows:
        found = _checked(rules, row)
        if isinstance(found, str) or row[2] in hosts or row[1] in desired.peers:
            desired.problems[row[0]] = (
                found if isinstance(found, str) else "Another peer has its address or its key."
            )
        else:
            hosts.add(row[2])
            desired.peers[row[1]] = found
    return desired


# From pass to pass nearly every row is the same.
@lru_cache(maxsize=1 << 17)
def _checked(rules: Rules, values: tuple[Any, ...]) -> Wanted | str:
    """Return what a row wants, or in a sentence why it is put aside."""
    row = Row(*values)
    try:
        if public_key(row.key) == rules.public_key:
            return "Its key is the interface's own."
        if row.host is None or not 0 < row.host <= rules.last_host or row.host == rules.host:
            return "Its host number is not one of the pool's."
        return Wanted(row.peer, _settings(rules, row.host, row.token), row.until)
    except InvalidKey as error:
        return str(error)


def _settings(rules: Rules, host: int, token: str) -> PeerSettings:
    try:
        key = preshared_key(remembered(token)) if token else ZERO_KEY
    except InvalidToken:
        raise InvalidKey("Its preshared key cannot be read.") from None
    addresses = frozenset(ip_network(ip_network(pool)[host]) for pool in rules.pools)
    return peer_settings(addresses, key, NO_KEEPALIVE)


def forget() -> None:
    """Drop what is remembered of rows and settings, those of peers long gone too; the next pass remembers afresh."""
    for memo in (_checked, remembered, public_key, *MEMOS):
        memo.cache_clear()


def explained(interface: Interface, keys: Collection[str]) -> dict[str, str]:
    """Return the keys, with their peers, whose absence the database explains: retired, or of a peer not entitled now."""
    if not keys:
        return {}
    known = PeerKey.objects.filter(public_key__in=keys)
    entitled = Peer.objects.filter(keys__public_key__in=keys).entitled(Now()).values("pk")
    barred = Q(retired_at=None, peer__interface=interface) & ~Q(peer__in=entitled)
    found = known.filter(Q(retired_at__isnull=False) | barred)
    return dict(found.values_list("public_key", AS_TEXT("peer_id")))


def known_keys(keys: Collection[str]) -> set[str]:
    """Return those of ``keys`` that this database has ever enrolled."""
    return set(PeerKey.objects.filter(public_key__in=keys).values_list("public_key", flat=True))


def keys_of(peers: Collection[str]) -> dict[str, str]:
    """Return every key that these peers ever had, with its peer."""
    return dict(
        PeerKey.objects.filter(peer__in=list(map(UUID, peers))).values_list("public_key", AS_TEXT("peer_id"))
    )
