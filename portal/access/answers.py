"""Read what a provider's answer about a person means: fine, gone, or that nobody can tell. Pure."""

from dataclasses import dataclass
from typing import Any

from portal.models import LossReason
from portal.oidc.identity import named_groups
from portal.oidc_config import Provider


@dataclass(frozen=True, slots=True)
class Fine:
    """The provider vouches for the person; ``groups`` are theirs, None where it names none and never did."""

    groups: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Gone:
    """The provider vouches for the person no longer; ``groups`` are theirs where it named them."""

    reason: LossReason
    groups: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The answer says nothing about the person; ``failure`` is a word, ``retry_after`` the provider's wish in seconds."""

    failure: str
    retry_after: int | None = None

    @property
    def did_nothing(self) -> bool:
        """Say whether the provider did nothing of what it was asked: it refused the request itself (4xx), or never got it."""
        return self.failure == "unreachable" or self.failure.startswith("status_4")


Answer = Fine | Gone | CannotTell


def read(provider: Provider, claims: dict[str, Any], known: frozenset[str]) -> Answer:
    """Return what the claims mean for a person whose groups were ``known`` until now.

    ``active`` is SCIM's word (RFC 7643, section 4.1.1). Where groups were named before, or some must let in, their absence
    is no word on them: a provider that forgets a claim must not cut everyone off.
    """
    if claims.get("active") is False:
        return Gone(LossReason.DISABLED)
    groups = named_groups(provider, claims)
    if groups is None:
        asked_for = bool(provider.groups_claim) and (bool(known) or provider.allowed_groups is not None)
        return CannotTell("no_groups") if asked_for else Fine(None)
    if provider.allowed_groups is not None and not provider.allowed_groups & groups:
        return Gone(LossReason.GROUP_LOST, groups)
    return Fine(groups)
