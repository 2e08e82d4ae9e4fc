"""Headers that every answer carries, whatever made it: a page, a static file, an error."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

from portal import errors

Handler = Callable[[HttpRequest], HttpResponse]

HEADERS = {
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TRUSTED_TYPES = "; require-trusted-types-for 'script'; trusted-types 'none'"
# The admin's jQuery writes innerHTML as it loads, and so does the viewer of the API's docs.
WITHOUT_TRUSTED_TYPES = ("/admin/", "/api/v1/docs")


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
        if policy and not request.path_info.startswith(WITHOUT_TRUSTED_TYPES):
            response.headers["Content-Security-Policy"] = policy + TRUSTED_TYPES
        return response
