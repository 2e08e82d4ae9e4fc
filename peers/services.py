"""Every change of a peer: one transaction, its audit row with it; the only code that changes one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from peers import audit
from peers.allocation import PoolExhausted, allocate
from peers.models import AuditEvent, Interface, Peer, PeerKey
from peers.wireguard import keys
from portal.models import User

# What an administrator sets. Enrolments move next_host meanwhile and the gateway publishes the key: never write those.
SETTINGS = (
    "endpoint", "listen_port", "dns", "client_allowed_ips", "mtu", "persistent_keepalive", "use_preshared_keys", "mode",
    "lease", "address_rest", "device_limit", "enrol_groups",
)  # fmt: skip


class Refused(Exception):
    """A change that is not made; ``code`` is for programs, the message for people."""

    code = "refused"
    message = "This cannot be done."

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.message)


class KeyInUse(Refused):
    code = "key_in_use"
    message = "This key is already in use. Make a new one."


class KeyRevoked(Refused):
    code = "key_revoked"
    message = "This key was revoked or replaced and can never be used again. Make a new one."


class NoFreeAddress(Refused):
    code = "pool_exhausted"
    message = "There is no free address. Ask your administrator."


class PeerLimit(Refused):
    code = "peer_limit"


class NotEntitled(Refused):
    code = "not_entitled"
    message = "Your account may not enrol devices here, or your sign-in has run out. Sign in again, or ask your administrator."


class NotReady(Refused):
    code = "interface_not_ready"
    message = "This network is not ready yet: its gateway has never started. Try again later."


class NotActive(Refused):
    code = "not_active"
    message = "This device is no longer active, so it cannot be changed. Enrol it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, and from where: a person (``user``) or, without one, a command."""

    user: User | None = None
    source: str | None = None

    @property
    def kind(self) -> str:
        return AuditEvent.ActorKind.PERSON if self.user else AuditEvent.ActorKind.COMMAND


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
) -> Enrolled:
    """Return the peer that holds ``public_key`` for ``owner``, made now or already theirs.

    ``public_key`` and ``name`` are validated values. Raises NotReady, NotEntitled, PeerLimit, KeyInUse,
    KeyRevoked, NoFreeAddress.
    """
    if interface.public_key is None:
        raise NotReady
    with transaction.atomic():
        # The owner's row is what two enrolments of one person queue on: the device limit holds.
        owner = User.objects.select_for_update(no_key=True).get(pk=owner.pk)
        if known := _known(public_key, owner, interface):
            return Enrolled(_entitle_afresh(known, public_key, actor, expires_at, at), created=False)
        _within_limit(owner, interface, at)
        peer = Peer(
            interface=interface, owner=owner, name=name, platform=platform, enrolled_at=at, expires_at=expires_at,
        )  # fmt: skip
        _new_preshared_key(peer)
        peer.save(force_insert=True)
        _must_be_entitled(peer, at)
        _use_key(peer, public_key, at)
        _give_address(peer)
        _record("enrol", actor, peer, new={"name": name, "public_key": public_key, "addresses": _texts(peer)})
    return Enrolled(peer, created=True)


def rename(*, actor: Actor, peer: Peer, name: str) -> Peer:
    """Return the peer with its new name."""
    with _active(peer) as locked:
        if locked.name == name:
            return locked
        old, locked.name = locked.name, name
        locked.save(update_fields=["name"])
        _record("rename", actor, locked, old={"name": old}, new={"name": name})
    return locked


def replace_key(*, actor: Actor, peer: Peer, public_key: str, at: datetime) -> Peer:
    """Return the peer with ``public_key`` in the place of its key, which is retired for ever; the address stays.

    Raises KeyInUse, KeyRevoked, NotActive.
    """
    with _active(peer) as locked:
        if locked.key and locked.key.public_key == public_key:
            return locked
        old = _retire_key(locked, at)
        _use_key(locked, public_key, at)
        _new_preshared_key(locked)
        locked.save(update_fields=["preshared_key"])
        _record("replace_key", actor, locked, old={"public_key": old}, new={"public_key": public_key})
    return locked


