"""What the demo provider says of its people."""

from collections.abc import Iterable
from typing import Any

from allauth.idp.oidc.adapter import DefaultOIDCAdapter
from django.conf import settings
from django.contrib.auth.models import User

PREFIX = "demo-"


class Adapter(DefaultOIDCAdapter):  # type: ignore[misc]  # allauth has no types
    def get_issuer(self) -> str:
        return str(settings.ISSUER)  # type: ignore[misc]  # of the provider's settings, not the portal's

    def get_claims(
        self, purpose: str, user: User, client: Any, scopes: Iterable[str], **options: Any
    ) -> dict[str, Any]:
        claims: dict[str, Any] = super().get_claims(purpose, user, client, scopes, **options)
        groups = sorted(user.groups.values_list("name", flat=True))
        if purpose == "id_token" and user.last_login:
            claims |= {"auth_time": int(user.last_login.timestamp()), "amr": ["pwd"]}
        return {**claims, "email": user.email, "email_verified": True, "groups": groups}

    def get_user_sub(self, _client: Any, user: User) -> str:
        """Return a subject that stays the same when the demo's folder is made anew."""
        return PREFIX + user.get_username()

    def get_user_by_sub(self, _client: Any, sub: str) -> User | None:
        return User.objects.filter(username=sub.removeprefix(PREFIX), is_active=True).first()
