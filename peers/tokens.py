"""What a bearer of a token shows, and the little of it that is kept."""

import hashlib
import secrets

PREFIX = "latchkey_"  # by which people, and scanners of repositories, know one
RANDOM_BYTES = 32
SHOWN = 8  # of its random characters, which leaves 208 bits that nobody is shown again


def generate() -> str:
    """Return a new token: the prefix and 256 random bits, 43 characters of ``[A-Za-z0-9_-]``."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def beginning(token: str) -> str:
    """Return the part of a token by which it is known on pages and in the audit."""
    return token[: len(PREFIX) + SHOWN]


def digest(token: str) -> str:
    """Return what is kept of a token: its SHA-256, in hexadecimal. It is random, so it needs neither salt nor stretching."""
    # replace: a lone surrogate, which JSON may hold, has no UTF-8, and no token has one.
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
