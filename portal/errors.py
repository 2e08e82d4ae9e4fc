"""Say what went wrong and what to do next, without a database, a session or a template of the rest of the site."""

import re
import sys
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from redis import RedisError

RETRY_AFTER = 10  # seconds
_JSON_PATHS = re.compile(r"/(?:api(?:/|$)|register/?$|devices/(?:link/)?[0-9a-f-]{36}/status$)")
# Where scripts call that were written for a hand-made service: of an error they read its sentence alone.
_SCRIPTS_PATH = re.compile(r"/register/?$")
# The word that an API client sees for each status.
CODES = {
    400: "bad_request",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    410: "gone",
    413: "too_large",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}


def wants_json(request: HttpRequest) -> bool:
    """Say whether the path is one that programs call, which get their errors as JSON."""
    return bool(_JSON_PATHS.match(request.path_info))


def page(
    request: HttpRequest,
    status: int,
    message: str | Promise = "",
    *,
    retry_after: int | None = None,
    template: str = "",
) -> HttpResponse:
    """Return the page, or the JSON, for an error; ``retry_after`` is in seconds, ``template`` is that of the status.

    The language is the request's own: before LocaleMiddleware has run, a worker still has that of the request before.
    """
    language = translation.get_language_from_request(request)
    with translation.override(language):
        if wants_json(request):
            response = _json(request, status, message)
        else:
            response = _html(template or f"errors/{status}.html", status, message)
    response.headers["Content-Language"] = language
    patch_vary_headers(response, ["Accept-Language"])
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001 - Django's name
    return page(request, 400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001 - Django's name
    return page(request, 403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001 - Django's name
    return page(request, 404)


def too_many_requests(request: HttpRequest, *, retry_after: int = 60) -> HttpResponse:
    """Return the 429 answer; ``retry_after`` is in seconds."""
    return page(request, 429, retry_after=retry_after)


def unavailable(request: HttpRequest, message: str | Promise = "") -> HttpResponse:
    return page(request, 503, message, retry_after=RETRY_AFTER)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Return the page for a form without a fresh token; Django calls it, and logs ``reason`` itself."""
    del reason
    if wants_json(request):
        return page(request, 403, _("The CSRF token is missing or stale."))
    return page(request, 403, template="errors/csrf_failure.html")


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the 500 answer, or the 503 one when the failure is that the database or the cache is away.

    Django calls this while it handles the exception. It is the one place that sees those of middlewares (a session
    that cannot be read, a user who cannot be looked up) as well as those of views.
    """
    error = sys.exc_info()[1]
    if isinstance(error, OperationalError | InterfaceError):
        return unavailable(request, _("The database cannot be reached."))
    if isinstance(error, RedisError):
        return unavailable(request, _("The cache cannot be reached."))
    return page(request, 500)


def _json(request: HttpRequest, status: int, message: str | Promise) -> HttpResponse:
    sentence = str(message) or HTTPStatus(status).phrase
    if _SCRIPTS_PATH.match(request.path_info):
        return JsonResponse({"error": sentence}, status=status)
    return JsonResponse({"error": {"code": CODES[status], "message": sentence}}, status=status)


def _html(template: str, status: int, message: str | Promise) -> HttpResponse:
    """Render without the request, so that no context processor can ask for a session or a user."""
    return HttpResponse(render_to_string(template, {"message": message}), status=status)
