"""The sign-in page, the sign-out page, and where a person is signed in."""

from dataclasses import dataclass
from datetime import datetime

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from peers.audit import Actor
from portal import assurance, browsers, sessions
from portal.access.changes import forgo_token
from portal.http import PersonRequest, SeeOther, safe_next
from portal.models import User
from portal.oidc.sign_out import ends_refresh_token, farewell
from portal.source import source


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session as its person sees it: ``browser`` in words, ``address`` empty when it is not known."""

    pk: int
    browser: str
    address: str
    since: datetime
    is_this: bool


@login_not_required
@require_safe
def login(request: HttpRequest) -> HttpResponse:
    """Show one button for each provider; someone who is signed in already goes on to ``next``."""
    next_url = safe_next(request.GET.get("next"))
    if request.user.is_authenticated:
        return HttpResponseRedirect(next_url)
    providers = [(provider.id, provider.name) for provider in settings.OIDC_PROVIDERS]
    context = {"providers": providers, "next": next_url}
    return render(request, "account/login.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def logout(request: HttpRequest) -> HttpResponse:
    """End the session here, whatever becomes of the rest, then lead to the provider to end it there."""
    proved, began_at = assurance.kept(request.session), sessions.began_at(request.session)
    if request.method != "POST":
        return render(request, "account/logout.html", {"at_provider": proved is not None and proved.provider})
    person, at = request.user, timezone.now()
    sessions.close(request)
    url = farewell(proved)
    if url and proved and ends_refresh_token(proved) and isinstance(person, User):
        _forgo_token(person, began_at, actor=Actor(user=person, source=source(request)), at=at)
    # In the page, not in a Refresh header: proxies refuse headers as long as an id_token.
    return render(request, "account/signing_out.html", {"url": url}) if url else redirect("signed_out")


@login_not_required
@require_safe
def signed_out(request: HttpRequest) -> HttpResponse:
    """Say so to whoever comes back from the provider, or was not sent there."""
    if request.user.is_authenticated:
        return redirect(settings.LOGIN_REDIRECT_URL)
    return render(request, "account/signed_out.html")


@require_safe
def list_sessions(request: PersonRequest) -> HttpResponse:
    """Show where the person is signed in, this browser first."""
    shown = [_signed_in(session, request) for session in sessions.live(request.user, at=timezone.now())]
    shown.sort(key=lambda session: not session.is_this)
    others = any(not session.is_this for session in shown)
    return render(request, "account/sessions.html", {"sessions": shown, "others": others})


@require_POST
def end_session(request: PersonRequest, number: int) -> HttpResponse:
    """End one other session of the person's own; what is over already is not found."""
    if not _end(request, _others(request).filter(pk=number)):
        raise Http404
    return _see_sessions()


@require_POST
def end_other_sessions(request: PersonRequest) -> HttpResponse:
    _end(request, _others(request))
    return _see_sessions()


@transaction.atomic
def _forgo_token(person: User, began_at: datetime | None, *, actor: Actor, at: datetime) -> None:
    """Do without the refresh token if the sign-in of the session that began at ``began_at`` obtained it.

    The provider ends the sign-in of this browser alone: a later one elsewhere, and its token, live on there.
    """
    row = User.objects.select_for_update(no_key=True).get(pk=person.pk)
    if row.signed_in_at == began_at:
        forgo_token(row, why="signed_out", actor=actor, at=at)


def _others(request: PersonRequest) -> QuerySet[UserSession]:
    """Return the person's live sessions but for this one, which signing out ends."""
    mine = sessions.live(request.user, at=timezone.now())
    return mine.exclude(session_key=request.session.session_key)


def _end(request: PersonRequest, ended: QuerySet[UserSession]) -> bool:
    return sessions.end(ended, person=request.user, address=source(request))


def _see_sessions() -> HttpResponse:
    return SeeOther(reverse("account_sessions"))


def _signed_in(session: UserSession, request: PersonRequest) -> SignedIn:
    return SignedIn(
        pk=session.pk,
        browser=browsers.words(session.user_agent),
        address="" if session.ip == sessions.NOWHERE else session.ip,
        since=session.created_at,
        is_this=session.session_key == request.session.session_key,
    )
