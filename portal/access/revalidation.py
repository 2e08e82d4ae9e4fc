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
from django.db.models import Count, Q

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

DATABASE_AWAY = (OperationalError, InterfaceError)
DATABASE_BACK_WITHIN = 30  # seconds, for a token that was rotated and not yet committed
DESCRIBED_FOR = 60  # seconds that a provider's description, or its trouble, is taken for what it was
LONGEST_ROUND = timedelta(minutes=5)  # that is: what else a round does is done as often
ALARM_EVERY = 300  # seconds between two records of the same alarm

Kept = TypeVar("Kept")


@dataclass(slots=True)
class Asked:
    """A question that is with its provider: what it answered so far, and where to ask it on."""

    question: Question
    provider: Provider
    document: dict[str, Any] = field(repr=False)
    tokens: dict[str, Any] = field(default_factory=dict, repr=False)


class Round:
    """The questions that are due at ``begun``. Answers are heard in this thread, which alone has a connection."""

    def __init__(self, begun: datetime, pool: ThreadPoolExecutor) -> None:
        self.begun, self._begun_at, self._pool = begun, time.monotonic(), pool
        self.outcomes: Counter[str] = Counter()
        self._running: dict[Future[dict[str, Any]], Asked] = {}
        self._documents: dict[str, tuple[datetime, dict[str, Any] | ProviderTrouble]] = {}

    def __len__(self) -> int:
        """Return how many questions are with their providers."""
        return len(self._running)

    @property
    def at(self) -> datetime:
        """What time it is in this round: a long one must not judge tokens, or claim questions, by when it began."""
        return self.begun + timedelta(seconds=time.monotonic() - self._begun_at)

    def ask(self, question: Question) -> None:
        asked = _tried(lambda: self._prepared(question))
        if isinstance(asked, CannotTell):
            self._settle(question, asked)
        else:
            self._running[self._pool.submit(refresh, asked.provider, asked.document, question.token)] = asked

    def hear(self) -> None:
        """Wait until there is an answer, and do what follows."""
        for call in wait(self._running, return_when=FIRST_COMPLETED).done:
            asked = self._running.pop(call)
            if not asked.tokens:
                self._hear_tokens(asked, call)
            else:
                self._settle(asked.question, self._read(asked, call))

    def _prepared(self, question: Question) -> Asked:
        """Return what to ask and where; raise ProviderTrouble when that is not known, and so nothing is asked."""
        if question.provider is None:
            raise ProviderTrouble("not_configured")
        if not question.token:  # no key of ours opens it: the provider would refuse what is no token
            raise ProviderTrouble("unreadable_token")
        return Asked(question, question.provider, self._document(question.provider))

    def _hear_tokens(self, asked: Asked, call: Future[dict[str, Any]]) -> None:
        """Keep a rotated token before anything else, for the one before may be worthless; then ask about the person."""
        try:
            tokens = _tried(call.result)
        except StaleSignInError:
            return self._settle(asked.question, Gone(LossReason.REFUSED))
        if isinstance(tokens, CannotTell):
            unsure = asked.question.unsure or not tokens.did_nothing
            return self._settle(replace(asked.question, unsure=unsure), tokens)
        kept = self._kept(asked.question, tokens)
        if kept is None:
            self.outcomes["outdated"] += 1
            return None
        asked.question, asked.tokens = kept, tokens
        self._running[self._pool.submit(userinfo, asked.document, tokens["access_token"])] = asked
        return None

    def _kept(self, question: Question, tokens: dict[str, Any]) -> Question | None:
        """Return the question as it goes on, once its token is committed; None: it is outdated."""
        rotated, at = refresh_token_in(tokens), self.at
        if rotated in {"", question.token}:
            # A token that cannot be kept may have taken the place of the question's all the same.
            return replace(question, unsure=not rotated and bool(tokens.get("refresh_token")))
        if not _patiently(lambda: questions.rotate(question, rotated, at=at)):
            return None
        return replace(question, token=rotated, obtained_at=at, unsure=False)

    def _read(self, asked: Asked, call: Future[dict[str, Any]]) -> Answer:
        return _tried(lambda: _patiently(lambda: _answer(asked, call.result(), self.at)))

    def _document(self, provider: Provider) -> dict[str, Any]:
        """Return the provider's description; raise its trouble, which is not tried again for each person."""
        known_at, known = self._documents.get(provider.id, (self.begun, None))
        if known is None or self.at - known_at > timedelta(seconds=DESCRIBED_FOR):
            known = _patiently(lambda: _described(provider))
            self._documents[provider.id] = self.at, known
        if isinstance(known, ProviderTrouble):
            raise known.with_traceback(None)
        return known

    def _settle(self, question: Question, answer: Answer) -> None:
        try:
            outcome = _patiently(lambda: questions.settle(question, answer, at=self.at))
        except DATABASE_AWAY:
            raise
        except Exception:
            logger.exception("question_failed")
            outcome = "cannot_tell"
        self.outcomes[outcome] += 1


