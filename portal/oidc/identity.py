"""Read who a person is from a provider's claims."""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from portal.oidc.http import ProviderTrouble
from portal.oidc_config import Provider

_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Identity:
    """A person as one provider knows them: the pair (issuer, sub) is who they are, the rest is what they are called."""

    issuer: str
    sub: str
    name: str
    email: str
    groups: frozenset[str]


def identity(provider: Provider, claims: dict[str, Any]) -> Identity:
    """Return the identity in ``claims``; raise ProviderTrouble when the subject cannot be kept as it is."""
    sub = claims.get("sub")
    if not isinstance(sub, str) or not _is_clean(sub):
        raise ProviderTrouble("bad_sub")
    return Identity(
        issuer=provider.issuer,
        sub=sub,
        name=_name(claims.get("name") or claims.get("preferred_username")),
        email=_email(claims.get("email")),
        groups=_groups(claims.get(provider.groups_claim)),
    )


def _is_clean(value: object) -> bool:
    """Say whether it is a short text without control, bidirectional or surrogate characters."""
    return isinstance(value, str) and 0 < len(value) <= _LENGTH and value.isprintable()


def _name(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(character for character in text if character.isprintable()).strip()[:_LENGTH]


def _email(value: object) -> str:
    text = value if isinstance(value, str) and len(value) <= 254 else ""
    try:
        validate_email(text)
    except ValidationError:
        return ""
    return text


def _groups(value: object) -> frozenset[str]:
    """Return the groups in a claim: a list of texts, or one text; what is not clean is left out, never mended."""
    values = [value] if isinstance(value, str) else value
    return frozenset(filter(_is_clean, values)) if isinstance(values, list) else frozenset()
