"""Lead a person who has signed out here to their provider, to sign out there (OpenID Connect RP-Initiated Logout 1.0)."""

import logging

from django.conf import settings
from django.urls import reverse
from django.utils.http import urlencode

from portal.assurance import Assurance, id_token
from portal.oidc import discovery
from portal.oidc.http import ProviderTrouble
from portal.oidc_config import Provider, by_id

logger = logging.getLogger(__name__)
LONGEST_HINT = 4000  # characters; servers refuse an address that is much longer


def farewell(proved: Assurance | None) -> str:
    """Return the address at the provider that ends the sign-in; empty when it has none, or cannot be asked now."""
    provider = proved and by_id(proved.provider)
    if not proved or not provider or not (endpoint := _endpoint(provider)):
        return ""
    query = {
        "client_id": provider.client_id,
        "post_logout_redirect_uri": settings.LATCHKEY_URL + reverse("signed_out"),
    }
    hint = id_token(proved)
    if 0 < len(hint) <= LONGEST_HINT:  # without it the provider asks the person
        query["id_token_hint"] = hint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"


def ends_refresh_token(proved: Assurance) -> bool:
    """Say whether signing out at the provider may end the refresh token too: only ``offline_access`` is meant to outlive it.

    OpenID Connect Core, section 11.
    """
    provider = by_id(proved.provider)
    return provider is not None and "offline_access" not in provider.scopes


def _endpoint(provider: Provider) -> str:
    try:
        return str(discovery.document(provider).get("end_session_endpoint", ""))
    except ProviderTrouble as trouble:
        logger.warning("provider_trouble", extra={"provider": provider.id, "failure": trouble.failure})
        return ""
