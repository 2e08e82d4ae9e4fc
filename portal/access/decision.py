"""Do with what the identity brake holds as an administrator decides: on record at once, carried out in small steps."""

from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from peers.audit import Actor, record, record_each
from peers.models import Peer
from portal.access import brake, changes
from portal.models import HeldLoss, LossReason, User
from portal.oidc_config import by_issuer

STEP = 50  # people: whoever signs in meanwhile waits for one step, not for all


class MoreHeld(Exception):
    """Something is held that whoever decides was not shown."""


@transaction.atomic
def release(*, seen: datetime, actor: Actor, at: datetime) -> int:
    """Let all that the brake holds be carried out, and return of how many people; ``carry_out`` does it.

    Raise MoreHeld when anything is held since ``seen``, the latest ``found_at`` that the administrator was shown.
    """
    people = _held(seen).update(released_at=at, released_by=actor.user)
    if people:
        record("release_access", actor, None, new={"people": people})
    return people


@transaction.atomic
def discard(*, seen: datetime, actor: Actor) -> int:
    """Forget all that the brake holds, and return of how many people; the provider is asked again in its turn.

    Raise MoreHeld when anything is held since ``seen``.
    """
    held = _held(seen)
    people = list(User.objects.filter(held_loss__in=held))
    held.delete()
    if people:
        record("discard_access", actor, None, new={"people": len(people)})
        record_each("loss_withdrawn", actor, people)
    return len(people)


def carry_out(at: datetime, *, stopped: Callable[[], bool]) -> int:
    """Carry out what is released, and what would take nothing off an interface any more; return of how many people.

    What is left when it is ``stopped``, which is asked between two steps, waits for the next time.
    """
    people = 0
    while not stopped() and (step := _carry_out_some(at)):
        people += step
    return people


def _held(seen: datetime) -> QuerySet[HeldLoss]:
    """Return what waits for a word, once nothing more can be held; raise MoreHeld."""
    brake.lock()
    held = HeldLoss.objects.undecided()
    if held.filter(found_at__gt=seen).exists():
        raise MoreHeld
    return held


@transaction.atomic
def _carry_out_some(at: datetime) -> int:
    brake.lock()
    entitled = Peer.objects.entitled(Now()).filter(owner=OuterRef("person"))
    ready = HeldLoss.objects.filter(Q(released_at__isnull=False) | ~Exists(entitled))
    found = list(ready.order_by("person").values_list("pk", flat=True)[:STEP])
    people = User.objects.select_for_update(no_key=True).order_by("pk").in_bulk(found)
    # Before the locks were had, an administrator may have suspended some, which decides about them.
    still = HeldLoss.objects.filter(pk__in=found)
    losses = list(still.select_related("released_by").order_by("person"))
    still.delete()
    for loss in losses:
        _carry_out(loss, people[loss.pk], at)
    return len(found)


def _carry_out(loss: HeldLoss, person: User, at: datetime) -> None:
    actor = Actor(user=loss.released_by)
    if loss.groups is None:
        changes.end(person, LossReason(loss.reason), actor=actor, at=at, released=True)
        return
    changes.regroup(person, by_issuer(person.issuer), frozenset(loss.groups), actor=actor, released=True)
