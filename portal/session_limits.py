"""When a session is over: too old, or its person did nothing for too long. It knows nothing of requests."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from django.conf import settings
from django.utils.translation import ngettext

from portal.models import User

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class Over(Enum):
    AGE = "age"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a session lasts at most, and how long without its person doing anything."""

    age: timedelta
    idle: timedelta


def limits(person: User) -> Limits:
    """Return those of the person's sessions; whoever may see the administration has tighter ones."""
    if person.is_staff:
        return Limits(settings.LATCHKEY_ADMIN_SESSION_AGE, settings.LATCHKEY_ADMIN_SESSION_IDLE)
    return Limits(settings.LATCHKEY_SESSION_AGE, settings.LATCHKEY_SESSION_IDLE)


def over(limits: Limits, *, began_at: datetime, last_act_at: datetime, at: datetime) -> Over | None:
    """Return why a session is over at ``at``; None while it is not."""
    if at - began_at >= limits.age:
        return Over.AGE
    return Over.IDLE if at - last_act_at >= limits.idle else None


def sentence(why: Over, limits: Limits) -> str:
    """Return what tells a person why they are signed out."""
    length = limits.age if why is Over.AGE else limits.idle
    if length % HOUR:
        return _in_minutes(why, -(-length // MINUTE))
    return _in_hours(why, length // HOUR)


def _in_hours(why: Over, count: int) -> str:
    if why is Over.AGE:
        return ngettext(
            "You were signed out, because you signed in an hour ago. Your devices stay connected.",
            "You were signed out, because you signed in %(count)d hours ago. Your devices stay connected.",
            count,
        ) % {"count": count}
    return ngettext(
        "You were signed out after an hour without use. Your devices stay connected.",
        "You were signed out after %(count)d hours without use. Your devices stay connected.",
        count,
    ) % {"count": count}


def _in_minutes(why: Over, count: int) -> str:
    if why is Over.AGE:
        return ngettext(
            "You were signed out, because you signed in a minute ago. Your devices stay connected.",
            "You were signed out, because you signed in %(count)d minutes ago. Your devices stay connected.",
            count,
        ) % {"count": count}
    return ngettext(
        "You were signed out after a minute without use. Your devices stay connected.",
        "You were signed out after %(count)d minutes without use. Your devices stay connected.",
        count,
    ) % {"count": count}
