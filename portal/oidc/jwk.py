"""Which of a provider's keys can have signed a token: RFC 7517, and RFC 7518, section 6."""

from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from portal.oidc.http import ProviderTrouble

# Each algorithm that is believed, with the kind of key and the curve that it signs with. None uses a shared secret.
ALGORITHMS: dict[str, tuple[str, str | None]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
SHORTEST_RSA = 2048  # bits: RFC 7518, sections 3.3 and 3.5


def choose(keys: list[dict[str, Any]], kid: object, algorithm: str) -> dict[str, Any] | None:
    """Return the one key that goes by ``kid`` and is for ``algorithm``; None when there is none, or no telling which.

    A token without ``kid`` (None) can only come from a provider with one such key: OpenID Connect Core, section 10.1.
    """
    found = [key for key in keys if _is_for(key, algorithm) and (kid is None or key.get("kid") == kid)]
    return found[0] if len(found) == 1 else None


def loaded(key: dict[str, Any], algorithm: str) -> jwt.PyJWK:
    """Return ``key``, ready to verify; raise ProviderTrouble for one that is weak or no key at all."""
    try:
        made = jwt.PyJWK(key, algorithm=algorithm)
    except jwt.PyJWTError:
        raise ProviderTrouble("bad_key") from None
    if isinstance(made.key, RSAPublicKey) and made.key.key_size < SHORTEST_RSA:
        raise ProviderTrouble("weak_key")
    return made


def _is_for(key: dict[str, Any], algorithm: str) -> bool:
    """Say whether the provider means ``key`` to verify ``algorithm``; one whose private half is out is for nothing."""
    operations = key.get("key_ops", ["verify"])
    return (
        (key.get("kty"), key.get("crv")) == ALGORITHMS[algorithm]
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in key
    )
