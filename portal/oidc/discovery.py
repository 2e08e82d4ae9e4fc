"""What a provider says of itself and which keys it signs with: fetched seldom, shared by every process, believed in part.

Both are kept as text in the cache, which is in the database, for a limited time. What could not be used is never kept.
"""

import hashlib
import json
from typing import Any

from allauth.socialaccount.adapter import get_adapter
from django.core.cache import cache

from portal.oidc import jwk
from portal.oidc.http import ProviderTrouble
from portal.oidc_config import Provider, is_safe_url

KEPT = 600  # seconds that a discovery document or a set of keys is used
NOT_AGAIN_WITHIN = 60  # seconds until the next token with an unknown key has the kept keys fetched anew
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


def signing_key(provider: Provider, kid: object, algorithm: str) -> dict[str, Any]:
    """Return the JWK (RFC 7517) of a token whose header has ``kid`` (None: it has none) and ``algorithm``.

    A token that fits none of the kept keys has them fetched anew, as a key that was changed needs; but not within a
    minute of the last such token, so that a flood of invented ones costs one fetch. Raise ProviderTrouble when there is
    no such key.
    """
    kept = _kept_keys(provider)
    found = jwk.choose(kept, kid, algorithm)
    in_vain = _name("keys-in-vain", provider)
    if found is None and (not kept or cache.add(in_vain, "yes", NOT_AGAIN_WITHIN)):
        found = jwk.choose(_fetched_keys(provider), kid, algorithm)
        if found is None:
            cache.set(in_vain, "yes", NOT_AGAIN_WITHIN)
    if found is None:
        raise ProviderTrouble("unknown_key")
    return found


def keys(provider: Provider) -> list[dict[str, Any]]:
    """Return the JWKs that the provider signs with; raise ProviderTrouble."""
    return _kept_keys(provider) or _fetched_keys(provider)


def _kept_keys(provider: Provider) -> list[dict[str, Any]]:
    kept = cache.get(_name("keys", provider))
    return list(json.loads(kept)) if kept else []


def _fetched_keys(provider: Provider) -> list[dict[str, Any]]:
    found = _fetch(document(provider)["jwks_uri"]).get("keys")
    fetched = [key for key in found if isinstance(key, dict)] if isinstance(found, list) else []
    if not fetched:
        raise ProviderTrouble("bad_keys")
    cache.set(_name("keys", provider), json.dumps(fetched), KEPT)
    return fetched


def _checked(provider: Provider, found: dict[str, Any]) -> dict[str, Any]:
    if found.get("issuer") != provider.issuer:
        raise ProviderTrouble("wrong_issuer")
    for endpoint in ENDPOINTS:
        if not _is_safe(provider, found.get(endpoint)):
            raise ProviderTrouble(f"bad_{endpoint}")
    unsafe = {name for name in OPTIONAL_ENDPOINTS if not _is_safe(provider, found.get(name))}
    return {name: value for name, value in found.items() if name not in unsafe}


def _is_safe(provider: Provider, url: object) -> bool:
    """Say whether a sign-in may go there; a provider elsewhere names nothing on this machine, nor plain http."""
    return is_safe_url(url) and (str(url).startswith("https:") or provider.issuer.startswith("http:"))


def _fetch(url: str) -> dict[str, Any]:
    with get_adapter().get_requests_session() as session:
        found: dict[str, Any] = session.get(url).json()
    return found


def _name(what: str, provider: Provider) -> str:
    """Return the cache's key: of the issuer, so that another one in the settings begins anew."""
    return f"oidc:{what}:{hashlib.sha256(provider.issuer.encode()).hexdigest()}"
