"""Tell allauth how to reach a provider, and where a request comes from."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.http import HttpRequest

from portal.oidc.http import ProviderSession
from portal.source import source


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    def get_client_ip(self, request: HttpRequest) -> str:
        """Return what rate limits count by; those who cannot be told apart share one allowance."""
        return source(request) or "unknown"


class Adapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    def get_requests_session(self) -> ProviderSession:
        return ProviderSession()
