"""Decide whether a person whom a provider vouches for may come in, and write down that they did."""

from datetime import datetime

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest

from peers import audit
from portal import sessions
from portal.models import User
from portal.oidc.identity import Identity, Proof
from portal.oidc_config import Provider
from portal.source import source


class RefusedError(Exception):
    """The provider vouches for them, yet they may not use the portal; the text is the reason, for the audit log."""


def sign_in(
    request: HttpRequest, provider: Provider, person: Identity, proof: Proof, *, at: datetime, reference: str
) -> User:
    """Give the person a session; raise RefusedError, with the refusal on record, when they may not have one.

    ``reference`` goes on record with a refusal. The row is found by (issuer, sub) alone. An e-mail address that two
    people share is nothing but a text on both.
    """
    del proof
    user, refusal = _admit(provider, person, source(request), at, reference)
    if user is None or refusal:
        raise RefusedError(refusal)
    sessions.begin(request, user, at=at)
    return user


@transaction.atomic
def _admit(
    provider: Provider, person: Identity, address: str | None, at: datetime, reference: str
) -> tuple[User | None, str]:
    """Return the person's row as it is now (None: there is none), and why they are refused ("": they are not)."""
    allowed = provider.allowed_groups is None or bool(provider.allowed_groups & person.groups)
    user = _row(person, create=allowed)
    refusal = _refusal(user, allowed=allowed)
    action = "sign_in_refused" if refusal else "sign_in"
    new = {"provider": provider.id, **({"reference": reference} if refusal else {})}
    if user is None:
        new |= {"issuer": person.issuer, "sub": person.sub}
    else:
        _refresh(user, provider, person, at=None if refusal else at)
    audit.record(action, actor=user, target=user, source=address, new=new, reason=refusal)
    return user, refusal


def _row(person: Identity, *, create: bool) -> User | None:
    """Return the person's row, locked; a stranger gets one only when ``create`` says so."""
    known = User.objects.select_for_update()
    if not create:
        return known.filter(issuer=person.issuer, sub=person.sub).first()
    return known.get_or_create(
        issuer=person.issuer, sub=person.sub, defaults={"password": make_password(None)}
    )[0]


def _refusal(user: User | None, *, allowed: bool) -> str:
    if not allowed:
        return "not in an allowed group"
    return "" if user is not None and user.is_active else "deactivated"


def _refresh(user: User, provider: Provider, person: Identity, *, at: datetime | None) -> None:
    """Copy what the provider says today; with ``at`` None the person was refused, and no lease starts.

    A refused person loses groups and admin rights all the same: the provider has just said so.
    """
    is_admin = bool(provider.admin_groups & person.groups)
    user.name, user.email, user.groups_claim = person.name, person.email, sorted(person.groups)
    user.is_staff = user.is_superuser = is_admin
    fields = ["name", "email", "groups_claim", "is_staff", "is_superuser"]
    if at is not None:
        user.signed_in_at = at
        fields.append("signed_in_at")
    user.save(update_fields=fields)
