"""What gateways write down of handshakes that came before their peer was on the interface; written by them alone."""

from django.db import models
from django.db.models import F, Func, Q
from django.db.models.lookups import Exact

from peers.models.peer import Peer, PeerKey

TAI64N = 12  # bytes: seconds and nanoseconds, big-endian, so that a later one is greater byte by byte


def _octets(column: str) -> Func:
    return Func(F(column), function="octet_length", output_field=models.IntegerField())


class HandshakeTimestamp(models.Model):
    """The greatest timestamp that a gateway has seen in a key's handshakes: one that is not greater is a replay.

    An interface forgets it with the peer that it takes off, and has never known what came to another gateway.
    """

    key = models.OneToOneField(PeerKey, models.PROTECT, primary_key=True, related_name="timestamp")
    tai64n = models.BinaryField(max_length=TAI64N)
    seen_at = models.DateTimeField(help_text="By the database's clock: how far the device's is off.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Exact(_octets("tai64n"), TAI64N),
                name="handshaketimestamp_tai64n",
            )
        ]

    def __str__(self) -> str:
        return f"{self.key_id}"


class RefusedHandshake(models.Model):
    """That a peer asked for its tunnel when it was not entitled, at times that follow each other closely.

    ``told_at``, which the portal writes, is when its owner was told of them.
    """

    peer = models.OneToOneField(Peer, models.PROTECT, primary_key=True, related_name="refused_handshake")
    count = models.BigIntegerField(help_text="All that there ever were.")
    first_at = models.DateTimeField(help_text="The first after an hour without any.")
    latest_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(count__gte=1) & Q(latest_at__gte=F("first_at")), name="refusedhandshake_order"
            )
        ]

    def __str__(self) -> str:
        return f"{self.count} of {self.peer_id}"

    @property
    def is_told(self) -> bool:
        """Whether its owner knows of these; not of those that begin anew after an hour without any."""
        return self.told_at is not None and self.told_at >= self.first_at
