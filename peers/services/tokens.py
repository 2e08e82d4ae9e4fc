"""Make API tokens, which are shown once, and revoke them, with their machines where that is asked for."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import ngettext

from peers import letters
from peers.audit import Actor, record
from peers.models import ApiToken, Peer, ServiceAccount
from peers.services.changes import revoke
from peers.services.refused import TokenLimit, TokenNameTaken, TokenTooLong
from peers.tokens import beginning, digest, generate
from portal.models import User

AT_ONCE = 100  # peers a transaction
NOTE_EVERY = timedelta(minutes=1)
LONGEST_OF_ACCOUNT, LONGEST_OF_PERSON = timedelta(days=3650), timedelta(days=90)
MOST_OF_PERSON = 10  # usable tokens


@transaction.atomic
def make_token(
    *,
    actor: Actor,
    holder: ServiceAccount | User,
    name: str,
    scopes: Collection[str],
    at: datetime,
    expires_at: datetime,
    use_limit: int | None = None,
) -> tuple[ApiToken, str]:
    """Return a new token of the account's or the person's, and its text, which is kept nowhere.

    A person is written to. Raises TokenTooLong; TokenNameTaken when one of that name acts: a form that is sent twice makes
    no two; and TokenLimit for a person who has as many as they may.
    """
    _must_not_last_too_long(holder, at, expires_at)
    _must_find_room(holder, name, at)
    text = generate()
    of = {"service_account": holder} if isinstance(holder, ServiceAccount) else {"owner": holder}
    token = ApiToken.objects.create(
        name=name, beginning=beginning(text), token_hash=digest(text), scopes=sorted(set(scopes)), made_at=at,
        made_by=actor.user, expires_at=expires_at, use_limit=use_limit, **of,
    )  # fmt: skip
    new = {
        "name": name,
        "token": token.beginning,
        "scopes": token.scopes,
        "expires_at": expires_at.isoformat(),
    }
    record("make_token", actor, token, new=new | ({"use_limit": use_limit} if use_limit else {}))
    letters.new_token(token, source=actor.source)
    return token, text


def longest_of(holder: ServiceAccount | User) -> timedelta:
    """Return how long a token of the account's or the person's lasts at most."""
    return LONGEST_OF_ACCOUNT if isinstance(holder, ServiceAccount) else LONGEST_OF_PERSON


def _must_not_last_too_long(holder: ServiceAccount | User, at: datetime, expires_at: datetime) -> None:
    longest = longest_of(holder)
    if expires_at > at + longest:
        sentence = ngettext(
            "A token lasts at most %(days)d day.", "A token lasts at most %(days)d days.", longest.days
        )
        raise TokenTooLong(sentence % {"days": longest.days})


def _must_find_room(holder: ServiceAccount | User, name: str, at: datetime) -> None:
    rows: QuerySet[Any] = (ServiceAccount if isinstance(holder, ServiceAccount) else User).objects.all()
    rows.select_for_update(no_key=True).get(
        pk=holder.pk
    )  # one after the other, so that a name and the limit hold
    usable = ApiToken.objects.of(holder).usable(at)
    if usable.filter(name=name).exists():
        raise TokenNameTaken
    if isinstance(holder, User) and usable.count() >= MOST_OF_PERSON:
        sentence = ngettext(
            "%(limit)d token is the most you may have. Revoke one that you no longer use.",
            "%(limit)d tokens are the most you may have. Revoke one that you no longer use.",
            MOST_OF_PERSON,
        )
        raise TokenLimit(sentence % {"limit": MOST_OF_PERSON})


def revoke_token(
    *, actor: Actor, token: ApiToken, at: datetime, reason: str = "", with_peers: bool = False
) -> ApiToken:
    """Return the token revoked, for ever; ``with_peers``: with every peer that was last enrolled with it, each on record.

    It ends at once, and its peers after it, some at a time. Revoking twice changes nothing but the peers that are still there.
    """
    row = _end(token, actor, at, reason)
    while with_peers and _revoke_some(row, actor, at, reason):
        pass
    return row


@transaction.atomic
def _end(token: ApiToken, actor: Actor, at: datetime, reason: str) -> ApiToken:
    # With its key: that waits for what is being done with it, and lets nothing be done any more (``auditevent_token``).
    row = ApiToken.objects.select_for_update().get(pk=token.pk)
    if row.revoked_at is None:
        row.revoked_at, row.revoked_by = at, actor.user
        row.save(update_fields=["revoked_at", "revoked_by"])
        record("revoke_token", actor, row, old={"name": row.name, "token": row.beginning}, reason=reason)
    return row


@transaction.atomic
def _revoke_some(token: ApiToken, actor: Actor, at: datetime, reason: str) -> int:
    """Revoke some of the peers that were last enrolled with the token, and return how many."""
    rows = Peer.objects.select_for_update(no_key=True).enrolled_with(token).order_by("pk")
    peers = list(rows[:AT_ONCE])
    for peer in peers:
        revoke(actor=actor, peer=peer, at=at, reason=reason)
    return len(peers)


def note_use(token: ApiToken, *, source: str | None, at: datetime) -> None:
    """Keep when and from where the token was last used, at most once a minute."""
    if token.last_used_at is not None and at - token.last_used_at < NOTE_EVERY:
        return
    stale = ApiToken.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=at - NOTE_EVERY), pk=token.pk)
    stale.update(last_used_at=at, last_used_from=source)
