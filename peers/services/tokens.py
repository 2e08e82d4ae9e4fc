"""Make API tokens, which are shown once, and revoke them, with their machines where that is asked for."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from peers.audit import Actor, record
from peers.models import ApiToken, Peer, ServiceAccount
from peers.services.changes import revoke
from peers.tokens import beginning, digest, generate
from portal.models import User

NOTE_EVERY = timedelta(minutes=1)


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
    """Return a new token of the account's or the person's, and its text, which is kept nowhere."""
    text = generate()
    of = {"service_account": holder} if isinstance(holder, ServiceAccount) else {"owner": holder}
    token = ApiToken.objects.create(
        name=name, beginning=beginning(text), token_hash=digest(text), scopes=sorted(scopes), made_at=at,
        made_by=actor.user, expires_at=expires_at, use_limit=use_limit, **of,
    )  # fmt: skip
    new = {
        "name": name,
        "token": token.beginning,
        "scopes": token.scopes,
        "expires_at": expires_at.isoformat(),
    }
    record("make_token", actor, token, new=new | ({"use_limit": use_limit} if use_limit else {}))
    return token, text


@transaction.atomic
def revoke_token(
    *, actor: Actor, token: ApiToken, at: datetime, reason: str = "", with_peers: bool = False
) -> ApiToken:
    """Return the token revoked, for ever; ``with_peers``: with every peer that was last enrolled with it, each on record.

    Revoking twice changes nothing but the peers that are still there.
    """
    row = ApiToken.objects.select_for_update(no_key=True).get(pk=token.pk)
    if row.revoked_at is None:
        row.revoked_at, row.revoked_by = at, actor.user
        row.save(update_fields=["revoked_at", "revoked_by"])
        record("revoke_token", actor, row, old={"name": row.name, "token": row.beginning}, reason=reason)
    if with_peers:
        for peer in Peer.objects.filter(token=row, revoked_at=None).order_by("pk"):
            revoke(actor=actor, peer=peer, at=at, reason=reason)
    return row


def note_use(token: ApiToken, *, source: str | None, at: datetime) -> None:
    """Keep when and from where the token was last used, at most once a minute."""
    if token.last_used_at is not None and at - token.last_used_at < NOTE_EVERY:
        return
    stale = ApiToken.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=at - NOTE_EVERY), pk=token.pk)
    stale.update(last_used_at=at, last_used_from=source)
