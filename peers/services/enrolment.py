"""Take a device in, and give it another key."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.expressions import RawSQL
from django.utils.translation import ngettext

from peers import letters
from peers.allocation import Admission, admit, admit_new
from peers.audit import Actor, addresses, event, record
from peers.configuration import given, shared
from peers.models import ApiToken, Interface, Peer, PeerKey, ServiceAccount
from peers.services.changes import configure, retire_key, revoke
from peers.services.locks import REVOKED, active, lock
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
    TokenInvalid,
    UseLimit,
)
from peers.wireguard import keys
from portal.models import User

TRIES = 3  # once crowded, once behind another with the same key, and then that key is known
SMALL = 100  # machines: as many as may connect to PostgreSQL by default, so such an account is always crowded
DUPLICATE = "peers_peerkey_public_key"  # the constraint that keeps a key unique for ever
REFUSALS = {refused.code: refused for refused in (NotEntitled, InterfaceNotAllowed, NoFreeAddress)}
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
    TokenInvalid, KeyInUse, KeyRevoked, NoFreeAddress.
    """
    if interface.public_key is None:
        raise NotReady
    new = Peer(
        interface=interface, name=name, platform=platform, enrolled_at=at, expires_at=expires_at,
        token=actor.token, **_belonging_to(owner),
    )  # fmt: skip
    alone = isinstance(owner, ServiceAccount) and owner.device_limit <= SMALL
    for _ in range(TRIES):
        try:
            return _enrol(new, public_key, actor, at, in_place_of, alone=alone)
        except Crowded:
            alone = True
        except IntegrityError as error:
            if DUPLICATE not in str(error):
                raise _told(error, public_key) from None
    raise KeyInUse


def _enrol(
    new: Peer, public_key: str, actor: Actor, at: datetime, in_place_of: Peer | None, *, alone: bool
) -> Enrolled:
    with _transaction(new, actor):
        _queue_person(new)
        if in_place_of:
            _make_room(in_place_of, new, public_key, actor, at)
        found = _insert(new, public_key, actor, at, alone=alone)
        if found.known is None:
            _refuse(found, new)
            _count_use(actor.token)
            if new.owner is not None:
                _must_be_entitled(new, at)
            letters.new_device(new, source=actor.source)
            return Enrolled(new, created=True)
    return _again(found, new, public_key, actor, at)


def _transaction(new: Peer, actor: Actor) -> AbstractContextManager[None]:
    """Return what an enrolment happens in: a machine's is one statement, which is a transaction by itself."""
    one = new.owner is None and (actor.token is None or actor.token.use_limit is None)
    return nullcontext() if one and not connection.in_atomic_block else transaction.atomic()


def _insert(new: Peer, public_key: str, actor: Actor, at: datetime, *, alone: bool) -> Admission:
    """Give the peer a number and insert it, its key and the audit's row, unless something stands against it."""
    _new_preshared_key(new)
    settings = shared(new.interface)
    ends = {"expires_at": text(new.expires_at)} if new.expires_at else {}
    told = {"name": new.name, "public_key": public_key, **ends}
    new.host, new.configured = RawSQL("found.number", []), _with_addresses(settings)
    made = event("enrol", actor, new)
    made.new = _with_addresses(told)
    key = PeerKey(peer=new, public_key=public_key, enrolled_at=at)
    found = admit_new(new, public_key, new, key, made, at=at, alone=alone)
    new.host, new.configured = found.number, settings | {"addresses": found.addresses}
    return found


def _with_addresses(values: dict[str, Any]) -> RawSQL:
    return RawSQL("%s::jsonb || jsonb_build_object('addresses', found.addresses)", [json.dumps(values)])


@transaction.atomic
def _again(found: Admission, new: Peer, public_key: str, actor: Actor, at: datetime) -> Enrolled:
    _queue_person(new)
    row = _entitle_afresh(_own(found, new), public_key, actor, new.expires_at, at)
    return Enrolled(configure(actor=actor, peer=row), created=False)


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


def _own(found: Admission, new: Peer) -> Peer:
    """Return the caller's own peer with the key; raise KeyInUse or KeyRevoked for any other known key."""
    if found.retired:
        raise KeyRevoked
    peer = Peer.objects.filter(pk=str(found.known)).first()
    if peer is None:
        raise KeyRevoked  # pruned, just now
    if _place(peer) != _place(new):
        raise KeyInUse
    return peer


def _place(peer: Peer) -> tuple[int | None, int | None, int]:
    return peer.owner_id, peer.service_account_id, peer.interface_id


def _entitle_afresh(
    peer: Peer, public_key: str, actor: Actor, expires_at: datetime | None, at: datetime
) -> Peer:
    """Return the caller's own peer, with a new expiry and, if another has its address, a new address, once expired."""
    row = lock(peer)
    if row is None or row.key is None or row.key.public_key != public_key:
        raise KeyRevoked  # just now, while this waited for the row
    if row.host is not None and (row.expires_at is None or row.expires_at > at):
        _must_be_entitled(row, at)
        return row
    found = admit(row, at=at, wants_number=row.host is None)
    _refuse(found, row)
    if row.token != actor.token:
        _count_use(actor.token)
    if found.number is not None:
        row.host = found.number
        row.configured = given(row)
    old, row.expires_at, row.token = row.expires_at, expires_at, actor.token
    row.save(update_fields=["expires_at", "token", "host", "configured"])
    _must_be_entitled(row, at)
    new = {"expires_at": text(expires_at), "addresses": addresses(row)}
    record("renew", actor, row, old={"expires_at": text(old)}, new=new)
    return row


def _make_room(peer: Peer, new: Peer, public_key: str, actor: Actor, at: datetime) -> None:
    """Revoke a peer of the owner's on the same interface, unless the new one's key is known: then nothing is made."""
    if _place(peer) != _place(new):
        raise NotActive  # another's device answers as one that is not there
    if not PeerKey.objects.filter(public_key=public_key).exists():
        revoke(actor=actor, peer=peer, at=at, reason=f"Replaced by {new.name}."[:200])


def _refuse(found: Admission, peer: Peer) -> None:
    """Raise what stands against the peer."""
    if found.refusal == "crowded":
        raise Crowded
    if found.refusal == PeerLimit.code:
        raise _limit_of(peer)
    if found.refusal:
        raise REFUSALS[found.refusal]


def _limit_of(peer: Peer) -> PeerLimit:
    limit = (peer.service_account or peer.interface).device_limit
    sentence = ngettext(
        "%(limit)d device is the most you may have. Replace one that you no longer use.",
        "%(limit)d devices are the most you may have. Replace one that you no longer use.",
        limit,
    )
    return PeerLimit(sentence % {"limit": limit})


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
    """Return the refusal that a broken constraint stands for; the error itself when it stands for none."""
    if REVOKED in str(error):
        return TokenInvalid()
    if "peerkey_barred" in str(error):
        return KeyRevoked()
    if "peerkey_not_an_interfaces" in str(error):
        return KeyInUse()
    if DUPLICATE not in str(error):
        return error
    retired = PeerKey.objects.filter(public_key=public_key, retired_at__isnull=False).exists()
    return KeyRevoked() if retired else KeyInUse()