def _tried(do: Callable[[], Kept]) -> Kept | CannotTell:
    """Return what ``do`` returns, or that nobody can tell: one odd answer must not end the round, for others' tokens are on their way."""
    try:
        return do()
    except ProviderTrouble as trouble:
        return CannotTell(trouble.failure, trouble.retry_after)
    except (StaleSignInError, *DATABASE_AWAY):
        raise
    except Exception:
        logger.exception("question_failed")
        return CannotTell("unexpected")


def _described(provider: Provider) -> dict[str, Any] | ProviderTrouble:
    """Return the provider's description once its keys are at hand too, or its trouble with either."""
    try:
        document = discovery.document(provider)
        discovery.keys(provider)
    except ProviderTrouble as trouble:
        return trouble
    return document


def _answer(asked: Asked, claims: dict[str, Any], at: datetime) -> Answer:
    """Return what the claims mean; an id_token that came with the tokens is checked as at a sign-in."""
    given = asked.tokens.get("id_token")
    signed = id_token.checked(asked.provider, given, at=at) if given else {"sub": claims.get("sub")}
    if {signed["sub"], claims.get("sub")} != {asked.question.sub}:
        raise ProviderTrouble("sub_mismatch")
    return read(asked.provider, {**signed, **claims}, asked.question.known)


def revalidate(at: datetime, *, stopped: Callable[[], bool] = lambda: False) -> Counter[str]:
    """Ask about everyone who is due at ``at``, and return how many people came to which end.

    What an administrator has released is carried out first. Any number of processes may do so at once: each person is
    asked about by one of them. Who becomes due meanwhile, or is left when a round has lasted long enough, waits for the next.
    """
    parallel = settings.LATCHKEY_REVALIDATE_PARALLEL
    released = decision.carry_out(at, stopped=stopped)
    questions.pass_over(at)
    with ThreadPoolExecutor(parallel) as pool:
        asking = Round(at, pool)
        while True:
            claim = partial(questions.claim, asking.at, parallel - len(asking), due_by=at)
            due = [] if stopped() or asking.at - at > LONGEST_ROUND else _patiently(claim)
            for question in due:
                asking.ask(question)
            if asking:
                asking.hear()
            elif not due:
                break
    _alarm(asking.at)
    return asking.outcomes + Counter(released=released)


def _patiently(commit: Callable[[], Kept]) -> Kept:
    """Return what ``commit`` returns, and wait for a database that is away: rotated tokens on their way exist nowhere else."""
    for _ in range(DATABASE_BACK_WITHIN):
        try:
            return commit()
        except DATABASE_AWAY:
            logger.warning("database_away")
            connection.close()
            time.sleep(1)
    return commit()


def unanswered(at: datetime) -> dict[str, int]:
    """Return by provider's id how many people nobody has had an answer about, or has asked about, for too long."""
    since = at - settings.LATCHKEY_REVALIDATE_ALARM_AFTER
    overdue = Q(failing_since__lte=since) | Q(due_at__lte=since)
    rows = RefreshToken.objects.filter(questions.watched(at), overdue).order_by()
    return dict(rows.values_list("provider").annotate(people=Count("*")))


def _alarm(at: datetime) -> None:
    if (found := unanswered(at)) and cache.add("revalidation-alarm", "yes", ALARM_EVERY):
        logger.error("revalidation_alarm", extra={"people": found})
