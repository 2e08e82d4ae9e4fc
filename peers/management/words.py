"""What several commands read of their words: rows by their names, lengths of time, what a form would have said."""

from argparse import ArgumentTypeError
from collections.abc import Iterator
from datetime import timedelta

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management.base import CommandError

from peers.durations import duration
from peers.models import Interface, ServiceAccount

NONE = ("none", "0")


def interface(name: str) -> Interface:
    try:
        return Interface.objects.get(name=name)
    except (Interface.DoesNotExist, ValueError):  # which what is no text raises
        raise CommandError(
            f"there is no interface {ascii(name) if not name.isprintable() else name}"
        ) from None


def account(name: str) -> ServiceAccount:
    try:
        return ServiceAccount.objects.get(name=name)
    except (ServiceAccount.DoesNotExist, ValueError):
        raise CommandError("there is no service account of that name") from None


def lasting(text: str) -> timedelta | None:
    """Return a length of time, in seconds or with its unit; None for "none" or 0."""
    if text.strip().lower() in NONE:
        return None
    try:
        return duration(text)
    except ValidationError:
        raise ArgumentTypeError(
            "a time is a number of seconds, one such as 10 min, 1 h or 7 d, or none"
        ) from None


def sentences(error: ValidationError) -> Iterator[str]:
    """Yield what is wrong with a row, column by column."""
    for name, texts in error.message_dict.items():
        yield " ".join(texts) if name == NON_FIELD_ERRORS else f"{name}: {' '.join(texts)}"
