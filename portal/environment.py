"""Read settings from the environment; a value that cannot be used stops the start and says what to set."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet, MultiFernet
from django.core.exceptions import ImproperlyConfigured

HIGHEST_PORT = 65535
HIGHEST_RATE = 1_000_000_000
LONGEST_SECONDS = 3650 * 86400


def text(name: str, default: str | None = None) -> str:
    """Return NAME, or the content of the file that NAME_FILE points to, or the default."""
    if path := os.environ.get(f"{name}_FILE"):
        return read(f"{name}_FILE", path)
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(f"{name} is not set: see docs/settings.md.")
    return value


def read(what: str, path: str) -> str:
    """Return the text of a file that the setting ``what`` names, without white space around it."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{what} cannot be read: {error.strerror}.") from None
    except ValueError:  # of a path or a content that is no text
        raise ImproperlyConfigured(f"{what} must name a file of UTF-8 text.") from None


def flag(name: str, *, default: bool) -> bool:
    value = text(name, "true" if default else "false").lower()
    if value not in {"true", "false", "1", "0"}:
        raise ImproperlyConfigured(f"{name} must be true or false.")
    return value in {"true", "1"}


def site(name: str) -> str:
    """Return the address of a whole site, such as ``https://portal.example``, without a slash at its end."""
    value = text(name).rstrip("/")
    parts = urlsplit(value)
    if (
        parts.scheme not in {"https", "http"}
        or not parts.hostname
        or f"{parts.scheme}://{parts.netloc}" != value
    ):
        raise ImproperlyConfigured(
            f"{name} must be an address such as https://portal.example, without a path."
        )
    return value


def number(name: str, default: int, *, least: int = 0) -> int:
    value = _whole(name, default)
    if value < least:
        raise ImproperlyConfigured(f"{name} must be a whole number, at least {least}.")
    return value


def seconds(name: str, default: int, *, least: int = 1, or_zero: bool = False) -> timedelta:
    """Return NAME, a whole number of seconds that is at least ``least`` and at most ten years; ``or_zero``: or 0."""
    value = _whole(name, default)
    if not least <= value <= LONGEST_SECONDS and not (or_zero and value == 0):
        also = "0, or " if or_zero else ""
        raise ImproperlyConfigured(f"{name} must be {also}a number of seconds, {least} to {LONGEST_SECONDS}.")
    return timedelta(seconds=value)


def rates(name: str, defaults: dict[str, int], *, least: dict[str, int]) -> dict[str, int]:
    """Return ``defaults`` with what NAME changes of them, as in ``token=60,account=600``; ``least`` says what may not go lower.

    A rate is a number a minute; 0 is no limit at all.
    """
    changed = dict(_rate(name, word, defaults) for word in words(name))
    for rate, lowest in least.items():
        if 0 < changed.get(rate, lowest) < lowest:
            raise ImproperlyConfigured(f"{name}: {rate} is 0, or at least {lowest} a minute.")
    return defaults | changed


def _rate(name: str, word: str, known: dict[str, int]) -> tuple[str, int]:
    rate, _, number = word.partition("=")
    if rate not in known or not number.isdecimal() or int(number) > HIGHEST_RATE:
        raise ImproperlyConfigured(f"{name} must be like token=60,account=600; it knows {', '.join(known)}.")
    return rate, int(number)


def port(name: str, default: int) -> int:
    value = _whole(name, default)
    if not 0 < value <= HIGHEST_PORT:
        raise ImproperlyConfigured(f"{name} must be a port, 1 to {HIGHEST_PORT}.")
    return value


def choice(name: str, default: str, *others: str) -> str:
    value = text(name, default)
    if value not in {default, *others}:
        raise ImproperlyConfigured(f"{name} must be {', '.join((default, *others[:-1]))} or {others[-1]}.")
    return value


def words(name: str, default: str = "") -> list[str]:
    """Return the comma-separated words of NAME."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def json_list(name: str) -> list[dict[str, Any]]:
    """Return the JSON list of objects in NAME; an absent NAME is an empty list."""
    try:
        value = json.loads(text(name, "[]"))
    except ValueError:
        raise ImproperlyConfigured(f"{name} is not JSON.") from None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ImproperlyConfigured(f"{name} must be a JSON list of objects.")
    return value


def secret(name: str, *, length: int) -> str:
    """Return NAME; raise ImproperlyConfigured when it is absent, short or too uniform to be random."""
    value = text(name)
    if len(value) < length or len(set(value)) < 10:
        raise ImproperlyConfigured(
            f"{name} is too weak: set it to at least {length} random characters, "
            "such as `python3 -c 'import secrets; print(secrets.token_urlsafe(50))'` prints."
        )
    return value


def _whole(name: str, default: int) -> int:
    try:
        return int(text(name, str(default)))
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number.") from None


def fernet_keys(name: str) -> list[str]:
    """Return the Fernet keys in NAME, the first of which encrypts; raise ImproperlyConfigured on a bad one."""
    keys = words(name, text(name))
    try:
        MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        raise ImproperlyConfigured(
            f"{name} must be a comma-separated list of Fernet keys, each printed by "
            "`python3 -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'`."
        ) from None
    return keys
