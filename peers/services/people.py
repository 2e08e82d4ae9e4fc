"""Suspend a person, which ends their sessions and cuts every peer of theirs (judged by the row), and restore them."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from peers.audit import Actor, record
from peers.models import ApiToken, Peer
from peers.services.changes import revoke
from peers.services.tokens import revoke_token
from portal import sessions
from portal.access.changes import withdraw
from portal.models import User

TOO_LONG = "Its owner was suspended for too long."


@transaction.atomic
def suspend_person(*, actor: Actor, person: User, at: datetime, reason: str) -> User:
    """Return the person suspended; twice changes nothing."""
    row = User.objects.select_for_update(no_key=True).get(pk=person.pk)
    if not row.is_active:
        return row
    row.is_active, row.suspended_at, row.suspend_reason = False, at, reason
    row.save(update_fields=["is_active", "suspended_at", "suspend_reason"])
    withdraw(row, actor=actor)
    sessions.forget(row)
    record("suspend", actor, row, reason=reason)
    return row


@transaction.atomic
def restore_person(*, actor: Actor, person: User, at: datetime, reason: str = "") -> User:
    """Return the person as no longer suspended; twice changes nothing. They have to sign in again.

    Their devices and tokens come back with them, unless they were away for longer than LATCHKEY_RESTORE_DEVICES_WITHIN:
    then those are revoked, since nobody knows where they have been.
    """
    row = User.objects.select_for_update(no_key=True).get(pk=person.pk)
    if row.is_active:
        return row
    if away_too_long(row, at):
        _revoke_all(row, actor, at)
    sessions.forget(row)
    old = {
        "suspended_at": row.suspended_at.isoformat() if row.suspended_at else None,
        "suspend_reason": row.suspend_reason,
    }
    row.is_active, row.suspended_at, row.suspend_reason = True, None, ""
    row.save(update_fields=["is_active", "suspended_at", "suspend_reason"])
    record("restore", actor, row, old=old, reason=reason)
    return row


def _revoke_all(person: User, actor: Actor, at: datetime) -> None:
    for token in ApiToken.objects.of(person).filter(revoked_at=None):
        revoke_token(actor=actor, token=token, at=at, reason=TOO_LONG)
    for peer in Peer.objects.filter(owner=person, revoked_at=None):
        revoke(actor=actor, peer=peer, at=at, reason=TOO_LONG)


def away_too_long(person: User, at: datetime) -> bool:
    """Say whether the person was suspended for longer than their devices wait; when nobody knows since when, they were."""
    if person.suspended_at is None:
        return True
    return (at - person.suspended_at) / timedelta(days=1) > settings.LATCHKEY_RESTORE_DEVICES_WITHIN
