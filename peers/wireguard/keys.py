"""WireGuard keys as text: check them, make them. A refused value is never part of a message."""

import base64
import re
import secrets
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

ZERO_KEY = "A" * 43 + "="  # wg(8): a preshared key of zeros is no preshared key

KEY = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")  # 32 bytes; the last character has two unused bits
CONFIGURATION = re.compile(r"privatekey|\[\s*(interface|peer)\s*\]", re.IGNORECASE)
FIELD_PRIME = 2**255 - 19
# The u-coordinates of order 1, 2, 4 and 8 on Curve25519 and its twist: an exchange with one of them gives zeros
# (RFC 7748 section 6.1), so WireGuard would take the key and never shake hands.
LOW_ORDER = frozenset(
    {
        0,
        1,
        0xB8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
        FIELD_PRIME - 1,
    }
)


class InvalidKey(ValueError):
    """A key that WireGuard cannot use; the message is a sentence for the person who pasted it."""


@lru_cache(maxsize=2**17)
def public_key(text: str) -> str:
    """Return ``text`` if it is a public key that WireGuard can use; raise InvalidKey otherwise.

    Nothing is trimmed. Remembered, because a gateway asks again for every peer at every pass.
    """
    if CONFIGURATION.search(text):
        raise InvalidKey(
            "This looks like a whole configuration. Give only the public key; a private key stays on its device."
        )
    number = int.from_bytes(_decoded(text, "A public key"), "little")
    if number >= FIELD_PRIME or number in LOW_ORDER:
        raise InvalidKey(
            "This key cannot work: it is not a public key that WireGuard makes. Generate a new one."
        )
    return text


def preshared_key(text: str) -> str:
    """Return ``text`` if it is a preshared key, the zero key included; raise InvalidKey otherwise."""
    _decoded(text, "A preshared key")
    return text


def private_key(text: str) -> str:
    """Return ``text`` if it is a private key; raise InvalidKey otherwise."""
    _decoded(text, "A private key")
    return text


def generate_private_key() -> str:
    """Return a new private key, clamped as ``wg genkey`` does (RFC 7748 section 5)."""
    key = bytearray(secrets.token_bytes(32))
    key[0] &= 248
    key[31] = (key[31] & 127) | 64
    return _encoded(bytes(key))


def public_key_of(private_key: str) -> str:
    """Return the public key that belongs to ``private_key``; raise InvalidKey if that is no key."""
    secret = X25519PrivateKey.from_private_bytes(_decoded(private_key, "A private key"))
    return _encoded(secret.public_key().public_bytes_raw())


def generate_preshared_key() -> str:
    """Return a new preshared key, 32 random bytes as ``wg genpsk`` makes them."""
    return _encoded(secrets.token_bytes(32))


def _encoded(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")


def _decoded(text: str, what: str) -> bytes:
    if not KEY.fullmatch(text):
        raise InvalidKey(f"{what} is 44 characters long: letters, digits, + and /, ending in =.")
    return base64.b64decode(text)
