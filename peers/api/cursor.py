"""Where a page of a list ends, so that the next one begins there whatever was enrolled meanwhile."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from peers.api.errors import ApiError
from peers.models import Peer


def cursor_of(peer: Peer) -> str:
    """Return the cursor of the page that begins after ``peer``."""
    return urlsafe_b64encode(f"{peer.enrolled_at.isoformat()} {peer.pk}".encode()).decode().rstrip("=")


def after(peers: QuerySet[Peer], cursor: str | None) -> QuerySet[Peer]:
    """Return the peers, the newest first, from the cursor on; raise ApiError (400) for a cursor that never was one."""
    ordered = peers.order_by("-enrolled_at", "pk")
    if not cursor:
        return ordered
    at, pk = _read(cursor)
    return ordered.filter(Q(enrolled_at__lt=at) | Q(enrolled_at=at, pk__gt=pk))


def _read(cursor: str) -> tuple[datetime, UUID]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        moment, _space, pk = urlsafe_b64decode(padded).decode("ascii").partition(" ")
        return datetime.fromisoformat(moment).astimezone(UTC), UUID(pk)
    except (ValueError, OverflowError):
        sentence = _("This cursor is none of ours.")
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_cursor", sentence, field="cursor") from None
