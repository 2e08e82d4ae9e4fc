"""Take a device in, and give it another key."""

from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils.translation import ngettext

from peers import letters
from peers.allocation import PoolExhausted, allocate
from peers.audit import Actor, addresses, record
from peers.configuration import given
from peers.models import Interface, Peer, PeerKey
from peers.services.changes import configure, retire_key, revoke
from peers.services.locks import active, lock
from peers.services.refused import (
    KeyInUse,
    KeyRevoked,
    NoFreeAddress,
    NotActive,
    NotEntitled,
    NotReady,
    PeerLimit,
)
from peers.wireguard import keys
from portal.models import User


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A peer and whether this call made it; False when the caller's own key was enrolled already."""

    peer: Peer
    created: bool


def enrol(
    *,
    actor: Actor,
    owner: User,
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
    is revoked with it. Raises NotReady, NotActive (for another's), NotEntitled, PeerLimit, KeyInUse, KeyRevoked,
    NoFreeAddress.
    """
    if interface.public_key is None:
        raise NotReady
    with transaction.atomic():
        # The owner's row is what two enrolments of one person queue on: the device limit holds.
        owner = User.objects.select_for_update(no_key=True).get(pk=owner.pk)
        if known := _known(public_key, owner, interface):
            row = _entitle_afresh(known, public_key, actor, expires_at, at)
            return Enrolled(configure(actor=actor, peer=row), created=False)
        if in_place_of:
            _revoke_own(
                in_place_of, owner, interface, actor=actor, at=at, reason=f"Replaced by {name}."[:200]
            )
        _within_limit(owner, interface, at)
        peer = Peer(
            interface=interface, owner=owner, name=name, platform=platform, enrolled_at=at, expires_at=expires_at,
        )  # fmt: skip
        _new_preshared_key(peer)
        peer.save(force_insert=True)
        _must_be_entitled(peer, at)
        _use_key(peer, public_key, at)
        _give_address(peer)
        ends = {"expires_at": _text(expires_at)} if expires_at else {}
        new = {"name": name, "public_key": public_key, "addresses": addresses(peer), **ends}
        record("enrol", actor, peer, new=new)
        letters.new_device(peer, source=actor.source)
    return Enrolled(peer, created=True)


def replace_key(*, actor: Actor, peer: Peer, public_key: str, at: datetime) -> Peer:
    """Return the peer with ``public_key`` in the place of its key, which is retired for ever; the address stays.

    Raises KeyInUse, KeyRevoked, NotActive.
    """
    with active(peer) as row:
        if row.key and row.key.public_key == public_key:
            return row
        old = retire_key(row, at)
        _use_key(row, public_key, at)
        _new_preshared_key(row)
        row.configured = given(row)
        row.save(update_fields=["preshared_key", "configured"])
        record("replace_key", actor, row, old={"public_key": old}, new={"public_key": public_key})
        letters.replaced_key(row, at=at, source=actor.source)
    return row


def _known(public_key: str, owner: User, interface: Interface) -> Peer | None:
    """Return the caller's own peer with this key; raise KeyInUse or KeyRevoked for any other known key."""
    key = PeerKey.objects.select_related("peer__interface").filter(public_key=public_key).first()
    if key is None:
        return None
    if key.retired_at is not None:
        raise KeyRevoked
    if key.peer.owner_id != owner.pk or key.peer.interface_id != interface.pk:
        raise KeyInUse
    return key.peer


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
    _within_limit(row.owner, row.interface, at)
    old, row.expires_at = row.expires_at, expires_at
    row.save(update_fields=["expires_at"])
    _must_be_entitled(row, at)
    if row.host is None:
        _give_address(row)
    new = {"expires_at": _text(expires_at), "addresses": addresses(row)}
    record("renew", actor, row, old={"expires_at": _text(old)}, new=new)
    return row


def _revoke_own(
    peer: Peer, owner: User, interface: Interface, *, actor: Actor, at: datetime, reason: str
) -> None:
    if (peer.owner_id, peer.interface_id) != (owner.pk, interface.pk):
        raise NotActive  # another's device answers as one that is not there
    revoke(actor=actor, peer=peer, at=at, reason=reason)


def _within_limit(owner: User, interface: Interface, at: datetime) -> None:
    limit = interface.device_limit
    if Peer.objects.filter(owner=owner, interface=interface).holding(at).count() >= limit:
        sentence = ngettext(
            "%(limit)d device is the most you may have. Replace one that you no longer use.",
            "%(limit)d devices are the most you may have. Replace one that you no longer use.",
            limit,
        )
        raise PeerLimit(sentence % {"limit": limit})


def _must_be_entitled(peer: Peer, at: datetime) -> None:
    """Refuse what would never reach the interface."""
    if not Peer.objects.entitled(at).filter(pk=peer.pk).exists():
        raise NotEntitled


def _new_preshared_key(peer: Peer) -> None:
    peer.preshared_key = keys.generate_preshared_key() if peer.interface.use_preshared_keys else ""


def _use_key(peer: Peer, public_key: str, at: datetime) -> None:
    if Interface.objects.filter(public_key=public_key).exists():
        raise KeyInUse
    try:
        with transaction.atomic():
            PeerKey.objects.create(peer=peer, public_key=public_key, enrolled_at=at)
    except IntegrityError as error:
        raise _told(error, public_key) from None


def _told(error: IntegrityError, public_key: str) -> Exception:
    """Return the refusal that a broken constraint stands for; the error itself when it is no duplicate key."""
    if "peerkey_barred" in str(error):
        return KeyRevoked()
    if "peers_peerkey_public_key" not in str(error):
        return error
    retired = PeerKey.objects.filter(public_key=public_key, retired_at__isnull=False).exists()
    return KeyRevoked() if retired else KeyInUse()


def _give_address(peer: Peer) -> None:
    """Give the peer a host number, and note the settings that its device is given with it."""
    try:
        peer.host = allocate(peer)
    except PoolExhausted:
        raise NoFreeAddress from None
    peer.configured = given(peer)
    peer.save(update_fields=["host", "configured"])


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
