"""Read which OpenID Connect providers people may sign in through, and find one of them again.

Settings import this, so it knows nothing of apps.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from portal import environment

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_PRINTABLE_URL = re.compile(r"[!#-;=?-\[\]_a-z~]+")  # RFC 3986 without quotes, angles and other oddities
_WORD = re.compile(r"[!#-\[\]-~]+")  # RFC 6749, section 3.3: a scope; acr_values are written like these
_TEXTS = {"id", "name", "issuer", "client_id", "client_secret", "client_secret_file", "groups_claim"}
_LISTS = {"admin_groups", "allowed_groups", "scopes"}
_MAPS = {"group_names", "authorization_params"}
_REQUIREMENTS = {"enrol_requires", "admin_requires"}
_NUMBERS = {"id_token_lifetime"}
_KEYS = _TEXTS | _LISTS | _MAPS | _REQUIREMENTS | _NUMBERS
# What a sign-in sets itself: another value would take a check away.
_OWN_PARAMS = {
    "client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "code_challenge",
    "code_challenge_method", "request", "request_uri", "max_age", "acr_values",
}  # fmt: skip
_LONGEST_TEXT = 255  # characters
_LONGEST_ID_TOKEN = timedelta(days=2)
_MOST_SECONDS = 10**8
SHORTEST_AGE = 60  # seconds; nobody would be back in time from a sign-in that has to be more recent


@dataclass(frozen=True, slots=True)
class Requirement:
    """How a person must have signed in; what is empty or None is not asked for.

    ``acr``: one of these classes (OpenID Connect Core, section 2); ``amr``: all of these methods (RFC 8176); ``max_age``:
    the longest since they proved who they are.
    """

    acr: tuple[str, ...] = ()
    amr: tuple[str, ...] = ()
    max_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """One identity provider, as configured.

    ``issuer`` is compared letter by letter with what the provider says of itself. ``groups_claim`` is empty when it names
    no groups. ``allowed_groups`` is None when everyone whom the provider knows may sign in. ``group_names`` says what a
    group that goes by an id is called.
    """

    id: str
    name: str
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    groups_claim: str = "groups"
    admin_groups: frozenset[str] = frozenset()
    allowed_groups: frozenset[str] | None = None
    group_names: Mapping[str, str] = field(default_factory=dict)
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    authorization_params: Mapping[str, str] = field(default_factory=dict)
    enrol_requires: Requirement = Requirement()
    admin_requires: Requirement = Requirement()
    id_token_lifetime: timedelta = timedelta(hours=1)

    @property
    def discovery_url(self) -> str:
        return f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"


def providers(name: str) -> tuple[Provider, ...]:
    """Return the providers in the JSON list NAME, in its order; raise ImproperlyConfigured on any doubt."""
    found = tuple(_provider(name, entry) for entry in environment.json_list(name))
    for what in ("id", "issuer"):
        values = [getattr(provider, what).rstrip("/") for provider in found]
        if len(values) != len(set(values)):
            raise ImproperlyConfigured(f"{name}: two providers have the same {what}.")
    return found


def by_id(provider_id: str) -> Provider | None:
    """Return the provider with this id; None when the settings know none, or know it no more."""
    return next((known for known in settings.OIDC_PROVIDERS if known.id == provider_id), None)


def by_issuer(issuer: str) -> Provider | None:
    """Return the provider that vouches for the people of this issuer; None when the settings know none."""
    return next((known for known in settings.OIDC_PROVIDERS if known.issuer == issuer), None)


def allauth_settings(configured: tuple[Provider, ...]) -> dict[str, Any]:
    """Return SOCIALACCOUNT_PROVIDERS: one allauth app a provider, all of our own provider class."""
    apps = [
        {
            "provider_id": provider.id,
            "name": provider.name,
            "client_id": provider.client_id,
            "secret": provider.client_secret,
            "settings": {"server_url": provider.discovery_url},
        }
        for provider in configured
    ]
    return {
        "openid_connect": {
            "provider_class": "portal.oidc.provider.StrictProvider",
            "OAUTH_PKCE_ENABLED": True,
            "APPS": apps,
        }
    }


def is_safe_url(url: object) -> bool:
    """Say whether a sign-in may go there: https, or http on this very machine, with nothing hidden in it."""
    if not isinstance(url, str) or not _PRINTABLE_URL.fullmatch(url.lower()):
        return False
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises when it is no number
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def is_clean(value: object) -> bool:
    """Say whether it is a short text without control, bidirectional or surrogate characters."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.isprintable()


def is_group(value: object) -> bool:
    """Say whether a person can have it as a group: it is clean and has no white space but single spaces between words."""
    return isinstance(value, str) and is_clean(value) and value == " ".join(value.split())


def _provider(name: str, entry: dict[str, Any]) -> Provider:
    _check_shape(name, entry)
    values: dict[str, Any] = {
        key: entry[key] for key in ("groups_claim", "group_names", "authorization_params") if key in entry
    }
    if "scopes" in entry:
        values["scopes"] = tuple(dict.fromkeys(("openid", *entry["scopes"])))
    if "id_token_lifetime" in entry:
        values["id_token_lifetime"] = timedelta(seconds=entry["id_token_lifetime"])
    values |= {key: _requirement(name, key, entry[key]) for key in sorted(_REQUIREMENTS & entry.keys())}
    provider = Provider(
        id=_required(name, entry, "id"),
        name=entry.get("name") or entry["id"],
        issuer=_required(name, entry, "issuer"),
        client_id=_required(name, entry, "client_id"),
        client_secret=_secret(name, entry),
        admin_groups=frozenset(entry.get("admin_groups", ())),
        allowed_groups=frozenset(entry["allowed_groups"]) if "allowed_groups" in entry else None,
        **values,
    )
    _check_values(name, provider)
    return provider


