"""Let nobody do what asks for more than they have proved, and show them the page on which they can prove it."""

from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from portal import assurance, errors
from portal.assurance import Assurance, Purpose, required, with_time_to_spare
from portal.break_glass import LOCAL_ISSUER
from portal.http import SAFE_METHODS, PersonRequest, View, asks_for_json, page_of, safe_next
from portal.oidc_config import by_issuer


def enrols(view: View) -> View:
    """Require for what the view is sent that its person has proved what enrolling takes; anyone may look at its page."""

    @wraps(view)
    def asked(request: PersonRequest, *arguments: Any, **options: Any) -> HttpResponseBase:
        if request.method in SAFE_METHODS or _is_met(request, "enrol"):
            return view(request, *arguments, **options)
        return _confirm_first(request, "enrol", otherwise="/")

    return asked  # type: ignore[return-value]


def begins_act(view: View) -> View:
    """Mark an administrator's page on which something is typed for an act, lest it be refused once it is typed."""
    view.begins_act = True  # type: ignore[attr-defined]
    return view


def administers(view: View) -> View:
    """Require for a page of the administration what it takes, and for an act there that it was proved just now."""

    @wraps(view)
    def asked(request: PersonRequest, *arguments: Any, **options: Any) -> HttpResponseBase:
        if (lacking := _lacks(request, view)) is None:
            return view(request, *arguments, **options)
        return _confirm_first(request, lacking, otherwise=reverse("admin:index"))

    return asked  # type: ignore[return-value]


@require_safe
def page(request: PersonRequest) -> HttpResponse:
    """Ask the person to confirm that it is them; one who just has goes on to ``next``."""
    purpose = assurance.purpose(request.GET.get("purpose"))
    if purpose is None:
        return errors.bad_request(request)
    next_url = safe_next(request.GET.get("next"))
    if _is_met(request, purpose, spare=purpose == "act"):
        return HttpResponseRedirect(next_url)
    return _page(request, purpose, next_url, HTTPStatus.OK)


def _lacks(request: PersonRequest, view: View) -> Purpose | None:
    """Return for what the person of the request has not proved enough."""
    if not _is_met(request, "admin"):
        return "admin"
    if request.method not in SAFE_METHODS:
        return None if _is_met(request, "act") else "act"
    if getattr(view, "begins_act", False) and not _is_met(request, "act", spare=True):
        return "act"
    return None


def _is_met(request: PersonRequest, purpose: Purpose, *, spare: bool = False) -> bool:
    proved = assurance.kept(request.session)
    provider = by_issuer(request.user.issuer)
    if purpose != "enrol" and _is_by_link(proved):
        provider = None  # a break-glass link is for when it is away
    elif provider is None and request.user.issuer != LOCAL_ISSUER:
        return False  # what the provider asked for went from the settings with it
    asked = required(provider, purpose)
    return assurance.suffices(proved, with_time_to_spare(asked) if spare else asked, at=timezone.now())


def _is_by_link(proved: Assurance | None) -> bool:
    return proved is not None and not proved.provider


def _confirm_first(request: PersonRequest, purpose: Purpose, *, otherwise: str) -> HttpResponse:
    next_url = safe_next(page_of(request, otherwise))
    if not asks_for_json(request):
        return _page(request, purpose, next_url, HTTPStatus.FORBIDDEN)
    error = {
        "code": "confirmation_needed",
        "message": _("Confirm that it is you first."),
        "location": f"{reverse('confirm')}?{urlencode({'purpose': purpose, 'next': next_url})}",
    }
    return JsonResponse({"error": error}, status=HTTPStatus.FORBIDDEN)


def _page(request: PersonRequest, purpose: Purpose, next_url: str, status: HTTPStatus) -> HttpResponse:
    context = {
        "purpose": purpose,
        "next": next_url,
        "provider": by_issuer(request.user.issuer),
        # Whatever a link proves, it is not what enrolling takes.
        "by_link": purpose != "enrol" and _is_by_link(assurance.kept(request.session)),
    }
    return render(request, "account/confirm.html", context, status=status)