def revoke(*, actor: Actor, peer: Peer, at: datetime, reason: str = "") -> Peer:
    """Return the peer revoked: off for ever, its key never to be enrolled again. Revoking twice changes nothing."""
    with _locked(peer) as locked:
        if locked.revoked_at is not None:
            return locked
        old = _retire_key(locked, at)
        locked.revoked_at, locked.revoked_by, locked.revoke_reason = at, actor.user, reason
        locked.save(update_fields=["revoked_at", "revoked_by", "revoke_reason"])
        _record("revoke", actor, locked, old={"public_key": old, "addresses": _texts(locked)}, reason=reason)
    return locked


def release_brake(*, actor: Actor, interface: Interface) -> None:
    """Give the operator's word: the gateways of the interface carry out what their brakes hold and count afresh."""
    with transaction.atomic():
        interface.brake_released_at = Now()  # the clock that gateways go by
        interface.save(update_fields=["brake_released_at"])
        _record("release_brake", actor, interface)


def save_interface(*, actor: Actor, interface: Interface) -> Interface:
    """Insert an interface, or update its settings, with what changed in the audit.

    Raise IntegrityError for overlapping pools.
    """
    with transaction.atomic():
        # no_key: enrolments hold a share of the row, and two that wait for each other's would never end.
        before = Interface.objects.select_for_update(no_key=True).filter(pk=interface.pk).first()
        interface.save(update_fields=SETTINGS if before else None)
        interface.refresh_from_db()
        old, new = audit.difference(before, interface)
        if new:
            _record("change_interface" if before else "create_interface", actor, interface, old=old, new=new)
    return interface


@contextmanager
def _locked(peer: Peer) -> Iterator[Peer]:
    with transaction.atomic():
        yield (
            Peer.objects.select_for_update(of=("self",)).select_related("interface", "owner").get(pk=peer.pk)
        )


@contextmanager
def _active(peer: Peer) -> Iterator[Peer]:
    with _locked(peer) as locked:
        if locked.revoked_at is not None:
            raise NotActive
        yield locked


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
    with _locked(peer) as locked:
        if locked.key is None or locked.key.public_key != public_key:
            raise KeyRevoked  # just now, while this waited for the row
        if locked.expires_at is None or locked.expires_at > at:
            _must_be_entitled(locked, at)
            return locked
        _within_limit(locked.owner, locked.interface, at)
        old, locked.expires_at = locked.expires_at, expires_at
        locked.save(update_fields=["expires_at"])
        _must_be_entitled(locked, at)
        if locked.host is None:
            _give_address(locked)
        new = {"expires_at": _text(expires_at), "addresses": _texts(locked)}
        _record("renew", actor, locked, old={"expires_at": _text(old)}, new=new)
    return locked


def _within_limit(owner: User, interface: Interface, at: datetime) -> None:
    if Peer.objects.filter(owner=owner, interface=interface).holding(at).count() >= interface.device_limit:
        raise PeerLimit(
            f"{interface.device_limit} devices are the most you may have. Revoke one that you no longer use."
        )


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
    if "peers_peerkey_public_key" not in str(error):
        return error
    retired = PeerKey.objects.filter(public_key=public_key, retired_at__isnull=False).exists()
    return KeyRevoked() if retired else KeyInUse()


def _retire_key(peer: Peer, at: datetime) -> str:
    key = peer.key
    if key is None:
        return ""
    key.retired_at = at
    key.save(update_fields=["retired_at"])
    return str(key.public_key)


def _give_address(peer: Peer) -> None:
    try:
        peer.host = allocate(peer)
    except PoolExhausted:
        raise NoFreeAddress from None
    peer.save(update_fields=["host"])


def _record(action: str, actor: Actor, target: Peer | Interface, **values: Any) -> None:
    audit.record(
        action, actor=actor.user, actor_kind=actor.kind, source=actor.source, target=target, **values
    )


def _texts(peer: Peer) -> list[str]:
    return [str(address) for address in peer.addresses]


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
