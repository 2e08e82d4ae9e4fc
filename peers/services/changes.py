"""Change a device that is there: rename it, take it off for a while or for good."""

from datetime import datetime

from peers.audit import Actor, addresses, record
from peers.configuration import given
from peers.models import Peer
from peers.services.locks import active, locked


def rename(*, actor: Actor, peer: Peer, name: str) -> Peer:
    """Return the peer with its new name."""
    with active(peer) as row:
        if row.name == name:
            return row
        old, row.name = row.name, name
        row.save(update_fields=["name"])
        record("rename", actor, row, old={"name": old}, new={"name": name})
    return row


def configure(*, actor: Actor, peer: Peer) -> Peer:
    """Return the peer, with it on record that its device was given the interface's present settings."""
    with active(peer) as row:
        old, row.configured = row.configured, given(row)
        if old != row.configured:
            row.save(update_fields=["configured"])
            record("configure", actor, row, old=old, new=row.configured)
    return row


def revoke(*, actor: Actor, peer: Peer, at: datetime, reason: str = "") -> Peer:
    """Return the peer revoked: off for ever, its key never to be enrolled again. Revoking twice changes nothing."""
    with locked(peer) as row:
        if row.revoked_at is not None:
            return row
        old = retire_key(row, at)
        row.revoked_at, row.revoked_by, row.revoke_reason = at, actor.user, reason
        row.save(update_fields=["revoked_at", "revoked_by", "revoke_reason"])
        record("revoke", actor, row, old={"public_key": old, "addresses": addresses(row)}, reason=reason)
    return row


def suspend(*, actor: Actor, peer: Peer, at: datetime, reason: str) -> Peer:
    """Return the peer suspended: off until it is restored, its key and its address kept. Twice changes nothing.

    Raises NotActive.
    """
    with active(peer) as row:
        if row.suspended_at is not None:
            return row
        row.suspended_at, row.suspend_reason = at, reason
        row.save(update_fields=["suspended_at", "suspend_reason"])
        record("suspend", actor, row, reason=reason)
    return row


def restore(*, actor: Actor, peer: Peer, reason: str = "") -> Peer:
    """Return the peer no longer suspended; twice changes nothing. Raises NotActive."""
    with active(peer) as row:
        if row.suspended_at is None:
            return row
        old = {"suspended_at": row.suspended_at.isoformat(), "suspend_reason": row.suspend_reason}
        row.suspended_at, row.suspend_reason = None, ""
        row.save(update_fields=["suspended_at", "suspend_reason"])
        record("restore", actor, row, old=old, reason=reason)
    return row


def retire_key(peer: Peer, at: datetime) -> str:
    """Retire the key of a locked peer and return it; "" when it has none."""
    key = peer.key
    if key is None:
        return ""
    key.retired_at = at
    key.save(update_fields=["retired_at"])
    return str(key.public_key)
