"""The questions that are due, and what is written down of each answer; every function is one short transaction."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from peers.models import LEASE_UNTIL, Peer, entitlement
from portal.access import brake, changes
from portal.access.answers import Answer, CannotTell, Fine, Gone
from portal.access.changes import By
from portal.models import LossReason, RefreshToken, User
from portal.oidc_config import Provider

CLAIMED = timedelta(
    minutes=1
)  # that a question is left to whoever asks it: two calls of five seconds are well within
LONGEST_PAUSE = timedelta(hours=1)
JITTER = 0.2  # of a pause, either way: people who signed in together are not asked about together for ever


ASKED = "asked"  # and no answer yet: whoever asked may be gone, and the answer with them
# After these the provider may have given out another token that never arrived.
LOST = {ASKED, "timeout", "ConnectionError", "ChunkedEncodingError", "ReadTimeout"}


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a person's access lasts, asked with the token of ``obtained_at``; ``known`` are their groups until now.

    ``provider`` is None when the settings know it no more. ``unsure``: an answer to this token was lost, and with it
    perhaps the token that takes its place.
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
    signed_in = Q(
        person__signed_in_at__gt=at - settings.LATCHKEY_SESSION_AGE,
        person__is_active=True,
        person__access_ended_at=None,
    )
    return signed_in | Q(Exists(peers))


def _due(at: datetime) -> Q:
    """Return the condition that it is time; what is due absurdly late was written while the clock was wrong."""
    longest = 2 * max(LONGEST_PAUSE, settings.LATCHKEY_REVALIDATE_EVERY)
    return Q(due_at__lte=at) | Q(due_at__gt=at + longest)


@transaction.atomic
def claim(at: datetime, count: int) -> list[Question]:
    """Return up to ``count`` questions that are due, and leave them to nobody else for a minute."""
    due = RefreshToken.objects.select_for_update(skip_locked=True, of=("self",)).select_related("person")
    rows = list(due.filter(watched(at), _due(at)).order_by("due_at")[:count])
    claimed = RefreshToken.objects.filter(pk__in=[row.pk for row in rows])
    claimed.update(due_at=at + CLAIMED, trouble=ASKED)
    return [_question(row) for row in rows]


@transaction.atomic
def rotate(question: Question, refresh_token: str, *, at: datetime) -> bool:
    """Keep the token that takes the place of the question's; say whether it is still the question."""
    rows = RefreshToken.objects.select_for_update().filter(
        person=question.person, obtained_at=question.obtained_at
    )
    if (row := rows.first()) is None:
        return False
    row.token, row.obtained_at = refresh_token, at
    row.save(update_fields=["token", "obtained_at"])
    return True


@transaction.atomic
def settle(question: Question, answer: Answer, *, at: datetime) -> str:
    """Do what the answer means, if it is still the question, and return the word for what came of it."""
    brake.queue()
    person = User.objects.select_for_update(no_key=True).get(pk=question.person)
    rows = RefreshToken.objects.select_for_update().filter(person=person, obtained_at=question.obtained_at)
    if (row := rows.first()) is None:
        return "outdated"
    match answer:
        case CannotTell():
            _put_off(row, answer, at)
            return "cannot_tell"
        case Gone(reason=LossReason.REFUSED) if question.unsure:
            # Perhaps it only refuses what a lost answer has spent: that is no word on the person.
            changes.forgo_token(person, by=By(), at=at)
            return "cannot_tell"
        case Gone():
            _answered(row, at)
            return (
                "gone" if changes.end(person, answer.reason, by=By(), at=at, groups=answer.groups) else "held"
            )
        case Fine():
            _answered(row, at)
            return _fine(person, question.provider, answer.groups, at)


def next_question(at: datetime) -> datetime:
    """Return when a person of whom something was heard at ``at`` is asked about again."""
    return at + _about(settings.LATCHKEY_REVALIDATE_EVERY)


def _fine(person: User, provider: Provider | None, groups: frozenset[str] | None, at: datetime) -> str:
    if groups is None or provider is None:
        changes.withdraw(person, by=By())
        return "fine"
    return "fine" if changes.regroup(person, provider, groups, by=By(), at=at) else "held"


def _question(row: RefreshToken) -> Question:
    known = (provider for provider in settings.OIDC_PROVIDERS if provider.id == row.provider)
    return Question(
        person=row.person_id,
        sub=row.person.sub,
        known=frozenset(row.person.groups_claim),
        provider=next((provider for provider in known if provider.issuer == row.person.issuer), None),
        token=row.token,
        obtained_at=row.obtained_at,
        unsure=row.trouble in LOST,
    )


def _answered(row: RefreshToken, at: datetime) -> None:
    row.answered_at, row.due_at = at, next_question(at)
    row.failing_since, row.failures, row.trouble = None, 0, ""
    row.save(update_fields=["answered_at", "due_at", "failing_since", "failures", "trouble"])


def _put_off(row: RefreshToken, answer: CannotTell, at: datetime) -> None:
    """Wait twice as long as the last time, and at least as long as the provider asks for; an hour at the most."""
    row.failing_since = row.failing_since or at
    pause = settings.LATCHKEY_REVALIDATE_EVERY * 2 ** min(row.failures, 12)
    pause = max(_about(pause), timedelta(seconds=answer.retry_after or 0))
    row.failures, row.trouble, row.due_at = (
        row.failures + 1,
        answer.failure[:40],
        at + min(pause, LONGEST_PAUSE),
    )
    row.save(update_fields=["failing_since", "failures", "trouble", "due_at"])


def _about(pause: timedelta) -> timedelta:
    return pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # no secret hangs on it
