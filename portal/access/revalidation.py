"""Ask the providers whether people's access lasts: many at once, by threads that do not know the database."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.core.cache import cache
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Count

from portal.access import decision, questions
from portal.access.answers import Answer, CannotTell, Gone, read
from portal.access.questions import Question
from portal.models import LossReason, RefreshToken
from portal.oidc import discovery, id_token
from portal.oidc.http import ProviderTrouble, StaleSignInError
from portal.oidc.identity import refresh_token_in
from portal.oidc.refresh import refresh, userinfo
from portal.oidc_config import Provider

logger = logging.getLogger(__name__)

DATABASE_BACK_WITHIN = 30  # seconds, for a token that was rotated and not yet committed
ALARM_EVERY = 300  # seconds between two records of the same alarm


Kept = TypeVar("Kept")


@dataclass(slots=True)
class Asked:
    """A question that is with its provider: what follows from the answer, and what it answered before."""

    question: Question
    provider: Provider
    document: dict[str, Any] = field(repr=False)
    tokens: dict[str, Any] = field(default_factory=dict, repr=False)


class Round:
    """The questions that are due at ``at``. Answers are heard in this thread, which alone has a connection."""

    def __init__(self, at: datetime, pool: ThreadPoolExecutor) -> None:
        self._begun, self._begun_at, self.pool = at, time.monotonic(), pool
        self.outcomes: Counter[str] = Counter()
        self._running: dict[Future[dict[str, Any]], Asked] = {}
        self._documents: dict[str, dict[str, Any] | ProviderTrouble] = {}

    def __len__(self) -> int:
        """Return how many questions are with their providers."""
        return len(self._running)

    @property
    def at(self) -> datetime:
        """What time it is in this round: a long one must not judge tokens, or claim questions, by when it began."""
        return self._begun + timedelta(seconds=time.monotonic() - self._begun_at)

    def ask(self, question: Question) -> None:
        if question.provider is None:
            return self._settle(question, CannotTell("not_configured"))
        if not question.token:  # no key of ours opens it: the provider would refuse what is no token
            return self._settle(question, CannotTell("unreadable_token"))
        document = self._document(question.provider)
        if isinstance(document, ProviderTrouble):
            return self._settle(question, CannotTell(document.failure, document.retry_after))
        asked = Asked(question, question.provider, document)
        self._running[self.pool.submit(refresh, asked.provider, document, question.token)] = asked
        return None

    def hear(self) -> None:
        """Wait until there is an answer, and do what follows."""
        for call in wait(self._running, return_when=FIRST_COMPLETED).done:
            asked = self._running.pop(call)
            try:
                self._go_on(asked, call.result())
            except StaleSignInError:
                self._settle(asked.question, Gone(LossReason.REFUSED))
            except ProviderTrouble as trouble:
                self._settle(asked.question, CannotTell(trouble.failure, trouble.retry_after))
            except (OperationalError, InterfaceError):
                raise
            except Exception:
                # One person's odd answer must not end the round: others' rotated tokens are on their way.
                logger.exception("question_failed")
                self._settle(asked.question, CannotTell("unexpected"))

    def _go_on(self, asked: Asked, answer: dict[str, Any]) -> None:
        if asked.tokens:
            self._settle(asked.question, self._read(asked, answer))
        elif (question := self._kept(asked.question, answer)) is None:
            self.outcomes["outdated"] += 1
        else:
            asked.question, asked.tokens = question, answer
            self._running[self.pool.submit(userinfo, asked.document, answer["access_token"])] = asked

    def _kept(self, question: Question, tokens: dict[str, Any]) -> Question | None:
        """Return the question once a rotated token is committed, for the one before may be worthless; None: outdated."""
        rotated, at = refresh_token_in(tokens), self.at
        if rotated in {"", question.token}:
            return question
        if not _patiently(lambda: questions.rotate(question, rotated, at=at)):
            return None
        return replace(question, token=rotated, obtained_at=at)

    def _read(self, asked: Asked, claims: dict[str, Any]) -> Answer:
        """Return what the claims mean; an id_token that came with the tokens is checked as at a sign-in."""
        given = asked.tokens.get("id_token")
        signed = id_token.checked(asked.provider, given, at=self.at) if given else {"sub": claims.get("sub")}
        if {signed["sub"], claims.get("sub")} != {asked.question.sub}:
            raise ProviderTrouble("sub_mismatch")
        return read(asked.provider, {**signed, **claims}, asked.question.known)

    def _document(self, provider: Provider) -> dict[str, Any] | ProviderTrouble:
        """Return the provider's description, or its trouble; a provider that is down is waited for once a round."""
        if provider.id not in self._documents:
            try:
                self._documents[provider.id] = discovery.document(provider)
            except ProviderTrouble as trouble:
                self._documents[provider.id] = trouble
        return self._documents[provider.id]

    def _settle(self, question: Question, answer: Answer) -> None:
        self.outcomes[_patiently(lambda: questions.settle(question, answer, at=self.at))] += 1


def revalidate(at: datetime, *, stopped: Callable[[], bool] = lambda: False) -> Counter[str]:
    """Ask about everyone who is due at ``at``, and return how many people came to which end.

    What an administrator has released is carried out first. Any number of processes may do so at once: each person is
    asked about by one of them.
    """
    parallel = settings.LATCHKEY_REVALIDATE_PARALLEL
    released = decision.carry_out(at, stopped=stopped)
    with ThreadPoolExecutor(parallel) as pool:
        this = Round(at, pool)
        while True:
            claim = partial(questions.claim, this.at, parallel - len(this))
            due = [] if stopped() else _patiently(claim)
            for question in due:
                this.ask(question)
            if this:
                this.hear()
            elif not due:
                break
    _alarm(at)
    return this.outcomes + Counter(released=released)


def _patiently(commit: Callable[[], Kept]) -> Kept:
    """Return what ``commit`` returns, and wait for a database that is away: rotated tokens on their way exist nowhere else."""
    for _ in range(DATABASE_BACK_WITHIN):
        try:
            return commit()
        except (OperationalError, InterfaceError):
            logger.warning("database_away")
            connection.close()
            time.sleep(1)
    return commit()


def unanswered(at: datetime) -> dict[str, int]:
    """Return by provider's id how many people nobody has been able to ask about for too long."""
    since = at - settings.LATCHKEY_REVALIDATE_ALARM_AFTER
    rows = RefreshToken.objects.filter(questions.watched(at), failing_since__lte=since).order_by()
    return dict(rows.values_list("provider").annotate(people=Count("*")))


def _alarm(at: datetime) -> None:
    if (found := unanswered(at)) and cache.add("revalidation-alarm", "yes", ALARM_EVERY):
        logger.error("revalidation_alarm", extra={"people": found})
