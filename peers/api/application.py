"""The API under /api/v1: its routes, its OpenAPI file and the pages that show it."""

from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver
from django.utils.translation import gettext_lazy as _
from ninja.errors import HttpError, ValidationError

from peers import __version__, services
from peers.api import interfaces, peers
from peers.api.body import StrictParser
from peers.api.errors import ApiError, told
from peers.api.openapi import DescribedAPI

# Words of our own for what the library finds wrong; for whatever is not here, and has no word of ours yet, "invalid".
CODES = {
    "no_body": "bad_json",
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "invalid_key": "invalid_key",
    "invalid_name": "invalid_name",
}
# And sentences, where it says too little.
SENTENCES = {
    "no_body": _("Send one JSON object."),
    "missing": _("This field is required."),
    "extra_forbidden": _("There is no such field."),
}

api = DescribedAPI(
    title="Latchkey",
    version=__version__,
    description="Enrol machines on a WireGuard interface, renew and revoke them. An error has a code for programs and a sentence that says what is wrong.",
    urls_namespace="api",
    parser=StrictParser(),
)
api.add_router("", peers.router)
api.add_router("", interfaces.router)


@api.exception_handler(ApiError)
def refused(_request: HttpRequest, error: ApiError) -> HttpResponse:
    return error.response()


@api.exception_handler(services.Refused)
def not_done(_request: HttpRequest, refused: services.Refused) -> HttpResponse:
    return told(refused).response()


@api.exception_handler(HttpError)
def unreadable(_request: HttpRequest, error: HttpError) -> HttpResponse:
    """Return what the parser said of the body, which the library wraps into an error of its own."""
    if isinstance(error.__cause__, ApiError):
        return error.__cause__.response()
    return ApiError(error.status_code, "bad_request", str(error)).response()


@api.exception_handler(ValidationError)
def invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Return the first thing that is wrong, and where; never the value itself."""
    first = error.errors[0]
    kind, (place, *where) = str(first["type"]), first["loc"]
    if place == "body":
        where = where[1:]  # the first is the view's name for the whole of it
        kind = kind if where else "no_body"
    sentence = SENTENCES.get(kind, str(first["msg"]))
    field = ".".join(map(str, where)) or None
    return ApiError(HTTPStatus.BAD_REQUEST, CODES.get(kind, "invalid"), sentence, field=field).response()


def urls() -> tuple[list[URLPattern | URLResolver], str, str]:
    """Return the addresses, which no cookie opens: each asks for a token by itself, if at all."""
    patterns, app, namespace = api.urls
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = login_not_required(pattern.callback)
    return patterns, app, namespace
