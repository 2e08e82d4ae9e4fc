"""Read a JSON body, and no other: small, in UTF-8, one flat object whose every field is there once."""

import json
from http import HTTPStatus
from typing import Any, NoReturn

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja.parser import Parser

from peers.api.errors import ApiError

LONGEST = 16 * 1024  # bytes
DEEPEST = 4  # objects and lists within each other


class StrictParser(Parser):
    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        return parsed(request.body)


def parsed(body: bytes) -> dict[str, Any]:
    """Return the object that ``body`` holds; raise ApiError (400 or 413) with what is wrong about it."""
    if len(body) > LONGEST:
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", _("This is longer than 16 KiB."))
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_not_a_number)
    except RecursionError:
        raise _bad(_("This is nested too deeply.")) from None
    except ValueError:
        raise _bad(_("This is not JSON in UTF-8.")) from None
    if not isinstance(found, dict):
        raise _bad(_("Send one JSON object."))
    _check(found, DEEPEST)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _bad(_("A field is there twice."))
    return found


def _not_a_number(_constant: str) -> NoReturn:
    raise _bad(_("NaN and Infinity are not JSON."))


def _check(value: Any, deepest: int) -> None:
    """Refuse what is nested too deeply, and text that no database holds: a NUL, half a surrogate pair."""
    if isinstance(value, dict | list):
        if deepest == 0:
            raise _bad(_("This is nested too deeply."))
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            _check(item, deepest - 1)
    elif isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise _bad(_("A text holds a character that is none."))


def _bad(message: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "bad_json", message)
