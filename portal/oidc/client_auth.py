"""How we prove to a token endpoint who we are: RFC 6749, section 2.3.1."""

from typing import Any
from urllib.parse import quote_plus


def uses_basic(document: dict[str, Any]) -> bool:
    """Say whether the client's secret goes into the header, as it does unless the provider says that it takes the body.

    OpenID Connect Discovery, section 3: a provider that does not say takes the header.
    """
    methods = document.get("token_endpoint_auth_methods_supported")
    return not (isinstance(methods, list) and "client_secret_post" in methods)


def basic(client_id: str, client_secret: str) -> tuple[str, str]:
    """Return the name and the password for HTTP Basic: each is form-encoded first."""
    return quote_plus(client_id), quote_plus(client_secret)
