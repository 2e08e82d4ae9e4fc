"""The peer that a service acts on, as it is now and locked."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import IntegrityError, transaction

from peers.models import Peer
from peers.services.refused import NotActive, TokenInvalid

REVOKED = "auditevent_token"  # the rule of the database that nothing is done with a revoked token


def lock(peer: Peer) -> Peer | None:
    """Return the peer as it is now, locked until the transaction ends; None once it was pruned."""
    # no_key: others insert rows that point to peers meanwhile, in an order of their own; two could wait for each other.
    rows = Peer.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related("interface", "owner", "service_account").filter(pk=peer.pk).first()


@contextmanager
def locked(peer: Peer) -> Iterator[Peer]:
    """Give the peer as it is now, locked until the transaction ends; raise NotActive once it was pruned.

    Raises TokenInvalid when the token with which that is done was revoked meanwhile.
    """
    try:
        with transaction.atomic():
            if (row := lock(peer)) is None:
                raise NotActive
            yield row
    except IntegrityError as error:
        raise (TokenInvalid() if REVOKED in str(error) else error) from None


@contextmanager
def active(peer: Peer) -> Iterator[Peer]:
    """Give the peer as it is now, locked; raise NotActive when it is revoked or was pruned."""
    with locked(peer) as row:
        if row.revoked_at is not None:
            raise NotActive
        yield row
