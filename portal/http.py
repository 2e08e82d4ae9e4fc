"""What Django's requests and responses have no name for."""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.http import url_has_allowed_host_and_scheme

from portal.models import User

View = TypeVar("View", bound=Callable[..., HttpResponseBase])
SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}  # RFC 9110, section 9.2.1


class PersonRequest(HttpRequest):
    """A request that the sign-in middleware has let through."""

    user: User


class SeeOther(HttpResponseRedirect):
    """A redirect after a POST, which a browser follows with a GET."""

    status_code = 303


def polled(view: View) -> View:
    """Mark a view that an open page asks again and again by itself: nobody is there because of it."""
    view.polled = True  # type: ignore[attr-defined]
    return view


def is_polled(request: HttpRequest) -> bool:
    return request.resolver_match is not None and getattr(request.resolver_match.func, "polled", False)


def asks_for_json(request: HttpRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def safe_next(value: str | None) -> str:
    """Return ``value`` when it is a path of this site, else the page that follows a sign-in."""
    path = value or ""
    local = (
        path.isprintable()  # half a surrogate pair is not, and no address can hold it
        and path.startswith("/")
        and url_has_allowed_host_and_scheme(path, allowed_hosts=None)
    )
    return path if local else settings.LOGIN_REDIRECT_URL


def page_of(request: HttpRequest, otherwise: str) -> str:
    """Return the page of ours that a person is on: this one, or the one whose form they sent."""
    if request.method in SAFE_METHODS:
        return request.get_full_path()
    referer: Any = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(referer, {request.get_host()}, require_https=request.is_secure()):
        return otherwise
    parts = urlsplit(referer)
    return parts.path + (f"?{parts.query}" if parts.query else "") or otherwise
