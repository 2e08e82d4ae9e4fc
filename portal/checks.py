"""Find mistakes in the configuration before people do."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004  # Django's name

from portal.oidc_config import LOOPBACK


@register(Tags.security)
def check_providers(**_options: Any) -> list[CheckMessage]:
    if settings.OIDC_PROVIDERS:
        return []
    return [
        Warning(
            "No identity provider is configured, so nobody can sign in.",
            hint="Set LATCHKEY_OIDC_PROVIDERS; until then `manage.py break_glass --new NAME` lets one person in.",
            id="latchkey.W001",
        )
    ]


@register(Tags.security, deploy=True)
def check_https(**_options: Any) -> list[CheckMessage]:
    if settings.HTTPS or settings.ALLOWED_HOSTS[0] in LOOPBACK:
        return []
    return [
        Error(
            "LATCHKEY_URL is not https, so sessions cross the network in clear.",
            hint="Put the portal behind TLS and set LATCHKEY_URL to its https address.",
            id="latchkey.E003",
        )
    ]


@register(Tags.security, deploy=True)
def check_proxy_for_https(**_options: Any) -> list[CheckMessage]:
    if not settings.HTTPS or settings.LATCHKEY_TRUSTED_PROXY_HOPS:
        return []
    return [
        Warning(
            "LATCHKEY_URL is https, yet no proxy is trusted: everyone would seem to come from the proxy's address.",
            hint="Set LATCHKEY_TRUSTED_PROXY_HOPS to 1 for the proxy that ends TLS and sets X-Forwarded-Proto; "
            'without a proxy (gunicorn --certfile) add "latchkey.W004" to SILENCED_SYSTEM_CHECKS.',
            id="latchkey.W004",
        )
    ]
