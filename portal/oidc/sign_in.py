"""Decide whether a person whom a provider vouches for may come in, and write down that they did."""

from datetime import datetime

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest

from peers.audit import Actor, record
from portal import sessions
from portal.access import brake, changes
from portal.access.questions import next_question
from portal.assurance import of_sign_in
from portal.models import LossReason, RefreshToken, User
from portal.oidc.http import ProviderTrouble
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
    user, refusal = _admit(provider, person, proof, source(request), at, reference)
    if user is None or refusal:
        raise RefusedError(refusal)
    sessions.begin(request, user, of_sign_in(provider, proof), at=at)
    return user


@transaction.atomic
def _admit(
    provider: Provider, person: Identity, proof: Proof, address: str | None, at: datetime, reference: str
) -> tuple[User | None, str]:
    """Return the person's row as it is now (None: there is none), and why they are refused ("": they are not)."""
    brake.lock()
    allowed = provider.allowed_groups is None or bool(provider.allowed_groups & person.groups)
    user = _row(person, create=allowed)
    groups_count = user and (user.groups_claim or provider.allowed_groups is not None)
    if groups_count and provider.groups_claim and not person.names_groups:
        # Which is no word on the groups that they had: nothing is taken away.
        raise ProviderTrouble("no_groups")
    refusal = _refusal(user, allowed=allowed)
    action = "sign_in_refused" if refusal else "sign_in"
    actor = Actor(user=user, source=address, stranger=user is None)
    new = {"provider": provider.id, **({"reference": reference} if refusal else {})}
    if user is None:
        new |= {"issuer": person.issuer, "sub": person.sub}
    else:
        _describe(user, person)
        _take_the_word(user, provider, person, allowed=allowed, actor=actor, at=at)
    if user and not refusal:
        _begin_lease(user, provider, proof, at)
    record(action, actor, user, new=new, reason=refusal)
    return user, refusal


def _row(person: Identity, *, create: bool) -> User | None:
    """Return the person's row, locked; a stranger gets one only when ``create`` says so."""
    known = User.objects.select_for_update(no_key=True)
    if not create:
        return known.filter(issuer=person.issuer, sub=person.sub).first()
    return known.get_or_create(
        issuer=person.issuer, sub=person.sub, defaults={"password": make_password(None)}
    )[0]


def _refusal(user: User | None, *, allowed: bool) -> str:
    if not allowed:
        return "not in an allowed group"
    return "" if user is not None and user.is_active else "deactivated"


def _describe(user: User, person: Identity) -> None:
    user.name, user.email = person.name, person.email
    user.save(update_fields=["name", "email"])


def _take_the_word(
    user: User, provider: Provider, person: Identity, *, allowed: bool, actor: Actor, at: datetime
) -> None:
    """Take over the groups that the provider has just named, of a refused person too; without an allowed one they are out."""
    if allowed:
        changes.regroup(user, provider, person.groups, actor=actor)
    else:
        changes.end(user, LossReason.GROUP_LOST, actor=actor, at=at, groups=person.groups)


def _begin_lease(user: User, provider: Provider, proof: Proof, at: datetime) -> None:
    """Write down when they signed in and with what the provider can be asked; without that the lease is a short one."""
    user.signed_in_at, user.access_ended_at, user.access_end_reason = at, None, ""
    user.lease_limit = None if proof.refresh_token else settings.LATCHKEY_LEASE_WITHOUT_REFRESH_TOKEN
    user.save(update_fields=["signed_in_at", "access_ended_at", "access_end_reason", "lease_limit"])
    RefreshToken.objects.filter(person=user).delete()
    if proof.refresh_token:
        RefreshToken.objects.create(
            person=user, provider=provider.id, token=proof.refresh_token, obtained_at=at, due_at=next_question(at),
        )  # fmt: skip
