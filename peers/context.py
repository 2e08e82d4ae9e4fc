"""What every page knows, whatever it shows."""

from collections.abc import Callable

from django.db import Error
from django.db.models.functions import Now
from django.http import HttpRequest

from peers.models import GATEWAY_SILENT_AFTER, GatewayStatus


def attachment(request: HttpRequest) -> dict[str, Callable[[], bool]]:  # noqa: ARG001 - a context processor's shape
    """Return ``unattached``, asked of the database only by a page that shows it."""
    return {"unattached": _unattached}


def _unattached() -> bool:
    heard = GatewayStatus.objects.filter(heartbeat_at__gt=Now() - GATEWAY_SILENT_AFTER)
    try:
        return set(heard.values_list("attached", flat=True)) == {False}
    except Error:  # error pages extend the same template, and must render with the database away
        return False