def _check_shape(name: str, entry: dict[str, Any]) -> None:
    if unknown := sorted(entry.keys() - _KEYS):
        known = ", ".join(sorted(_KEYS))
        raise ImproperlyConfigured(f"{name}: unknown key {unknown[0]!r}; the keys are {known}.")
    for key, value in entry.items():
        if key in _TEXTS and not isinstance(value, str):
            raise ImproperlyConfigured(f"{name}: {key} must be text.")
        if key in _LISTS and not _is_texts(value):
            raise ImproperlyConfigured(f"{name}: {key} must be a list of texts.")
        if key in _MAPS and not (isinstance(value, dict) and _is_texts(list(value.values()))):
            raise ImproperlyConfigured(f"{name}: {key} must be an object of texts.")
        if key in _NUMBERS and not _is_seconds(value):
            raise ImproperlyConfigured(f"{name}: {key} must be a number of seconds, 1 to {_MOST_SECONDS}.")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_seconds(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_SECONDS


def _requirement(name: str, key: str, value: object) -> Requirement:
    """Return the requirement in ``{"acr": […], "amr": […], "max_age": seconds}``, each of which may be left out."""
    found: dict[str, Any] = value if isinstance(value, dict) else {"": None}
    acr, amr, max_age = found.get("acr", []), found.get("amr", []), found.get("max_age", SHORTEST_AGE)
    if found.keys() - {"acr", "amr", "max_age"} or not (
        _is_texts(acr) and _is_texts(amr) and _is_seconds(max_age)
    ):
        raise ImproperlyConfigured(
            f'{name}: {key} must be an object such as {{"acr": ["mfa"], "amr": ["hwk"], "max_age": 3600}}.'
        )
    if odd := [value for value in (*acr, *amr) if not _WORD.fullmatch(value)]:
        raise ImproperlyConfigured(
            f"{name}: {odd[0]!r} in {key} is not one word of visible ASCII characters."
        )
    if max_age < SHORTEST_AGE:
        raise ImproperlyConfigured(
            f"{name}: max_age in {key} must be at least {SHORTEST_AGE} seconds: it takes a while to come back."
        )
    required = Requirement(tuple(acr), tuple(amr), timedelta(seconds=max_age) if "max_age" in found else None)
    if required == Requirement():
        raise ImproperlyConfigured(
            f"{name}: {key} requires nothing; name an acr, an amr or a max_age, or leave it out."
        )
    return required


def _check_values(name: str, provider: Provider) -> None:
    if not _ID.fullmatch(provider.id):
        raise ImproperlyConfigured(
            f"{name}: the id {provider.id!r} must be 1 to 40 of a-z, 0-9 and -: it stands in the callback's address."
        )
    if not is_safe_url(provider.issuer) or "?" in provider.issuer or len(provider.issuer) > 255:
        raise ImproperlyConfigured(
            f"{name}: the issuer of {provider.id} must be an https address (http only on this machine), "
            "exactly as the provider's discovery document states it."
        )
    if odd := [scope for scope in provider.scopes if not _WORD.fullmatch(scope)]:
        raise ImproperlyConfigured(f"{name}: {odd[0]!r} in scopes of {provider.id} is not one scope.")
    if own := sorted(_OWN_PARAMS & provider.authorization_params.keys()):
        raise ImproperlyConfigured(
            f"{name}: authorization_params of {provider.id} may not set {own[0]}: Latchkey does."
        )
    if "none" in provider.authorization_params.get("prompt", "").split():
        raise ImproperlyConfigured(
            f"{name}: authorization_params of {provider.id} may not set prompt to none: nobody could sign in anew."
        )
    if provider.id_token_lifetime > _LONGEST_ID_TOKEN:
        raise ImproperlyConfigured(f"{name}: id_token_lifetime of {provider.id} is beyond two days.")
    _check_groups(name, provider)


def _check_groups(name: str, provider: Provider) -> None:
    """Refuse groups that no person can have: they would let nobody in, or make nobody an administrator."""
    if provider.allowed_groups is not None and not provider.allowed_groups:
        raise ImproperlyConfigured(
            f"{name}: allowed_groups of {provider.id} is empty, so nobody could sign in; leave it out for everyone."
        )
    for key in ("allowed_groups", "admin_groups", "group_names"):
        groups = getattr(provider, key) or ()
        if odd := sorted(group for group in groups if not is_group(group)):
            raise ImproperlyConfigured(
                f"{name}: {odd[0]!r} in {key} of {provider.id} is no group that a person can have: "
                "write it without white space but single spaces between words, in at most 255 characters."
            )
        if groups and not provider.groups_claim:
            raise ImproperlyConfigured(
                f"{name}: {key} of {provider.id} needs a groups_claim: without one nobody has a group."
            )


def _required(name: str, entry: dict[str, Any], key: str) -> str:
    if not (value := entry.get(key)):
        raise ImproperlyConfigured(f"{name}: a provider lacks {key}.")
    return str(value)


def _secret(name: str, entry: dict[str, Any]) -> str:
    if "client_secret" in entry and "client_secret_file" in entry:
        raise ImproperlyConfigured(f"{name}: give client_secret or client_secret_file, not both.")
    if path := entry.get("client_secret_file"):
        if secret := environment.read(f"{name}: client_secret_file", path):
            return secret
        raise ImproperlyConfigured(f"{name}: client_secret_file is empty; write the client's secret into it.")
    return _required(name, entry, "client_secret")
