"""Tell people in good time that their sign-in ends, while their devices are still on."""

from collections.abc import Callable
from datetime import datetime
from itertools import groupby

from django.db import transaction
from django.db.models import F, Q, QuerySet

from peers import letters
from peers.audit import Actor, record
from peers.models import Peer
from portal.models import User

AT_ONCE = 100  # people a transaction


def warn_of_leases(*, actor: Actor, at: datetime, stopped: Callable[[], bool] = lambda: False) -> int:
    """Queue a letter to each person whose sign-in ends soon, and return how many were written to.

    Each end is told of once; a new sign-in moves the end, and so begins anew. Any number of processes may do this at once.
    """
    warned = 0
    while not stopped() and (told := _warn_some(actor, at)):
        warned += told
    return warned


@transaction.atomic
def _warn_some(actor: Actor, at: datetime) -> int:
    """Warn a hundred people whom nobody else is at, and return how many that were."""
    waiting = User.objects.select_for_update(skip_locked=True, no_key=True).exclude(email="")
    people = list(waiting.filter(pk__in=_untold(at).order_by().values("owner")).order_by("pk")[:AT_ONCE])
    # Asked again now that they are ours: another may have told some of them just before.
    rows = _untold(at).filter(owner__in=people).select_related("interface", "owner")
    told = [_warn(actor, list(peers)) for _, peers in groupby(sorted(rows, key=_owner), _owner)]
    # Past the signals: no gateway has to look again because of a letter.
    User.objects.filter(pk__in=told).update(lease_warned_at=at)
    return len(told)


def _untold(at: datetime) -> QuerySet[Peer]:
    """Return the peers that a lease's end takes off soon, of whose owners none was told since that is so."""
    never, earlier = Q(owner__lease_warned_at=None), Q(owner__lease_warned_at__lt=F("warning_from"))
    return Peer.objects.lease_ending(at).filter(never | earlier)


def _owner(peer: Peer) -> int:
    return peer.owner_id or 0  # of a machine, which has no lease


def _warn(actor: Actor, peers: list[Peer]) -> int:
    """Write to the owner of ``peers``, the first to go off first, and return their id."""
    person: User = peers[0].holder
    ends_at = peers[0].signed_in_until
    letters.lease_ends(person, peers)
    new = {"ends_at": ends_at.isoformat() if ends_at else None, "devices": len(peers)}
    record("lease_warned", actor, person, new=new)
    return person.pk
