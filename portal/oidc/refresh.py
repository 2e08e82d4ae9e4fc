"""Ask a provider about a person who is not here: RFC 6749, section 6. Nothing of it touches the database: threads may call it."""

from typing import Any

from allauth.socialaccount.adapter import get_adapter

from portal.oidc.client_auth import basic, uses_basic
from portal.oidc.http import ProviderTrouble, time_budget
from portal.oidc_config import Provider


def refresh(provider: Provider, document: dict[str, Any], refresh_token: str) -> dict[str, Any]:
    """Return the tokens that the provider gives for ``refresh_token``, the rotated one among them.

    Raise StaleSignInError when it refuses, ProviderTrouble when it does not say.
    """
    body = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    auth = None
    if uses_basic(document):
        auth = basic(provider.client_id, provider.client_secret)
    else:
        body |= {"client_id": provider.client_id, "client_secret": provider.client_secret}
    with time_budget(), get_adapter().get_requests_session() as session:
        tokens: dict[str, Any] = session.post(document["token_endpoint"], data=body, auth=auth).json()
    if not isinstance(tokens.get("access_token"), str):
        raise ProviderTrouble("no_access_token")
    return tokens


def userinfo(document: dict[str, Any], access_token: str) -> dict[str, Any]:
    """Return what the provider says of the person now: OpenID Connect Core, section 5.3."""
    headers = {"Authorization": f"Bearer {access_token}"}
    with time_budget(), get_adapter().get_requests_session() as session:
        claims: dict[str, Any] = session.get(document["userinfo_endpoint"], headers=headers).json()
    return claims
