"""Note that an owner was told of handshakes that were refused. Nothing of a peer changes by that, so the audit has none of it."""

from collections.abc import Iterable

from django.db.models.functions import Greatest, Now

from peers.models import RefusedHandshake


def note_told(refused: Iterable[RefusedHandshake]) -> None:
    """Note that the owner of each peer has now been told of these; not of others that have begun anew since they were read.

    One statement each, and no transaction: a gateway writes these rows in an order of its own.
    """
    for row in refused:
        same = RefusedHandshake.objects.filter(pk=row.pk, first_at=row.first_at)
        same.update(told_at=Greatest(Now(), "first_at"))
