"""What a provider says of itself and which keys it signs with: fetched seldom, shared by every process, believed in part.

Both are kept as text in the cache, which is in the database, for a limited time.
"""

import hashlib
import json
from typing import Any

from allauth.socialaccount.adapter import get_adapter
from django.core.cache import cache

from portal.oidc.http import ProviderTrouble
from portal.oidc_config import Provider, is_safe_url

KEPT = 600  # seconds that a discovery document or a set of keys is used
NOT_AGAIN_WITHIN = 60  # seconds between two fetches of the keys, whoever asks for them
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
OPTIONAL_ENDPOINTS = ("end_session_endpoint",)


def document(provider: Provider) -> dict[str, Any]:
    """Return the provider's description (OpenID Connect Discovery, section 4), believed only about itself.

    Raise ProviderTrouble for another issuer and for an endpoint that nobody should be sent to.
    """
    name = _name("document", provider)
    if kept := cache.get(name):
        return dict(json.loads(kept))
    found = _checked(provider, _fetch(provider.discovery_url))
    cache.set(name, json.dumps(found), KEPT)
    return found


def signing_key(provider: Provider, kid: object) -> dict[str, Any]:
    """Return the JWK (RFC 7517) with which the provider signed a token whose header has ``kid``; None: its only one.

    An unknown ``kid`` has the keys fetched anew, at most once a minute. Raise ProviderTrouble when there is no such key.
    """
    if (found := _choose(_kept_keys(provider), kid)) is None:
        found = _choose(_fetched_keys(provider), kid)
    if found is None:
        raise ProviderTrouble("unknown_key")
    return found


def _kept_keys(provider: Provider) -> list[dict[str, Any]]:
    kept = cache.get(_name("keys", provider))
    return list(json.loads(kept)) if kept else []


def _fetched_keys(provider: Provider) -> list[dict[str, Any]]:
    """Return the provider's keys as they are now; none when they were fetched a moment ago."""
    if not cache.add(_name("keys-fetched", provider), "yes", NOT_AGAIN_WITHIN):
        return []
    keys = _fetch(document(provider)["jwks_uri"]).get("keys")
    if not isinstance(keys, list):
        raise ProviderTrouble("bad_keys")
    found = [key for key in keys if isinstance(key, dict) and key.get("use", "sig") == "sig"]
    cache.set(_name("keys", provider), json.dumps(found), KEPT)
    return found


def _choose(keys: list[dict[str, Any]], kid: object) -> dict[str, Any] | None:
    if kid is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.get("kid") == kid), None)


def _checked(provider: Provider, found: dict[str, Any]) -> dict[str, Any]:
    if found.get("issuer") != provider.issuer:
        raise ProviderTrouble("wrong_issuer")
    for endpoint in ENDPOINTS:
        if not is_safe_url(found.get(endpoint)):
            raise ProviderTrouble(f"bad_{endpoint}")
    unsafe = {name for name in OPTIONAL_ENDPOINTS if not is_safe_url(found.get(name))}
    return {name: value for name, value in found.items() if name not in unsafe}


def _fetch(url: str) -> dict[str, Any]:
    with get_adapter().get_requests_session() as session:
        found: dict[str, Any] = session.get(url).json()
    return found


def _name(what: str, provider: Provider) -> str:
    """Return the cache's key: of the issuer, so that another one in the settings begins anew."""
    return f"oidc:{what}:{hashlib.sha256(provider.issuer.encode()).hexdigest()}"
