"""Texts that are encrypted at rest, with keys from the environment: the first encrypts, each may decrypt."""

from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


@lru_cache(maxsize=2)  # of all keys, and of the first alone
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(text: str) -> str:
    return _fernet(tuple(settings.ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """Return the text of a token made by ``encrypt``; raise cryptography.fernet.InvalidToken.

    It remembers nothing: a refresh token that was replaced must not stay in memory in clear.
    """
    return _fernet(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode()).decode()


def made_by_first_key(token: str) -> bool:
    try:
        _fernet(tuple(settings.ENCRYPTION_KEYS[:1])).decrypt(token.encode())
    except InvalidToken:
        return False
    return True


def renewed(token: str) -> str:
    """Return a token of the same text that the first key makes; raise cryptography.fernet.InvalidToken."""
    return _fernet(tuple(settings.ENCRYPTION_KEYS)).rotate(token.encode()).decode()


class EncryptedField(models.TextField):  # type: ignore[type-arg]
    """Text to Python, a Fernet token to the database; '' stays ''. It cannot be searched by value."""

    def get_prep_value(self, value: Any) -> Any:
        return encrypt(value) if value else value

    def from_db_value(self, value: str | None, _expression: Any, _connection: Any) -> str | None:
        try:
            return decrypt(value) if value else value
        except InvalidToken:
            return ""  # one such row must not take the pages of others with it; the gateway puts it aside
