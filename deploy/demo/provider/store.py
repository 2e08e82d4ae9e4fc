"""The demo provider's rows: its people and its one client."""

from collections.abc import Iterable

from allauth.idp.oidc.models import Client
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command

from deploy.demo.provider import CLIENT_ID
from deploy.demo.provider.people import PEOPLE


def setup(redirect_uri: str, signed_out_uri: str) -> None:
    """Make or update everything, given where the portal wants people back once they signed in, and once they signed out."""
    call_command("migrate", verbosity=0)
    _set_client(redirect_uri, signed_out_uri)
    for name, groups in PEOPLE.items():
        user, is_new = User.objects.get_or_create(username=name)
        if is_new:
            user.first_name, user.last_name, user.email = name.title(), "Demo", f"{name}@example.com"
            user.set_password(f"{name}-demo")
            user.save()
            set_person(name, active=True, groups=groups)


def reset() -> None:
    """Put every person back to what they are at first."""
    for name, groups in PEOPLE.items():
        set_person(name, active=True, groups=groups)


def set_person(name: str, *, active: bool, groups: Iterable[str] | None) -> None:
    user = User.objects.get(username=name)
    user.is_active = active
    user.save(update_fields=["is_active"])
    if groups is not None:
        user.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])


def _set_client(redirect_uri: str, signed_out_uri: str) -> None:
    client = Client.objects.filter(pk=CLIENT_ID).first() or Client(pk=CLIENT_ID)
    client.name, client.skip_consent = "Latchkey", True
    client.set_secret(settings.CLIENT_SECRET)  # type: ignore[misc]  # of the provider's settings
    client.set_redirect_uris([redirect_uri])
    client.set_post_logout_redirect_uris([signed_out_uri])
    client.set_scopes(["openid", "profile", "email", "offline_access"])
    client.grant_types = "authorization_code\nrefresh_token"
    client.save()
