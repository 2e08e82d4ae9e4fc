"""A person's sessions: begin one, say where they are signed in, end those that they do not want."""

from datetime import datetime, timedelta

from allauth.usersessions.models import UserSession
from django.contrib.auth import login
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest

from peers import audit
from portal import session_limits
from portal.assurance import Assurance, keep
from portal.models import User
from portal.source import source

BACKEND = "django.contrib.auth.backends.ModelBackend"
NOWHERE = "::"  # RFC 4291, section 2.5.2: the absence of an address, where the library's column wants one
USER_AGENT_LENGTH = UserSession._meta.get_field("user_agent").max_length  # noqa: SLF001  # Django's documented API
BEGAN_AT, LAST_ACT_AT = "began_at", "last_act_at"  # in the session
NOTED_EVERY = timedelta(minutes=1)  # so that not every page writes a row


def begin(request: HttpRequest, user: User, proved: Assurance, *, at: datetime) -> None:
    """Sign ``user`` in, and write down with which browser and from where; rows of sessions that are over go."""
    login(request, user, backend=BACKEND)
    keep(request.session, proved)
    start(request.session, at=at)
    if request.session.session_key is None:  # another person's session ended with this sign-in
        request.session.save()
    seen = {
        "user": user,
        "ip": source(request) or NOWHERE,
        "user_agent": _printable(request.headers.get("User-Agent", ""))[:USER_AGENT_LENGTH],
        "created_at": at,
        "last_seen_at": at,
    }
    UserSession.objects.update_or_create(session_key=request.session.session_key, defaults=seen)
    purge(at)


def start(session: SessionBase, *, at: datetime) -> None:
    """Let the limits of the session count from ``at``."""
    session[BEGAN_AT] = session[LAST_ACT_AT] = at.isoformat()


def began_at(session: SessionBase) -> datetime | None:
    """Return when the session began, which is when its sign-in was accepted; None for one from before that was kept."""
    return datetime.fromisoformat(session[BEGAN_AT]) if BEGAN_AT in session else None


def over(request: HttpRequest, person: User, *, at: datetime) -> session_limits.Over | None:
    """Return why the person's session is over at ``at``; None while it is not. One from before the limits begins now."""
    began_at, last_act_at = (
        datetime.fromisoformat(request.session.setdefault(name, at.isoformat()))
        for name in (BEGAN_AT, LAST_ACT_AT)
    )
    limits = session_limits.limits(person)
    return session_limits.over(limits, began_at=began_at, last_act_at=last_act_at, at=at)


def note_act(request: HttpRequest, *, at: datetime) -> None:
    """Write down that the person of the session does something, once a minute at most."""
    if at - datetime.fromisoformat(request.session[LAST_ACT_AT]) < NOTED_EVERY:
        return
    request.session[LAST_ACT_AT] = at.isoformat()
    UserSession.objects.filter(session_key=request.session.session_key).update(last_seen_at=at)


@transaction.atomic
def close(request: HttpRequest) -> None:
    """End the session of this request, and with it the enrolment links that it made."""
    UserSession.objects.filter(session_key=request.session.session_key).delete()
    request.session.flush()
    request.user = AnonymousUser()


def live(user: User, *, at: datetime) -> QuerySet[UserSession]:
    """Return the person's sessions that are not over at ``at``, the latest first."""
    limits = session_limits.limits(user)
    lasting = {"created_at__gt": at - limits.age, "last_seen_at__gt": at - limits.idle}
    found: QuerySet[UserSession] = UserSession.objects.filter(_is_live(at), user=user, **lasting)
    return found.order_by("-created_at", "-pk")


@transaction.atomic
def end(sessions: QuerySet[UserSession], *, person: User, address: str | None) -> bool:
    """End the person's ``sessions``, and with each the enrolment links that it made; say whether there was any."""
    ended = list(sessions.select_for_update(of=("self",)))
    if not ended:
        return False
    # Through the ORM, not the session's store: Django then takes the links along.
    Session.objects.filter(session_key__in=[session.session_key for session in ended]).delete()
    UserSession.objects.filter(pk__in=[session.pk for session in ended]).delete()
    old = {"sessions": [_record(session) for session in ended]}
    audit.record("end_session", audit.Actor(user=person, source=address), person, old=old)
    return True


@transaction.atomic
def forget(person: User) -> None:
    """End all sessions of the person's for good, with the enrolment links that they made; a new sign-in makes others.

    Call it inside the transaction that puts them out. A session counts only with its person's password as it was then
    (Django's session auth hash), so another unusable one ends those too that no row of ours knows, or that begin now.
    """
    person.set_unusable_password()
    person.save(update_fields=["password"])
    rows = UserSession.objects.filter(user=person)
    keys = list(rows.select_for_update().values_list("session_key", flat=True))
    Session.objects.filter(session_key__in=keys).delete()
    rows.delete()


@transaction.atomic
def purge(at: datetime) -> None:
    """Delete the rows of everybody's sessions that are over: an address and a browser are nobody's business then."""
    # Skipping what is locked, since two that delete the same rows in different orders would wait for each other.
    over = UserSession.objects.exclude(_is_live(at)).select_for_update(skip_locked=True)
    UserSession.objects.filter(pk__in=list(over.values_list("pk", flat=True))).delete()


def _is_live(at: datetime) -> Exists:
    return Exists(Session.objects.filter(session_key=OuterRef("session_key"), expire_date__gt=at))


def _record(session: UserSession) -> dict[str, str]:
    """Return what the audit says of a session; its key, which is as good as a password, stays out."""
    return {"signed_in_at": session.created_at.isoformat(), "source": session.ip}


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())
