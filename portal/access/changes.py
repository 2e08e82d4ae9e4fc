"""Change a person's access by the provider's word, or hold the change: each in the caller's transaction, with its audit row."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from peers import audit
from peers.models import AuditEvent, Peer
from portal import sessions
from portal.access import brake
from portal.models import HeldLoss, LossReason, RefreshToken, User
from portal.oidc_config import Provider

logger = logging.getLogger(__name__)


class MoreHeld(Exception):
    """More is held than whoever decides about it was shown."""


@dataclass(frozen=True, slots=True)
class By:
    """Who brings a change about: a person, with the address they did it from, or else a command."""

    person: User | None = None
    source: str | None = None

    def record(self, action: str, target: User | None, **values: Any) -> None:
        kind = AuditEvent.ActorKind.PERSON if self.person else AuditEvent.ActorKind.COMMAND
        audit.record(action, actor=self.person, actor_kind=kind, source=self.source, target=target, **values)


def end(
    person: User, reason: LossReason, *, by: By, at: datetime, groups: frozenset[str] | None = None
) -> bool:
    """End the access of a locked person, or hold that; say whether it has ended. ``groups`` are what the provider names.

    Call it after ``brake.queue``. Ended twice changes nothing.
    """
    if person.access_ended_at is not None:
        return True
    cut = _entitled(person).count()
    if cut and brake.holds(person.pk):
        return _hold(person, reason, None, by=by, at=at)
    _end(person, reason, by=by, at=at, cut=cut)
    if groups is not None:
        person.groups_claim = sorted(groups)
        person.save(update_fields=["groups_claim"])
    return True


def regroup(person: User, provider: Provider, groups: frozenset[str], *, by: By, at: datetime) -> bool:
    """Give a locked person the groups that the provider names, or hold that; say whether they have them.

    Call it after ``brake.queue``. Only what takes an entitled device off can be held; what is no longer lost is not held.
    """
    cut = _lost_without(groups, person)
    if cut and brake.holds(person.pk):
        _limit_rights(person, provider, groups)
        return _hold(person, LossReason.GROUP_LOST, groups, by=by, at=at)
    withdraw(person, by=by)
    _regroup(person, provider, groups, by=by, cut=cut)
    return True


def _limit_rights(person: User, provider: Provider, groups: frozenset[str]) -> None:
    """Take an administrator's rights away with their group, whatever else is held: that cuts no tunnel."""
    if person.is_staff and not provider.admin_groups & groups:
        person.is_staff = person.is_superuser = False
        person.save(update_fields=["is_staff", "is_superuser"])


def withdraw(person: User, *, by: By) -> None:
    """Drop what is held against a person, because the provider vouches for them or somebody else has decided."""
    if HeldLoss.objects.filter(person=person).delete()[0]:
        by.record("loss_withdrawn", person)


@transaction.atomic
def forgo_token(person: User, *, by: By, at: datetime) -> None:
    """Do without the person's refresh token, which is about to end at the provider: the lease is a short one from now.

    Asked with a token that has ended, the provider would refuse, and devices would go off because somebody signed out.
    """
    row = User.objects.select_for_update(no_key=True).get(pk=person.pk)
    if row.signed_in_at is None or not RefreshToken.objects.filter(person=row).delete()[0]:
        return
    row.lease_limit = at - row.signed_in_at + settings.LATCHKEY_LEASE_WITHOUT_REFRESH_TOKEN
    row.save(update_fields=["lease_limit"])
    by.record("token_forgone", row)


@transaction.atomic
def release(providers: dict[str, Provider], *, agreed: int, by: By, at: datetime) -> int:
    """Carry out all that the brake holds, and return how many people that cut off; ``providers`` by issuer.

    Raise MoreHeld when it is more than was ``agreed`` to.
    """
    held = _held(agreed)
    people = (
        User.objects.select_for_update(no_key=True).order_by("pk").in_bulk([loss.person_id for loss in held])
    )
    by.record("release_access", None, new={"people": len(held)})
    for loss in held:
        person = people[loss.person_id]
        HeldLoss.objects.filter(person=person).delete()
        if loss.groups is None:
            _end(person, LossReason(loss.reason), by=by, at=at, cut=_entitled(person).count())
        else:
            groups = frozenset(loss.groups)
            cut = _lost_without(groups, person)
            _regroup(person, providers.get(person.issuer), groups, by=by, cut=cut)
    return len(held)


@transaction.atomic
def discard(*, agreed: int, by: By) -> int:
    """Forget all that the brake holds, and return how much it was; the provider is asked again in its turn.

    Raise MoreHeld when it is more than was ``agreed`` to.
    """
    held = _held(agreed)
    by.record("discard_access", None, new={"people": len(held)})
    for loss in held:
        withdraw(loss.person, by=by)
    return len(held)


def _held(agreed: int) -> list[HeldLoss]:
    """Return what is held, once nothing more can be."""
    brake.queue()
    held = list(HeldLoss.objects.select_related("person").order_by("person"))
    if len(held) > agreed:
        raise MoreHeld
    return held


def _entitled(person: User) -> QuerySet[Peer]:
    return Peer.objects.entitled(Now()).filter(owner=person)


def _lost_without(groups: frozenset[str], person: User) -> int:
    """Return how many devices of the person's, if those are all their groups, no interface admits any longer."""
    asked = _entitled(person).exclude(interface__enrol_groups=[])
    return asked.exclude(interface__enrol_groups__overlap=sorted(groups)).count()


def _end(person: User, reason: LossReason, *, by: By, at: datetime, cut: int) -> None:
    """End it: peers by the row, sessions at once. Administrators stay what they are unless their groups are known.

    A break-glass link is for them when a provider that is out of order has refused everybody.
    """
    person.access_ended_at, person.access_end_reason = at, reason
    fields = ["access_ended_at", "access_end_reason"]
    if reason == LossReason.GROUP_LOST:
        person.is_staff = person.is_superuser = False
        fields += ["is_staff", "is_superuser"]
    person.save(update_fields=fields)
    RefreshToken.objects.filter(person=person).delete()
    HeldLoss.objects.filter(person=person).delete()
    sessions.forget(person)
    by.record("access_ended", person, new={"why": str(reason), "devices": cut})


def _regroup(person: User, provider: Provider | None, groups: frozenset[str], *, by: By, cut: int) -> None:
    old, new = person.groups_claim, sorted(groups)
    is_admin = provider is not None and bool(provider.admin_groups & groups)
    if (old, person.is_superuser, person.is_staff) == (new, is_admin, is_admin):
        return
    person.groups_claim = new
    person.is_staff = person.is_superuser = is_admin
    person.save(update_fields=["groups_claim", "is_staff", "is_superuser"])
    if old != new and person.signed_in_at is not None:  # of a first sign-in that alone is on record
        by.record("groups_changed", person, old={"groups": old}, new={"groups": new, "devices": cut})


def _hold(person: User, reason: LossReason, groups: frozenset[str] | None, *, by: By, at: datetime) -> bool:
    if not HeldLoss.objects.exists():
        logger.error("identity_brake_engaged")
    kept = None if groups is None else sorted(groups)
    held, is_new = HeldLoss.objects.update_or_create(
        person=person,
        defaults={"reason": reason, "groups": kept},
        create_defaults={"reason": reason, "groups": kept, "found_at": at},
    )
    if is_new:
        new = {"why": str(reason), **({} if kept is None else {"groups": kept})}
        by.record("loss_held", held.person, new=new)
    return False
