"""Change a person's access by the provider's word, or hold the change: each in the caller's transaction, with its audit row."""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from peers.audit import Actor, record
from peers.models import Peer
from portal import sessions
from portal.access import brake
from portal.models import LONGEST_LEASE, HeldLoss, LossReason, RefreshToken, User
from portal.oidc_config import Provider

logger = logging.getLogger(__name__)


def end(
    person: User,
    reason: LossReason,
    *,
    actor: Actor,
    at: datetime,
    groups: frozenset[str] | None = None,
    released: bool = False,
) -> bool:
    """End the access of a locked person, or hold that; say whether it has ended. ``groups`` are what the provider names.

    Call it after ``brake.lock``. Ended twice changes nothing. What was ``released`` is not held again. An administrator's
    rights go with their groups, whatever else is held: that cuts no tunnel.
    """
    if reason == LossReason.GROUP_LOST:
        _set_rights(person, is_admin=False, actor=actor)
    if person.access_ended_at is None:
        cut = _entitled(person).count()
        if cut and not released and brake.holds(person.pk):
            _hold(person, reason, None, actor=actor)
            return False
        _end(person, reason, actor=actor, at=at, cut=cut)
    if groups is not None:
        _regroup(person, groups, actor=actor, cut=0)
    return True


def regroup(
    person: User,
    provider: Provider | None,
    groups: frozenset[str],
    *,
    actor: Actor,
    released: bool = False,
) -> bool:
    """Give a locked person the groups that the provider names, or hold that; say whether they have them.

    Call it after ``brake.lock``. Only what takes an entitled device off can be held; what is no longer lost is not held.
    An administrator's rights go with their group, whatever else is held: that cuts no tunnel.
    """
    cut = _lost_without(groups, person)
    held = bool(cut) and not released and brake.holds(person.pk)
    is_admin = provider is not None and bool(provider.admin_groups & groups)
    if not (held and is_admin):
        _set_rights(person, is_admin=is_admin, actor=actor)
    if held:
        _hold(person, LossReason.GROUP_LOST, groups, actor=actor)
        return False
    withdraw(person, actor=actor)
    _regroup(person, groups, actor=actor, cut=cut)
    return True


def withdraw(person: User, *, actor: Actor) -> None:
    """Drop what is held against a person, because the provider vouches for them or somebody else has decided."""
    if HeldLoss.objects.filter(person=person).delete()[0]:
        record("loss_withdrawn", actor, person)


@transaction.atomic
def forgo_token(person: User, *, why: str, actor: Actor, at: datetime) -> None:
    """Do without the person's refresh token, which has ended at the provider or soon will: the lease is a short one from now.

    Asked with a token that has ended, the provider would refuse, and devices would go off because somebody signed out
    (``why`` is ``signed_out``) or because an answer with another token never arrived (``answer_lost``).
    """
    row = User.objects.select_for_update(no_key=True).get(pk=person.pk)
    if row.signed_in_at is None or not RefreshToken.objects.filter(person=row).delete()[0]:
        return
    since = max(at - row.signed_in_at, timedelta(0))  # a clock may have been wrong
    row.lease_limit = min(since + settings.LATCHKEY_LEASE_WITHOUT_REFRESH_TOKEN, LONGEST_LEASE)
    row.save(update_fields=["lease_limit"])
    record("token_forgone", actor, row, new={"why": why})


def _entitled(person: User) -> QuerySet[Peer]:
    return Peer.objects.entitled(Now()).filter(owner=person)


def _lost_without(groups: frozenset[str], person: User) -> int:
    """Return how many devices of the person's, if those are all their groups, no interface admits any longer."""
    asked = _entitled(person).exclude(interface__enrol_groups=[])
    return asked.exclude(interface__enrol_groups__overlap=sorted(groups)).count()


def _end(person: User, reason: LossReason, *, actor: Actor, at: datetime, cut: int) -> None:
    """End it: peers by the row, sessions at once. Administrators stay what they are unless their groups are known.

    A break-glass link is for them when a provider that is out of order has refused everybody.
    """
    person.access_ended_at, person.access_end_reason = at, reason
    person.save(update_fields=["access_ended_at", "access_end_reason"])
    RefreshToken.objects.filter(person=person).delete()
    HeldLoss.objects.filter(person=person).delete()
    sessions.forget(person)
    record("access_ended", actor, person, new={"why": str(reason), "devices": cut})


def _set_rights(person: User, *, is_admin: bool, actor: Actor) -> None:
    """Make the person an administrator, or no longer one."""
    old = {"is_staff": person.is_staff, "is_superuser": person.is_superuser}
    new = dict.fromkeys(old, is_admin)
    if old == new:
        return
    person.is_staff = person.is_superuser = is_admin
    person.save(update_fields=[*new])
    record("rights_changed", actor, person, old=old, new=new)


def _regroup(person: User, groups: frozenset[str], *, actor: Actor, cut: int) -> None:
    old, new = person.groups_claim, sorted(groups)
    if old == new:
        return
    person.groups_claim = new
    person.save(update_fields=["groups_claim"])
    if person.signed_in_at is not None:  # of a first sign-in that alone is on record
        record("groups_changed", actor, person, old={"groups": old}, new={"groups": new, "devices": cut})


def _hold(person: User, reason: LossReason, groups: frozenset[str] | None, *, actor: Actor) -> None:
    kept = None if groups is None else sorted(groups)
    if HeldLoss.objects.filter(person=person, reason=reason, groups=kept).exists():
        return
    if not HeldLoss.objects.undecided().exists():
        logger.error("identity_brake_engaged")
    # A loss that has changed is another one: what was said of the one before does not hold for it.
    HeldLoss.objects.filter(person=person).delete()
    HeldLoss.objects.create(person=person, reason=reason, groups=kept)
    record("loss_held", actor, person, new={"why": str(reason), **({} if kept is None else {"groups": kept})})
