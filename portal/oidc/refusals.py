"""Refuse a sign-in: one kind of page, which says nothing to an attacker, and a line in the log, which says why.

A short reference, on both, lets an administrator find the one with the other.
"""

import logging
import secrets
from dataclasses import dataclass
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from portal.errors import RETRY_AFTER
from portal.oidc_config import Provider

logger = logging.getLogger(__name__)

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # base32 without the letters that are taken for others


@dataclass(frozen=True, slots=True)
class Refusal:
    """A way for a sign-in to end without a session; ``event`` is its name in the log, ``%(name)s`` the provider's."""

    event: str
    status: HTTPStatus
    heading: Promise
    sentence: Promise
    button: Promise
    level: int = logging.INFO


NOT_ALLOWED = Refusal(
    "sign_in_refused",
    HTTPStatus.FORBIDDEN,
    _("Your account may not use this portal"),
    _("You signed in, but this portal is not open to your account. Ask your administrator for access."),
    _("Sign in with another account"),
)
INSUFFICIENT = Refusal(
    "sign_in_refused",
    HTTPStatus.FORBIDDEN,
    _("Your sign-in does not meet what is asked for here"),
    _("You came back from %(name)s, but it does not confirm that you signed in just now, or in the way that is asked for. Nothing has been changed. Try again, with your second factor if you have one."),
    _("Try again"),
)  # fmt: skip
CANCELLED = Refusal(
    "sign_in_cancelled",
    HTTPStatus.FORBIDDEN,
    _("That sign-in did not finish"),
    _("The sign-in was cancelled, or %(name)s refused it. Try again; if it is refused once more, ask your administrator."),
    _("Try again"),
)  # fmt: skip
STALE = Refusal(
    "sign_in_stale",
    HTTPStatus.BAD_REQUEST,
    _("That sign-in did not finish"),
    _("Signing in took too long or was interrupted. Start it again here, and finish it in this browser."),
    _("Try again"),
)
TROUBLE = Refusal(
    "provider_trouble",
    HTTPStatus.SERVICE_UNAVAILABLE,
    _("Not available right now"),
    _("%(name)s cannot be reached or does not answer as it should. Your devices stay connected. Wait a moment, then try again."),
    _("Try again"),
    level=logging.WARNING,
)  # fmt: skip


def new_reference() -> str:
    """Return eight letters and digits in two groups: 40 random bits, easy to read out over the telephone."""
    letters = "".join(secrets.choice(CROCKFORD) for _each in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def refuse(
    request: HttpRequest,
    provider: Provider,
    refusal: Refusal,
    failure: str,
    next_url: str = "",
    *,
    reference: str = "",
    again: str = "",
) -> HttpResponse:
    """Return the page, once it is in the log why; ``failure`` is a word, without anything that came from outside.

    ``next_url`` is where the sign-in was to lead, empty for the usual page. A ``reference`` is given where one is on
    record already, and ``again`` where trying again is not another sign-in.
    """
    reference = reference or new_reference()
    fields = {"provider": provider.id, "failure": failure, "reference": reference}
    logger.log(refusal.level, refusal.event, extra=fields)
    login_url = reverse("account_login")
    context = {
        "refusal": refusal,
        "sentence": str(refusal.sentence) % {"name": provider.name},
        "again": again or (f"{login_url}?{urlencode({'next': next_url})}" if next_url else login_url),
        "reference": reference,
    }
    response = render(request, "socialaccount/refused.html", context, status=refusal.status)
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(RETRY_AFTER)
    return response
