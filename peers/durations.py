"""How long something lasts, as people write it: 90 s, 10 min, 1 h or 7 d."""

import re
from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_duration
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

UNITS = {"d": 86400, "h": 3600, "min": 60, "s": 1}  # in seconds, the largest first
PART = re.compile(r"(\d{1,12})\s*(d|h|min|s)\s*")
SUCH_AS = _("Such as 90 s, 10 min, 1 h or 7 d.")
NO_TIME = _("This is no length of time such as 90 s, 10 min, 1 h or 7 d.")


def duration(text: str) -> timedelta:
    """Return a time such as 90 s, 10 min or 1 d 12 h, or one of Django's, such as 7 00:00:00; raise ValidationError."""
    wanted = text.strip()
    try:
        if wanted and not PART.sub("", wanted):
            return timedelta(seconds=sum(int(number) * UNITS[unit] for number, unit in PART.findall(wanted)))
        parsed = parse_duration(wanted)
    except OverflowError:
        parsed = None
    if parsed is None:
        raise ValidationError(NO_TIME, code="invalid_duration")
    return parsed


def in_units(time: timedelta) -> str:
    """Return a whole number of seconds as ``duration`` reads it: in the largest unit that leaves nothing over."""
    seconds = int(time.total_seconds())
    unit, size = next((unit, size) for unit, size in UNITS.items() if seconds % size == 0)
    return f"{seconds // size} {unit}"


class DurationField(forms.DurationField):
    """A time with its unit."""

    widget = forms.TextInput

    def __init__(self, *, help_text: str | Promise = "", **options: Any) -> None:
        super().__init__(help_text=format_lazy("{} {}", help_text, SUCH_AS), **options)

    def prepare_value(self, value: Any) -> Any:
        return in_units(value) if isinstance(value, timedelta) else value

    def to_python(self, value: Any) -> timedelta | None:
        if value in self.empty_values:
            return None
        return value if isinstance(value, timedelta) else duration(str(value))
