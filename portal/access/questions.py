"""The questions that are due, and what is written down of each answer; every function is one short transaction."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from peers.audit import Actor
from peers.models import LEASE_UNTIL, Peer, entitlement
from portal.access import brake, changes
from portal.access.answers import Answer, CannotTell, Fine, Gone
from portal.models import LossReason, RefreshToken, User
from portal.oidc_config import Provider, by_id

# That a question is left to whoever asks it: two calls of five seconds are well within.
CLAIMED = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
JITTER = 0.2  # of a pause, either way: people who signed in together are not asked about together for ever


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a person's access lasts, asked with the token of ``obtained_at``; ``known`` are their groups until now.

    ``provider`` is None when the settings know it no more. ``unsure``: an answer to this token may have been lost, and
    with it the token that takes its place.
    """

    person: int
    sub: str
    known: frozenset[str]
    provider: Provider | None
    token: str = field(repr=False)
    obtained_at: datetime
    unsure: bool = False


def watched(at: datetime) -> Q:
    """Return the condition that a person is asked about: they may have a session, or a device that only a group may bar.

    One that lost its group comes back with it, so its owner is asked about all the same.
    """
    conditions = (condition for name, condition in entitlement(at).items() if name != "admitted")
    peers = Peer.objects.alias(lease_until=LEASE_UNTIL).filter(*conditions, owner=OuterRef("person"))
    longest_session = max(settings.LATCHKEY_SESSION_AGE, settings.LATCHKEY_ADMIN_SESSION_AGE)
    signed_in = Q(
        person__signed_in_at__gt=at - longest_session,
        person__is_active=True,
        person__access_ended_at=None,
    )
    return signed_in | Q(Exists(peers))


def _due(by: datetime, at: datetime) -> Q:
    """Return the condition that it was time by ``by``; what is due absurdly late at ``at`` was written while the clock was wrong."""
    longest = 2 * max(LONGEST_PAUSE, settings.LATCHKEY_REVALIDATE_EVERY)
    return Q(due_at__lte=by) | Q(due_at__gt=at + longest)


@transaction.atomic
def pass_over(at: datetime) -> None:
    """Put off the questions that are due and that nobody needs an answer to, else every claim would look at each of them."""
    rows = RefreshToken.objects.select_for_update(skip_locked=True, of=("self",))
    needless = list(rows.filter(_due(at, at), ~watched(at)).values_list("pk", flat=True))
    RefreshToken.objects.filter(pk__in=needless).update(due_at=at + settings.LATCHKEY_REVALIDATE_EVERY)


@transaction.atomic
def claim(at: datetime, count: int, *, due_by: datetime | None = None) -> list[Question]:
    """Return up to ``count`` questions that are due, by ``due_by`` where that is given, and leave them to nobody else for a minute.

    Whoever claims may die with the answer on its way: until it is settled, the token may be spent.
    """
    due = RefreshToken.objects.select_for_update(skip_locked=True, of=("self",)).select_related("person")
    rows = list(due.filter(watched(at), _due(due_by or at, at)).order_by("due_at")[:count])
    claimed = RefreshToken.objects.filter(pk__in=[row.pk for row in rows])
    claimed.update(due_at=at + CLAIMED, unsure=True)
    return [_question(row) for row in rows]


@transaction.atomic
def rotate(question: Question, refresh_token: str, *, at: datetime) -> bool:
    """Keep the token that takes the place of the question's; say whether it is still the question."""
    rows = RefreshToken.objects.select_for_update().filter(
        person=question.person, obtained_at=question.obtained_at
    )
    if (row := rows.first()) is None:
        return False
    row.token, row.obtained_at, row.unsure = refresh_token, at, False
    row.save(update_fields=["token", "obtained_at", "unsure"])
    return True


@transaction.atomic
def settle(question: Question, answer: Answer, *, at: datetime) -> str:
    """Do what the answer means, if it is still the question, and return the word for what came of it."""
    brake.lock()
    person = User.objects.select_for_update(no_key=True).get(pk=question.person)
    rows = RefreshToken.objects.select_for_update().filter(person=person, obtained_at=question.obtained_at)
    if (row := rows.first()) is None:
        return "outdated"
    row.unsure = question.unsure
    match answer:
        case CannotTell():
            _put_off(row, answer, at)
            return "cannot_tell"
        case Gone(reason=LossReason.REFUSED) if question.unsure:
            # Perhaps it only refuses what a lost answer has spent: that is no word on the person.
            changes.forgo_token(person, why="answer_lost", actor=Actor(), at=at)
            return "cannot_tell"
        case Gone():
            _answered(row, at)
            ended = changes.end(person, answer.reason, actor=Actor(), at=at, groups=answer.groups)
            return "gone" if ended else "held"
        case Fine():
            _answered(row, at)
            return _fine(person, question.provider, answer.groups)


def next_question(at: datetime) -> datetime:
    """Return when a person of whom something was heard at ``at`` is asked about again."""
    return at + _about(settings.LATCHKEY_REVALIDATE_EVERY)


def _fine(person: User, provider: Provider | None, groups: frozenset[str] | None) -> str:
    if groups is None or provider is None:
        changes.withdraw(person, actor=Actor())
        return "fine"
    return "fine" if changes.regroup(person, provider, groups, actor=Actor()) else "held"


def _question(row: RefreshToken) -> Question:
    provider = by_id(row.provider)
    return Question(
        person=row.person_id,
        sub=row.person.sub,
        known=frozenset(row.person.groups_claim),
        provider=provider if provider and provider.issuer == row.person.issuer else None,
        token=row.token,
        obtained_at=row.obtained_at,
        unsure=row.unsure,
    )


def _answered(row: RefreshToken, at: datetime) -> None:
    row.answered_at, row.due_at = at, next_question(at)
    row.failing_since, row.failures, row.trouble = None, 0, ""
    row.save(update_fields=["answered_at", "due_at", "unsure", "failing_since", "failures", "trouble"])


def _put_off(row: RefreshToken, answer: CannotTell, at: datetime) -> None:
    """Wait twice as long as the last time, and at least as long as the provider asks for; an hour at the most."""
    row.failing_since = row.failing_since or at
    pause = settings.LATCHKEY_REVALIDATE_EVERY * 2 ** min(row.failures, 12)
    pause = max(_about(pause), timedelta(seconds=answer.retry_after or 0))
    row.failures, row.trouble = row.failures + 1, answer.failure[:40]
    row.due_at = at + min(pause, LONGEST_PAUSE)
    row.save(update_fields=["failing_since", "failures", "trouble", "unsure", "due_at"])


def _about(pause: timedelta) -> timedelta:
    return pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # no secret hangs on it
