"""The newest tokens of a service account, on its page."""

from dataclasses import dataclass

from django.http import HttpRequest

from peers.models import ApiToken, ServiceAccount
from peers.presentation import TokenLine, token_lines
from peers.states import database_now

SHOWN = 50


@dataclass(frozen=True, slots=True)
class NewestTokens:
    """The first few, those that were not revoked before the others, and how many more there are; below zero: none."""

    lines: list[TokenLine]
    more: int


def newest_tokens(request: HttpRequest, account: ServiceAccount) -> NewestTokens | None:
    """Return them; None for who may not see tokens."""
    if not request.user.has_perm("peers.view_apitoken"):
        return None
    at, own = database_now(), ApiToken.objects.of(account)
    shown = own.with_usable(at).usable_first()[:SHOWN]
    return NewestTokens(token_lines(shown), own.count() - SHOWN)
