import codecs
import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

from portal.middleware import BODY_LIMIT

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

django_application = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Serve what is written in UTF-8; a form that says to be in anything else is not read as one.

    Django reads a request's address and form in whatever codec its Content-Type names, of which some are not for text
    and some let through what cannot be written down, before any handler of errors is there.
    """
    if not _is_utf8(environ.get("CONTENT_TYPE", "")):
        environ["CONTENT_TYPE"] = "application/octet-stream"
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        environ["CONTENT_LENGTH"] = str(BODY_LIMIT)  # at most: Django reads none that has no length
    return django_application(environ, start_response)


def _is_utf8(content_type: str) -> bool:
    try:
        charset = parse_header_parameters(content_type)[1].get("charset", "utf-8")
        return codecs.lookup(charset).name == "utf-8"
    # No such codec; parameters that no parser takes; a NUL in a name.
    except (LookupError, TypeError, ValueError):
        return False
