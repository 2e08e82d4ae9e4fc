"""Make and change service accounts, suspend them, which cuts every machine of theirs, and restore them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction

from peers.audit import Actor, record
from peers.models import Interface, ServiceAccount

# What an administrator sets.
ACCOUNT_SETTINGS = (
    "name", "team", "device_limit", "default_ttl", "max_ttl", "idle_after", "source_networks",
)  # fmt: skip


@transaction.atomic
def save_account(*, actor: Actor, account: ServiceAccount, interfaces: Iterable[Interface]) -> ServiceAccount:
    """Insert a service account, or update its settings, with what changed in the audit. Raise IntegrityError."""
    before = ServiceAccount.objects.select_for_update(no_key=True).filter(pk=account.pk).first()
    old = _texts(before, before.interfaces.all()) if before else {}
    wanted = sorted(interfaces, key=str)
    if before is None:
        account.save(force_insert=True)
    account.interfaces.set(wanted)
    account.save(update_fields=ACCOUNT_SETTINGS)  # after its interfaces: gateways look again because of it
    account.refresh_from_db()
    new = _texts(account, wanted)
    changed = [name for name in new if old.get(name) != new[name]]
    if changed:
        record(
            "change_account" if before else "create_account", actor, account,
            old={name: old[name] for name in changed if name in old}, new={name: new[name] for name in changed},
        )  # fmt: skip
    return account


@transaction.atomic
def suspend_account(*, actor: Actor, account: ServiceAccount, at: datetime, reason: str) -> ServiceAccount:
    """Return the account suspended: its machines are off and its tokens refused until it is restored. Twice changes nothing."""
    row = ServiceAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
    if row.suspended_at is None:
        row.suspended_at, row.suspend_reason = at, reason
        row.save(update_fields=["suspended_at", "suspend_reason"])
        record("suspend", actor, row, reason=reason)
    return row


@transaction.atomic
def restore_account(*, actor: Actor, account: ServiceAccount, reason: str = "") -> ServiceAccount:
    """Return the account no longer suspended; twice changes nothing."""
    row = ServiceAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
    if row.suspended_at is not None:
        old = {"suspended_at": row.suspended_at.isoformat(), "suspend_reason": row.suspend_reason}
        row.suspended_at, row.suspend_reason = None, ""
        row.save(update_fields=["suspended_at", "suspend_reason"])
        record("restore", actor, row, old=old, reason=reason)
    return row


def _texts(account: ServiceAccount, interfaces: Iterable[Interface]) -> dict[str, str]:
    values: dict[str, Any] = {name: getattr(account, name) for name in ACCOUNT_SETTINGS}
    values["interfaces"] = sorted(map(str, interfaces))
    return {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in values.items()
    }
