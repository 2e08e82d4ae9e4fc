"""The OpenID Connect relying party: allauth's, with the checks that it leaves out."""

import secrets
from copy import copy
from functools import cached_property
from typing import Any

from allauth.socialaccount.internal import statekit
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.oauth2.client import OAuth2Client
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils import timezone

from portal import oidc_config
from portal.assurance import Purpose, parameters, required
from portal.oidc import discovery, id_token
from portal.oidc.client_auth import basic, uses_basic
from portal.oidc.http import ProviderTrouble
from portal.oidc.identity import Proof, proof


class Client(OAuth2Client):  # type: ignore[misc]  # allauth has no types
    def get_redirect_url(self, authorization_url: str, scope: list[str], extra_params: dict[str, str]) -> str:
        """Return the address to send the browser to; an endpoint may have a query of its own."""
        ordered = {**extra_params, "scope": " ".join(scope)}  # allauth would send a set, in any order
        url: str = super().get_redirect_url("", scope, ordered)
        separator = "&" if "?" in authorization_url else "?"
        return authorization_url + separator + url.removeprefix("?")

    def get_access_token(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Return what the code is traded for, by a client whose id and secret are as HTTP Basic sends them."""
        client = copy(self)
        if self.basic_auth:
            client.consumer_key, client.consumer_secret = basic(self.consumer_key, self.consumer_secret)
        tokens: dict[str, Any] = OAuth2Client.get_access_token(client, *args, **options)
        return tokens


class Exchange(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # allauth has no types
    """One conversation with a provider: discovery, then code for token, then claims."""

    client_class = Client

    @cached_property
    def configured(self) -> oidc_config.Provider:
        if (found := oidc_config.by_id(self.provider_id)) is None:
            raise Http404
        return found

    @cached_property
    def openid_config(self) -> dict[str, Any]:
        return discovery.document(self.configured)

    def is_answered_by(self, issuers: list[str]) -> bool:
        """Say whether an answer with these ``iss`` is of this conversation (RFC 9207, section 2.4).

        One that names no issuer is, unless the provider says that its answers do.
        """
        if issuers:
            return issuers == [self.configured.issuer]
        return self.openid_config.get("authorization_response_iss_parameter_supported") is not True

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        """Return the address that is registered with the provider, whatever host the request came by."""
        del request, app
        return settings.LATCHKEY_URL + reverse("openid_connect_callback", args=[self.provider_id])

    @property
    def basic_auth(self) -> bool:
        return uses_basic(self.openid_config)

    def claims(self, code: str, state: dict[str, Any]) -> tuple[dict[str, Any], Proof]:
        """Trade ``code`` for the person's claims, of which userinfo's win over the id_token's, and for what proves them."""
        client = self.get_client(self.request, self.get_provider().app)
        tokens = client.get_access_token(code, pkce_code_verifier=state.get("pkce_code_verifier"))
        if not isinstance(tokens["access_token"], str):
            raise ProviderTrouble("bad_access_token")
        signed = id_token.checked(
            self.configured, tokens.get("id_token"), at=timezone.now(), nonce=str(state.get("nonce"))
        )
        userinfo = self._fetch_user_info(tokens["access_token"])
        if userinfo.get("sub") != signed["sub"]:  # OpenID Connect Core, section 5.3.2
            raise ProviderTrouble("sub_mismatch")
        return {**signed, **userinfo}, proof(signed, tokens)


class StrictProvider(OpenIDConnectProvider):  # type: ignore[misc]  # allauth has no types
    """allauth's provider, but with every answer checked (``Exchange``) and from the settings alone."""

    oauth2_adapter_class = Exchange

    @classmethod
    def of(cls, request: HttpRequest, provider_id: str) -> "StrictProvider":
        """Return the configured provider; raise Http404. The database's SocialApp rows are never asked."""
        for entry in settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]:
            if entry["provider_id"] == provider_id:
                return cls(request, app=SocialApp(provider=cls.id, **entry))
        raise Http404

    @cached_property
    def exchange(self) -> Exchange:
        exchange = Exchange(self.request, self.app.provider_id)
        exchange.get_provider = lambda: self
        return exchange

    def get_scope(self) -> list[str]:
        return list(self.exchange.configured.scopes)

    def get_auth_params(self) -> dict[str, str]:
        return dict(self.exchange.configured.authorization_params)

    def get_oauth2_adapter(self, request: HttpRequest) -> Exchange:
        del request  # it is the one that this provider was made for
        return self.exchange

    def departure(self, request: HttpRequest, next_url: str, purpose: Purpose | None = None) -> str:
        """Return the address at the provider that starts a sign-in, having kept its state in the session.

        It asks for what ``purpose`` requires. Nothing of the request's own query goes into it.
        """
        wanted = parameters(required(self.exchange.configured, purpose)) if purpose else {}
        nonce = secrets.token_urlsafe(24)
        _ = self.exchange.openid_config  # first, so that a provider which is away leaves no session behind
        response = self.redirect(
            request,
            "login",
            next_url=next_url,
            scope=self.get_scope(),
            auth_params=_joined({**self.get_auth_params(), "nonce": nonce}, wanted),
            nonce=nonce,
            purpose=purpose,
        )
        return str(response.url)

    def take_state(self, request: HttpRequest) -> dict[str, Any] | None:
        """Return what was kept at departure, once; None when there is none, or it is ten minutes old."""
        state_id = request.GET.get("state", "")
        state: dict[str, Any] | None = statekit.unstash_state(
            request, provider_id=self.sub_id, state_id=state_id
        )
        return state


def _joined(configured: dict[str, str], wanted: dict[str, str]) -> dict[str, str]:
    """Return both, of which ``wanted`` wins; but prompts add up, since a provider may need consent for a refresh token."""
    prompts = f"{wanted.get('prompt', '')} {configured.get('prompt', '')}".split()
    prompt = {"prompt": " ".join(dict.fromkeys(prompts))} if prompts else {}
    return {**configured, **wanted, **prompt}
