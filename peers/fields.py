"""Columns of our own: a public key, and a text that is encrypted at rest."""

from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models

PUBLIC_KEY = r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"


@lru_cache(maxsize=1)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(text: str) -> str:
    return _fernet(tuple(settings.ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


# A gateway reads every preshared key on every pass; a token decrypts to the same text for ever.
@lru_cache(maxsize=1 << 17)
def decrypt(token: str) -> str:
    """Return the text of a token made by ``encrypt``; raise cryptography.fernet.InvalidToken."""
    return _fernet(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode()).decode()


class EncryptedField(models.TextField):  # type: ignore[type-arg]
    """Text to Python, a Fernet token to the database; '' stays ''. It cannot be searched by value."""

    def get_prep_value(self, value: Any) -> Any:
        return encrypt(value) if value else value

    def from_db_value(self, value: str | None, _expression: Any, _connection: Any) -> str | None:
        try:
            return decrypt(value) if value else value
        except (
            InvalidToken
        ):  # one such row must not take the pages of others with it; the gateway puts it aside
            return ""


class PublicKeyField(models.CharField):  # type: ignore[type-arg]
    def __init__(self, **options: object) -> None:
        super().__init__(**{"max_length": 44, **options})  # type: ignore[arg-type]
