"""Take a device in, and give it another key."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils.translation import ngettext

from peers import letters
from peers.allocation import PoolExhausted, allocate
from peers.audit import Actor, addresses, event, record
from peers.configuration import given
from peers.inserts import insert_together
from peers.models import ApiToken, Interface, Peer, PeerKey, ServiceAccount
from peers.services.changes import configure, retire_key, revoke
from peers.services.locks import active, lock
from peers.services.machines import text
from peers.services.refused import (
    InterfaceNotAllowed,
    KeyInUse,
    KeyRevoked,
    NoFreeAddress,
    NotActive,
    NotEntitled,
    NotReady,
    PeerLimit,
    UseLimit,
)
from peers.signals import CHANNEL
from peers.wireguard import keys
from portal.models import User

DUPLICATE = "peers_peerkey_public_key"  # the constraint that keeps a key unique for ever
# As SQL, since machines enrol by the hundred a second, and to put a query together takes Django ten times as long.
KNOWN = "SELECT peer_id, retired_at FROM peers_peerkey WHERE public_key = %(public_key)s"
# Two statements at once: the second sees what was committed while the first waited. ``PeerQuerySet.holding`` is the rule.
ROOM = """
SELECT pg_advisory_xact_lock{shared}(%(space)s, %(account)s);
SELECT suspended_at,
    EXISTS (SELECT FROM peers_serviceaccount_interfaces
        WHERE serviceaccount_id = account.id AND interface_id = %(interface)s),
    (SELECT count(*) FROM peers_peer
        WHERE service_account_id = account.id AND id <> %(peer)s AND revoked_at IS NULL
            AND (expires_at IS NULL OR expires_at > %(at)s)),
    current_setting('max_connections')::int
FROM peers_serviceaccount account WHERE id = %(account)s
"""
LOCK = 0x5EA1  # the space of the advisory locks on service accounts
Holder = User | ServiceAccount


class Crowded(Exception):
    """So near to the limit that one has to be alone to tell whether there is room."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A peer and whether this call made it; False when the caller's own key was enrolled already."""

    peer: Peer
    created: bool


def enrol(
    *,
    actor: Actor,
    owner: Holder,
    interface: Interface,
    public_key: str,
    name: str,
    at: datetime,
    platform: str = Peer.Platform.OTHER,
    expires_at: datetime | None = None,
    in_place_of: Peer | None = None,
) -> Enrolled:
    """Return the peer that holds ``public_key`` for ``owner``, made now or already theirs.

    ``public_key`` and ``name`` are validated values; ``in_place_of`` is a peer of the owner's on the same interface, which
    is revoked with it. Raises NotReady, NotActive (for another's), NotEntitled, InterfaceNotAllowed, PeerLimit, UseLimit,
    KeyInUse, KeyRevoked, NoFreeAddress.
    """
    if interface.public_key is None:
        raise NotReady
    new = Peer(
        interface=interface, name=name, platform=platform, enrolled_at=at, expires_at=expires_at,
        token=actor.token, **_belonging_to(owner),
    )  # fmt: skip
    try:
        return _enrol(new, public_key, actor, at, in_place_of)
    except Crowded:
        return _enrol(new, public_key, actor, at, in_place_of, alone=True)
    except IntegrityError as error:
        if DUPLICATE not in str(error):
            raise _told(error, public_key) from None
    return _enrol(new, public_key, actor, at, in_place_of)  # somebody was quicker, so the key is known now


@transaction.atomic
def _enrol(
    new: Peer, public_key: str, actor: Actor, at: datetime, in_place_of: Peer | None, *, alone: bool = False
) -> Enrolled:
    _queue_person(new)
    if known := _known(public_key, new):
        row = _entitle_afresh(known, public_key, actor, new.expires_at, at)
        return Enrolled(configure(actor=actor, peer=row), created=False)
    if in_place_of:
        _revoke_own(in_place_of, new, actor=actor, at=at, reason=f"Replaced by {new.name}."[:200])
    _within_limits(new, actor, at, alone=alone)
    _new_preshared_key(new)
    _take_address(new)
    ends = {"expires_at": text(new.expires_at)} if new.expires_at else {}
    told = {"name": new.name, "public_key": public_key, "addresses": addresses(new), **ends}
    key = PeerKey(peer=new, public_key=public_key, enrolled_at=at)
    made = event("enrol", actor, new, new=told)
    insert_together(new, key, made, channel=CHANNEL, payload=f"peer:{new.pk}")
    if new.owner is not None:
        _must_be_entitled(new, at)
    letters.new_device(new, source=actor.source)
    return Enrolled(new, created=True)


def replace_key(*, actor: Actor, peer: Peer, public_key: str, at: datetime) -> Peer:
    """Return the peer with ``public_key`` in the place of its key, which is retired for ever; the address stays.

    Raises KeyInUse, KeyRevoked, NotActive.
    """
    with active(peer) as row:
        if row.key and row.key.public_key == public_key:
            return row
        old = retire_key(row, at)
        _give_key(row, public_key, at)
        _new_preshared_key(row)
        row.configured = given(row)
        row.save(update_fields=["preshared_key", "configured"])
        record("replace_key", actor, row, old={"public_key": old}, new={"public_key": public_key})
        letters.replaced_key(row, at=at, source=actor.source)
    return row


def _belonging_to(owner: Holder) -> dict[str, Any]:
    return {"service_account": owner} if isinstance(owner, ServiceAccount) else {"owner": owner}


