"""The two pages of a sign-in through a provider: off to it, and back."""

from allauth.core import ratelimit
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from portal import assurance, errors
from portal.assurance import Purpose
from portal.http import safe_next
from portal.oidc import refusals
from portal.oidc.confirming import confirms, refuse
from portal.oidc.http import ProviderTrouble, StaleSignInError, time_budget
from portal.oidc.identity import Identity, Proof, identity
from portal.oidc.provider import StrictProvider
from portal.oidc.sign_in import RefusedError, sign_in


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Answer 200 with the way to the provider: form-action 'self' forbids the browser to follow a redirect there."""
    provider = StrictProvider.of(request, provider_id)
    if request.method != "POST":
        return redirect("account_login")
    if not ratelimit.consume(request, action="login"):
        return errors.too_many_requests(request)
    next_url, named = safe_next(request.POST.get("next")), request.POST.get("purpose", "")
    purpose = assurance.purpose(named)
    if named and purpose is None:
        return errors.bad_request(request)
    try:
        with time_budget():
            url = provider.departure(request, next_url, purpose)
    except ProviderTrouble as trouble:
        return _away(request, provider, trouble.failure, next_url)
    response = render(request, "socialaccount/leaving.html", {"url": url, "provider": provider})
    response["Refresh"] = f"0; url={url}"
    return response


@login_not_required
@require_safe
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Come back from the provider; a session begins only at the very end, an older one stays until then."""
    provider = StrictProvider.of(request, provider_id)
    state = provider.take_state(request)
    if state is None:
        return _stale(request, provider, "state")
    exchange = provider.exchange
    try:
        with time_budget():
            if not exchange.is_answered_by(request.GET.getlist("iss")):
                return _stale(request, provider, "iss", state["next"])
            if "code" not in request.GET:
                return _declined(request, provider, state["next"])
            claims, proof = exchange.claims(request.GET["code"], state)
            person = identity(exchange.configured, claims)
    except StaleSignInError:
        return _stale(request, provider, "code", state["next"])
    except (ProviderTrouble, OAuth2Error) as trouble:
        return _away(request, provider, getattr(trouble, "failure", "no_access_token"), state["next"])
    return _arrive(request, provider, person, proof, state["next"], state.get("purpose"))


def _arrive(
    request: HttpRequest,
    provider: StrictProvider,
    person: Identity,
    proof: Proof,
    next_url: str,
    purpose: Purpose | None,
) -> HttpResponse:
    configured, reference = provider.exchange.configured, refusals.new_reference()
    if purpose and not confirms(configured, proof, purpose, at=timezone.now()):
        return refuse(request, configured, person, purpose, next_url, reference=reference)
    try:
        sign_in(request, configured, person, proof, at=timezone.now(), reference=reference)
    except RefusedError as refusal:
        return refusals.refuse(request, configured, refusals.NOT_ALLOWED, str(refusal), reference=reference)
    except ProviderTrouble as trouble:
        return _away(request, provider, trouble.failure, next_url)
    return HttpResponseRedirect(next_url)


def _declined(request: HttpRequest, provider: StrictProvider, next_url: str) -> HttpResponse:
    """Answer for a provider that sent the person back without a code (RFC 6749, section 4.1.2.1)."""
    if request.GET.get("error") != "access_denied":
        return _away(request, provider, "error_answer", next_url)
    return refusals.refuse(
        request, provider.exchange.configured, refusals.CANCELLED, "access_denied", next_url
    )


def _stale(request: HttpRequest, provider: StrictProvider, failure: str, next_url: str = "") -> HttpResponse:
    return refusals.refuse(request, provider.exchange.configured, refusals.STALE, failure, next_url)


def _away(request: HttpRequest, provider: StrictProvider, failure: str, next_url: str) -> HttpResponse:
    return refusals.refuse(request, provider.exchange.configured, refusals.TROUBLE, failure, next_url)
