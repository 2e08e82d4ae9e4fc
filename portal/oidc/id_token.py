"""Check an id_token: OpenID Connect Core, section 3.1.3.7, and what RFC 8725 adds."""

from datetime import datetime, timedelta
from typing import Any, TypeGuard

import jwt

from portal.oidc import jwk
from portal.oidc.discovery import signing_key
from portal.oidc.http import ProviderTrouble
from portal.oidc_config import Provider

LEEWAY = 60  # seconds that two clocks may differ by
LONGEST = 8 << 10  # characters
FARTHEST = 1 << 33  # seconds; beyond it a date cannot be read
# Of the claims PyJWT would check some, leniently: _rules are the whole of it.
_SIGNATURE_ALONE: Any = {
    "verify_signature": True, "verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False,
    "verify_iss": False, "verify_sub": False, "verify_jti": False,
}  # fmt: skip


def checked(
    provider: Provider, id_token: object, *, at: datetime, nonce: str | None = None
) -> dict[str, Any]:
    """Return the claims of a token that the provider signed for us; raise ProviderTrouble with a word for what is wrong.

    ``nonce`` is what the sign-in began with; a token that comes with a refresh need not repeat it.
    """
    claims = _signed(provider, id_token)
    for failure, holds in _rules(provider, claims, int(at.timestamp())):
        if not holds:
            raise ProviderTrouble(failure)
    if nonce is not None and claims.get("nonce") != nonce:
        raise ProviderTrouble("wrong_nonce")
    return claims


def _signed(provider: Provider, id_token: object) -> dict[str, Any]:
    if not isinstance(id_token, str) or not 0 < len(id_token) <= LONGEST:
        raise ProviderTrouble("bad_id_token")
    try:
        header = jwt.get_unverified_header(id_token)
        algorithm = _algorithm(header)
        key = jwk.loaded(signing_key(provider, header.get("kid"), algorithm), algorithm)
        claims: dict[str, Any] = jwt.decode(id_token, key, algorithms=[algorithm], options=_SIGNATURE_ALONE)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        raise ProviderTrouble("bad_id_token") from None
    return claims


def _algorithm(header: dict[str, Any]) -> str:
    """Return ``alg`` of a header in which nothing is asked of us that we do not do (RFC 7515, section 4.1.11)."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in jwk.ALGORITHMS:
        raise ProviderTrouble("bad_algorithm")
    if "crit" in header or str(header.get("typ", "JWT")).upper() != "JWT":
        raise ProviderTrouble("bad_token_header")
    return algorithm


def _rules(provider: Provider, claims: dict[str, Any], now: int) -> list[tuple[str, bool]]:
    """Return what must hold of the claims at ``now``, in seconds, each with the word for its failure."""
    issued, expires, sub = claims.get("iat"), claims.get("exp"), claims.get("sub")
    lifetime = int(provider.id_token_lifetime / timedelta(seconds=1))
    if not (_is_time(issued) and _is_time(expires)):
        return [("bad_token_times", False)]
    return [
        ("wrong_token_issuer", claims.get("iss") == provider.issuer),
        ("wrong_audience", _is_for(provider.client_id, claims)),
        ("bad_sub", isinstance(sub, str) and bool(sub)),
        ("token_expired", now < expires + LEEWAY),
        ("token_of_the_future", issued <= now + LEEWAY and _has_begun(claims, now)),
        ("token_lives_too_long", 0 < expires - issued <= lifetime),
    ]


def _is_for(client_id: str, claims: dict[str, Any]) -> bool:
    """Say whether the token is for us, and for us alone or issued to us."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences or ("azp" in claims and claims["azp"] != client_id):
        return False
    return len(audiences) == 1 or "azp" in claims


def _has_begun(claims: dict[str, Any], now: int) -> bool:
    begins = claims.get("nbf", 0)
    return _is_time(begins) and begins <= now + LEEWAY


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < FARTHEST