def _queue_person(new: Peer) -> None:
    """Let the enrolments of one person go one after the other, so that the device limit holds."""
    if new.owner is not None:
        new.owner = User.objects.select_for_update(no_key=True).get(pk=new.owner.pk)


def _known(public_key: str, new: Peer) -> Peer | None:
    """Return the caller's own peer with this key; raise KeyInUse or KeyRevoked for any other known key."""
    found = _row(KNOWN, public_key=public_key)
    if found is None:
        return None
    pk, retired_at = found
    if retired_at is not None:
        raise KeyRevoked
    peer = Peer.objects.get(pk=pk)
    if _place(peer) != _place(new):
        raise KeyInUse
    return peer


def _row(sql: str, **values: Any) -> Any:
    """Return the first row of a statement; None without one."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()


def _place(peer: Peer) -> tuple[int | None, int | None, int]:
    return peer.owner_id, peer.service_account_id, peer.interface_id


def _entitle_afresh(
    peer: Peer, public_key: str, actor: Actor, expires_at: datetime | None, at: datetime
) -> Peer:
    """Return the caller's own peer, with a new expiry and, if another has its address, a new address, once expired."""
    row = lock(peer)
    if row is None or row.key is None or row.key.public_key != public_key:
        raise KeyRevoked  # just now, while this waited for the row
    if row.expires_at is None or row.expires_at > at:
        _must_be_entitled(row, at)
        return row
    _within_limits(row, actor, at, alone=True)
    old, row.expires_at, row.token = row.expires_at, expires_at, actor.token
    row.save(update_fields=["expires_at", "token"])
    _must_be_entitled(row, at)
    if row.host is None:
        _take_address(row)
        row.save(update_fields=["host", "configured"])
    new = {"expires_at": text(expires_at), "addresses": addresses(row)}
    record("renew", actor, row, old={"expires_at": text(old)}, new=new)
    return row


def _revoke_own(peer: Peer, new: Peer, *, actor: Actor, at: datetime, reason: str) -> None:
    if _place(peer) != _place(new):
        raise NotActive  # another's device answers as one that is not there
    revoke(actor=actor, peer=peer, at=at, reason=reason)


def _within_limits(peer: Peer, actor: Actor, at: datetime, *, alone: bool) -> None:
    """Refuse one more than its owner, its account or the token may have; raise Crowded when that takes being ``alone``."""
    if peer.service_account is None:
        others = Peer.objects.filter(owner=peer.owner, interface=peer.interface).exclude(pk=peer.pk)
        _refuse_beyond(peer.interface.device_limit, others.holding(at).count())
    else:
        _account_has_room(peer, peer.service_account.device_limit, at, alone=alone)
    _count_use(actor.token)


def _account_has_room(peer: Peer, limit: int, at: datetime, *, alone: bool) -> None:
    """Refuse what the service account may not have, as it is now.

    Of its machines many come at once, and none waits for another as long as those that can be under way at once, one a
    connection to the database, would all find room. Beyond that they go one after the other.
    """
    values = {"account": peer.service_account_id, "interface": peer.interface_id, "peer": peer.pk, "at": at}
    lock = "" if alone else "_shared"
    suspended_at, admitted, held, at_once = _row(ROOM.format(shared=lock), **values, space=LOCK)
    if suspended_at is not None:
        raise NotEntitled
    if not admitted:
        raise InterfaceNotAllowed
    _refuse_beyond(limit, held)
    if not alone and held + at_once >= limit:
        raise Crowded


def _refuse_beyond(limit: int, held: int) -> None:
    if held >= limit:
        sentence = ngettext(
            "%(limit)d device is the most you may have. Replace one that you no longer use.",
            "%(limit)d devices are the most you may have. Replace one that you no longer use.",
            limit,
        )
        raise PeerLimit(sentence % {"limit": limit})


def _count_use(token: ApiToken | None) -> None:
    if token is None or token.use_limit is None:
        return
    left = ApiToken.objects.filter(pk=token.pk, enrolments__lt=F("use_limit"))
    if not left.update(enrolments=F("enrolments") + 1):
        raise UseLimit


def _must_be_entitled(peer: Peer, at: datetime) -> None:
    """Refuse what would never reach the interface."""
    if not Peer.objects.entitled(at).filter(pk=peer.pk).exists():
        raise NotEntitled


def _new_preshared_key(peer: Peer) -> None:
    peer.preshared_key = keys.generate_preshared_key() if peer.interface.use_preshared_keys else ""


def _give_key(peer: Peer, public_key: str, at: datetime) -> None:
    try:
        with transaction.atomic():
            PeerKey.objects.create(peer=peer, public_key=public_key, enrolled_at=at)
    except IntegrityError as error:
        raise _told(error, public_key) from None


def _told(error: IntegrityError, public_key: str) -> Exception:
    """Return the refusal that a broken constraint stands for; the error itself when it is no duplicate key."""
    if "peerkey_barred" in str(error):
        return KeyRevoked()
    if "peerkey_not_an_interfaces" in str(error):
        return KeyInUse()
    if DUPLICATE not in str(error):
        return error
    retired = PeerKey.objects.filter(public_key=public_key, retired_at__isnull=False).exists()
    return KeyRevoked() if retired else KeyInUse()


def _take_address(peer: Peer) -> None:
    """Set a host number for the peer, and the settings that its device is given with it."""
    try:
        peer.host = allocate(peer)
    except PoolExhausted:
        raise NoFreeAddress from None
    peer.configured = given(peer)
