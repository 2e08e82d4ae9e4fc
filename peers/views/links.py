"""Hand an enrolment over to a phone: a link, drawn as a code on the computer, and the page that it opens there.

The link's token stands in its fragment, which no browser sends: it comes here in the body of the one POST that uses it.
"""

from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from allauth.core import ratelimit
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.forms import Form
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from peers import qr, services
from peers.forms import LinkForm, RedeemForm
from peers.models import EnrolLink, Peer
from peers.presentation import WORDS, guess
from peers.views.answers import actor, configuration_answer, errors, json_error, refusal
from peers.views.counting import counted, too_many
from portal import errors as pages
from portal.confirmation import enrols
from portal.http import PersonRequest, SeeOther, asks_for_json, polled
from portal.source import source

LOCKED_FOR = 60  # seconds, after too many links from one address


@enrols
@require_POST
def enrol_link(request: PersonRequest) -> HttpResponse:
    """Return the page with a new link: the answer to the POST itself, so that no address leads to it again."""
    form = LinkForm(request.POST, owner=request.user)
    if not form.is_valid():
        return errors(request, form, HTTPStatus.BAD_REQUEST, _link_page)
    if (interface := form.cleaned_data["interface"]) is None:
        return refusal(request, form, services.NotEntitled(), _link_page)
    session_key = request.session.session_key or ""
    try:
        link, token = services.make_link(
            actor=actor(request),
            owner=request.user,
            interface=interface,
            session_key=session_key,
            at=timezone.now(),
        )
    except services.LinkInvalid:  # the session was ended meanwhile
        return SeeOther(reverse("account_login"))
    return _link_page(request, form, link, f"{settings.LATCHKEY_URL}{reverse('enrol')}#{token}")


@polled
@login_not_required  # an answer that the page can read, in the place of a redirect to a page
@require_safe
def link_status(request: PersonRequest, pk: UUID) -> HttpResponse:
    if not request.user.is_authenticated:
        return json_error("unauthenticated", _("Sign in to see this link."), HTTPStatus.UNAUTHORIZED)
    link = get_object_or_404(EnrolLink.objects.select_related("peer"), pk=pk, owner=request.user)
    url = link.peer.get_absolute_url() if link.peer else None
    return JsonResponse({"state": _state(link, timezone.now()), "url": url})


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def enrol(request: PersonRequest) -> HttpResponse:
    """Show what the link is for; only the POST uses it, so that a preview of the address does not."""
    if request.method != "POST":
        return _enrol_page(request, RedeemForm())
    if not ratelimit.consume(request, action="enrol_link"):
        return too_many(request, LOCKED_FOR)
    form = RedeemForm(request.POST)
    if not form.is_valid():
        return errors(request, form, HTTPStatus.BAD_REQUEST, _enrol_page)
    return _redeem(request, form, request.POST.get("token", ""), timezone.now())


def _redeem(request: PersonRequest, form: RedeemForm, token: str, at: datetime) -> HttpResponse:
    try:
        if refused := counted(request, services.owner_of_link(token=token, at=at)):
            return refused
        enrolled = services.redeem(token=token, source=source(request), at=at, **form.cleaned_data)
    except services.LinkInvalid as invalid:
        return _no_longer_valid(request, invalid)
    except services.Refused as refused:
        return refusal(request, form, refused, _enrol_page)
    return _new_configuration(request, enrolled)


def _state(link: EnrolLink, at: datetime) -> str:
    if link.used_at is not None:
        return "used"
    return "waiting" if link.expires_at > at else "ended"


def _new_configuration(request: HttpRequest, enrolled: services.Enrolled) -> HttpResponse:
    """Return what the page needs to put its private key in. It has no session, so there is no status to follow."""
    if not asks_for_json(request):
        return SeeOther(enrolled.peer.get_absolute_url())
    status = HTTPStatus.CREATED if enrolled.created else HTTPStatus.OK
    return JsonResponse(configuration_answer(enrolled.peer), status=status)


def _no_longer_valid(request: HttpRequest, invalid: services.LinkInvalid) -> HttpResponse:
    if asks_for_json(request):
        return json_error(invalid.code, str(invalid), HTTPStatus.GONE)
    return pages.page(request, HTTPStatus.GONE)


def _link_page(
    request: PersonRequest, form: LinkForm, link: EnrolLink | None = None, url: str = ""
) -> HttpResponse:
    context = {"form": form, "link": link, "url": url, "code": qr.draw(url) if url else None}
    return render(request, "peers/link.html", context)


def _enrol_page(request: HttpRequest, form: Form) -> HttpResponse:
    context = {
        "form": form,
        "guess": guess(request.headers.get("User-Agent", ""), ()),
        "platforms": Peer.Platform.choices,
        "words": WORDS,
    }
    return render(request, "peers/link_enrol.html", context)
