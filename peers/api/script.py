"""`GET /enrol.sh`: the script with which a machine enrols itself, with this portal's address filled in."""

import shlex
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

SOURCE = Path(__file__).with_name("enrol.sh")
BLANK = "\nPORTAL=''\n"


@login_not_required
@require_safe
def script(_request: HttpRequest) -> HttpResponse:
    """Return the script; as plain text, so that a browser shows what a machine would run."""
    return HttpResponse(filled_in(settings.LATCHKEY_URL), content_type="text/plain; charset=utf-8")


def filled_in(url: str) -> str:
    """Return the script for the portal at ``url``, which stays one word to the shell whatever it holds."""
    return SOURCE.read_text(encoding="utf-8").replace(BLANK, f"\nPORTAL={shlex.quote(url)}\n", 1)
