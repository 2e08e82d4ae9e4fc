"""Tell an owner once, on the pages of their devices, of those that were not let in."""

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from peers import services
from peers.notices import untold
from peers.presentation import Device


def page_with_notices(
    request: HttpRequest, template: str, context: dict[str, Any], devices: Iterable[Device]
) -> HttpResponse:
    """Return the page with what is news to the owner of ``devices``, and note that it is no longer.

    That is noted once the page is made, so that one that fails tells of it the next time, and not where nobody reads it: for
    a HEAD, or a browser that fetches ahead.
    """
    notices = untold(devices)
    waits = any(notice.waits_for_sign_in for notice in notices)
    response = render(request, template, {**context, "notices": notices, "waits_for_sign_in": waits})
    if request.method != "HEAD" and "Sec-Purpose" not in request.headers:
        services.note_told(notice.refused for notice in notices)
    return response
