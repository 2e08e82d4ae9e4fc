"""Headers that every answer carries, whatever made it: a page, a static file, an error."""

import re
from collections.abc import Callable
from typing import cast

from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import resolve
from django.utils import translation
from django.utils.cache import patch_vary_headers

from portal import errors

Handler = Callable[[HttpRequest], HttpResponse]

HEADERS = {
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TRUSTED_TYPES = "; require-trusted-types-for 'script'; trusted-types 'none'"
# The admin's jQuery writes innerHTML as it loads, and so does the viewer of the API's docs.
WITHOUT_TRUSTED_TYPES = ("/admin/", "/api/v1/docs")


# Where programs call, which show a token; the pages about it are for browsers.
PROGRAMS = re.compile(r"/(?:api/v1/(?!docs|openapi)|register/?$)")
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

BODY_LIMIT = 64 * 1024  # bytes; the largest form has three short fields


class BodyLimitMiddleware:
    """Refuse a body that no form of ours has, before anything reads it."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal() or int(length) > BODY_LIMIT:
            return errors.page(request, 413)
        return self.get_response(request)


class MethodNotAllowedMiddleware:
    """Give Django's blank 405 answer its page; give every one its JSON where programs call."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not isinstance(response, HttpResponseNotAllowed):
            return response
        if response.content and not errors.wants_json(request):
            return response
        page = errors.page(request, 405)
        page["Allow"] = response["Allow"]
        return page


class ProgramsMiddleware:
    """Answer programs past everything that serves browsers: no cookie, session or CSRF token is looked at, or ever set."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        respond = cast("Handler", convert_exception_to_response(_respond))
        self.respond = BodyLimitMiddleware(MethodNotAllowedMiddleware(respond))

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not PROGRAMS.match(request.path_info):
            return self.get_response(request)
        language = translation.get_language_from_request(request)
        with translation.override(language):
            response = self.respond(request)
        response.headers["Content-Language"] = language
        response.headers["Content-Length"] = str(len(response.content))
        response.headers["Content-Security-Policy"] = NOTHING
        patch_vary_headers(response, ["Accept-Language"])
        return response


def _respond(request: HttpRequest) -> HttpResponse:
    request.get_host()  # refuses one that is not ours
    match = resolve(request.path_info)
    request.resolver_match = match
    response: HttpResponse = match.func(request, *match.args, **match.kwargs)
    return response


class HeadersMiddleware:
    """Add what Django's SecurityMiddleware and the CSP middleware, which it wraps, do not set."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        # Static files bring a Cache-Control of their own; everything else is about one person.
        response.headers.setdefault("Cache-Control", "no-store")
        policy = response.headers.get("Content-Security-Policy")  # with DEBUG, Django's error pages have none
        if policy and policy != NOTHING and not request.path_info.startswith(WITHOUT_TRUSTED_TYPES):
            response.headers["Content-Security-Policy"] = policy + TRUSTED_TYPES
        return response
