"""Read who a person is from a provider's claims."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from portal.oidc.http import ProviderTrouble
from portal.oidc_config import Provider, is_clean, is_group

_LENGTH = 255
_LONGEST_TOKEN = 16 << 10  # characters


@dataclass(frozen=True, slots=True)
class Identity:
    """A person as one provider knows them: the pair (issuer, sub) is who they are, the rest is what they are called."""

    issuer: str
    sub: str
    name: str
    email: str
    groups: frozenset[str]
    names_groups: bool = True


@dataclass(frozen=True, slots=True)
class Proof:
    """How a person signed in, as the id_token says, and what the provider can be asked with later.

    ``acr`` and ``refresh_token`` are empty, ``auth_time`` is None, where the provider gave none.
    """

    id_token: str = field(repr=False)
    refresh_token: str = field(repr=False, default="")
    acr: str = ""
    amr: frozenset[str] = frozenset()
    auth_time: datetime | None = None


def proof(claims: dict[str, Any], tokens: dict[str, Any]) -> Proof:
    """Return what the claims of a checked id_token, and the tokens that it came with, say of the sign-in."""
    acr, amr = claims.get("acr"), claims.get("amr")
    return Proof(
        id_token=str(tokens["id_token"]),
        refresh_token=refresh_token_in(tokens),
        acr=acr if isinstance(acr, str) and is_clean(acr) else "",
        amr=frozenset(filter(is_clean, amr)) if isinstance(amr, list) else frozenset(),
        auth_time=_time(claims.get("auth_time")),
    )


def refresh_token_in(tokens: dict[str, Any]) -> str:
    """Return the refresh token of a token endpoint's answer (RFC 6749, appendix A.17); empty where there is none to keep."""
    token = tokens.get("refresh_token")
    fit = isinstance(token, str) and token.isascii() and token.isprintable() and len(token) <= _LONGEST_TOKEN
    return str(token) if fit else ""


def _time(value: object) -> datetime | None:
    """Return the moment that a NumericDate (RFC 7519, section 2) names; None when it is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def identity(provider: Provider, claims: dict[str, Any]) -> Identity:
    """Return the identity in ``claims``; raise ProviderTrouble when the subject cannot be kept as it is."""
    sub = claims.get("sub")
    if not isinstance(sub, str) or not is_clean(sub):
        raise ProviderTrouble("bad_sub")
    groups = named_groups(provider, claims)
    return Identity(
        issuer=provider.issuer,
        sub=sub,
        name=_name(claims.get("name") or claims.get("preferred_username")),
        email=_email(claims.get("email")),
        groups=groups or frozenset(),
        names_groups=groups is not None,
    )


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


def named_groups(provider: Provider, claims: dict[str, Any]) -> frozenset[str] | None:
    """Return the groups that the claims name: a list of texts, or one text; None when they name none.

    What is not clean is left out, never mended. A provider that has too many for its token says where they are instead
    (OpenID Connect Core, section 5.6.2): that names none.
    """
    value = claims.get(provider.groups_claim) if provider.groups_claim else None
    values = [value] if isinstance(value, str) else value
    return frozenset(filter(is_group, values)) if isinstance(values, list) else None
