"""How the person of a session proved who they are, and whether that is enough for what they are about to do."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

from portal.encryption import decrypt, encrypt
from portal.oidc.id_token import LEEWAY
from portal.oidc.identity import Proof
from portal.oidc_config import Provider, Requirement

Purpose = Literal["enrol", "admin", "act"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
KEY = "assurance"  # in the session
SPARE = timedelta(seconds=60)  # to go to the provider and back, and to type a reason


@dataclass(frozen=True, slots=True)
class Assurance:
    """What is known of a sign-in; ``provider`` is its id, empty for a break-glass link.

    ``acr`` is empty and ``auth_time``, when they last proved who they are, None where the provider named none. ``id_token``
    is encrypted.
    """

    provider: str = ""
    acr: str = ""
    amr: frozenset[str] = frozenset()
    auth_time: datetime | None = None
    id_token: str = field(repr=False, default="")


def purpose(text: str | None) -> Purpose | None:
    """Return the purpose that ``text`` names; None when it names none."""
    return next((known for known in PURPOSES if known == text), None)


def of_sign_in(provider: Provider, proof: Proof) -> Assurance:
    return Assurance(provider.id, proof.acr, proof.amr, proof.auth_time, encrypt(proof.id_token))


def of_link(at: datetime) -> Assurance:
    """Return what a break-glass link proves: that an operator vouched for its person at ``at``."""
    return Assurance(auth_time=at)


def keep(session: SessionBase, proved: Assurance) -> None:
    session[KEY] = {
        "provider": proved.provider,
        "acr": proved.acr,
        "amr": sorted(proved.amr),
        "auth_time": proved.auth_time.isoformat() if proved.auth_time else None,
        "id_token": proved.id_token,
    }


def kept(session: SessionBase) -> Assurance | None:
    """Return how the person of the session signed in; None for a session from before that was kept."""
    if (found := session.get(KEY)) is None:
        return None
    auth_time = datetime.fromisoformat(found["auth_time"]) if found["auth_time"] else None
    return Assurance(
        found["provider"], found["acr"], frozenset(found["amr"]), auth_time, id_token=found["id_token"]
    )


def id_token(proved: Assurance) -> str:
    """Return the sign-in's id_token in clear; empty when there is none, or no longer the key to it."""
    try:
        return decrypt(proved.id_token) if proved.id_token else ""
    except InvalidToken:
        return ""


def required(provider: Provider | None, purpose: Purpose) -> Requirement:
    """Return what the purpose asks of a person of the provider's; None: of one whom no provider knows."""
    if purpose == "enrol":
        return provider.enrol_requires if provider else Requirement()
    found = provider.admin_requires if provider else Requirement()
    ages = [age for age in (found.max_age, settings.LATCHKEY_ADMIN_ACT_AGE) if age]
    return replace(found, max_age=min(ages, default=None)) if purpose == "act" else found


def with_time_to_spare(requirement: Requirement) -> Requirement:
    """Return the requirement for one who needs a while yet until it is judged."""
    if requirement.max_age is None:
        return requirement
    return replace(requirement, max_age=requirement.max_age - min(SPARE, requirement.max_age / 2))


def suffices(proved: Assurance | None, requirement: Requirement, *, at: datetime) -> bool:
    if proved is None:
        return requirement == Requirement()
    return (
        (not requirement.acr or proved.acr in requirement.acr)
        and proved.amr.issuperset(requirement.amr)
        and (requirement.max_age is None or _is_recent(proved.auth_time, requirement.max_age, at))
    )


def parameters(requirement: Requirement) -> dict[str, str]:
    """Return what asks a provider for it (OpenID Connect Core, section 3.1.2.1).

    With ``max_age`` it asks for a password only when it must, and has to say when it last did. No parameter asks for
    methods: only a sign-in afresh, ``prompt=login``, can bring others than the last one had.
    """
    found = {}
    if requirement.acr:
        found["acr_values"] = " ".join(requirement.acr)
    if (limit := with_time_to_spare(requirement).max_age) is not None:
        found["max_age"] = str(int(limit.total_seconds()))
    if requirement.amr:
        found["prompt"] = "login"
    return found


def _is_recent(auth_time: datetime | None, limit: timedelta, at: datetime) -> bool:
    return auth_time is not None and -timedelta(seconds=LEEWAY) <= at - auth_time <= limit
