"""Refuse whoever enrols too often, before anything is done for it."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from peers import limits
from peers.views.answers import json_error
from portal import errors
from portal.counters import Away
from portal.http import asks_for_json
from portal.models import User
from portal.source import source


def counted(request: HttpRequest, person: User) -> HttpResponse | None:
    """Count an enrolment in the person's name; return the refusal of one too many, or where nobody can count; None lets it pass."""
    try:
        limits.of_person(person, source(request))
    except limits.TooMany as error:
        return too_many(request, error.retry_after)
    except Away:
        return _uncountable(request)
    return None


def too_many(request: HttpRequest, retry_after: int) -> HttpResponse:
    """Return the answer that says in how many seconds to come again."""
    if not asks_for_json(request):
        return errors.too_many_requests(request, retry_after=retry_after)
    message = _("Too many tries. Wait a minute, then try again.")
    return _json(errors.CODES[429], message, HTTPStatus.TOO_MANY_REQUESTS, retry_after)


def _uncountable(request: HttpRequest) -> HttpResponse:
    message = _("Requests cannot be counted at the moment. Try again later.")
    if not asks_for_json(request):
        return errors.unavailable(request, message)
    return _json(errors.CODES[503], message, HTTPStatus.SERVICE_UNAVAILABLE, errors.RETRY_AFTER)


def _json(code: str, message: str, status: HTTPStatus, retry_after: int) -> HttpResponse:
    response = json_error(code, message, status)
    response["Retry-After"] = str(retry_after)
    return response
