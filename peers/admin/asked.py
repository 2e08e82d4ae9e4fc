"""What the identity provider last answered about a person, and when it is asked next."""

from datetime import datetime

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef
from django.utils.translation import gettext as _

from portal.access.questions import watched
from portal.models import HeldLoss, RefreshToken, User


def in_words(person: User, at: datetime) -> str:
    """Return it in sentences, as it is at ``at``; the person's token is not even read."""
    rows = RefreshToken.objects.filter(person=person).defer("token")
    held = Exists(HeldLoss.objects.filter(person=OuterRef("person")))
    asks = ExpressionWrapper(watched(at), BooleanField())
    row = rows.annotate(is_held=held, is_watched=asks).first()
    if row is None:
        return _("There is no token to ask it with, so nobody asks.")
    return f"{_last(row, is_held=row.is_held)} {_next(row, at, is_watched=row.is_watched)}".strip()


def _last(row: RefreshToken, *, is_held: bool) -> str:
    if row.failing_since:
        values = {"at": _moment(row.failing_since), "trouble": row.trouble}
        return _("It has not answered since %(at)s UTC: %(trouble)s.") % values
    if row.answered_at is None:
        return ""
    words = (
        _("It answered at %(at)s UTC, and what follows from that is held back.")
        if is_held
        else _("It vouched for them at %(at)s UTC.")
    )
    return words % {"at": _moment(row.answered_at)}


def _next(row: RefreshToken, at: datetime, *, is_watched: bool) -> str:
    if not is_watched:
        return _("Nobody asks while they neither signed in lately nor have a device that may be on.")
    if row.due_at <= at:
        return _("It will be asked soon.")
    return _("It will be asked next at %(at)s UTC.") % {"at": _moment(row.due_at)}


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
