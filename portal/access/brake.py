"""The brake for identity: when the provider's word would cut many people off at once, hold it until somebody looked."""

from datetime import timedelta

from django.db import connection
from django.db.models import F, Q
from django.db.models.functions import Now

from peers.models import AuditEvent, PeerStatus
from portal.models import HeldLoss

WITHIN = timedelta(minutes=10)
AT_LEAST, SHARE = 5, 0.10
COUNTED = ("access_ended", "groups_changed")  # the audit's actions that follow from a provider's word


def lock() -> None:
    """Wait until nobody else changes access, and have them wait until this transaction ends: losses are counted.

    Call it first: whoever holds a person's row and then waits here could wait for ever.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('latchkey-access'))")


def holds(person: int) -> bool:
    """Say whether the loss of one more person, by their id, is too much; call it once it is one's turn.

    While anything is held everything is, this person's own loss too: else a provider that is wrong about all would cut a tenth
    of them every ten minutes, and the only loss that is held would be carried out unseen once those before it count no more.
    """
    if HeldLoss.objects.undecided().exists():
        return True
    cut = _cut_of_late() | {person}
    return len(cut) > max(AT_LEAST, int((len(cut) + _others_with_live_peers(cut)) * SHARE))


def _cut_of_late() -> set[int]:
    """Return the people cut off since an administrator's last word, ten minutes ago at the most, by the database's clock.

    What that word itself cuts off, later on, does not count: of all others the actor is nobody, or the person signing in.
    """
    events = AuditEvent.objects.filter(at__gt=Now() - WITHIN)
    if word := events.filter(action="release_access").order_by("-at").values_list("at", flat=True).first():
        events = events.filter(at__gt=word)
    unasked = events.filter(Q(actor=None) | Q(actor=F("person")), action__in=COUNTED, new__devices__gt=0)
    return set(unasked.values_list("person", flat=True))


def _others_with_live_peers(cut: set[int]) -> int:
    on = PeerStatus.objects.filter(present=True, peer__owner__isnull=False).exclude(peer__owner__in=cut)
    return on.values("peer__owner").distinct().count()
