"""What gateways read back; written by them alone."""

from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from peers.fields import PublicKeyField
from peers.models.interface import Interface
from peers.models.peer import Peer

GATEWAY_SILENT_AFTER = timedelta(seconds=15)
CONNECTED_WITHIN = timedelta(minutes=3)
SAMPLES_KEPT = timedelta(hours=48)


class PeerStatus(models.Model):
    """What a gateway read back of a peer; written by the gateway alone."""

    gateway = models.CharField(max_length=255)
    peer = models.ForeignKey(Peer, models.PROTECT, related_name="statuses")
    public_key = PublicKeyField(blank=True, help_text="The key that was read back.")
    present = models.BooleanField(default=False)
    since = models.DateTimeField(help_text="When it came on, or went off, the interface.")
    latest_handshake = models.DateTimeField(null=True)
    connected_since = models.DateTimeField(
        null=True,
        help_text="The first of the handshakes that followed each other without a gap; null: none yet.",
    )
    endpoint = models.CharField(max_length=64, blank=True)
    rx_bytes = models.BigIntegerField(default=0)
    tx_bytes = models.BigIntegerField(default=0)
    held = models.BooleanField(default=False, help_text="The brake holds its removal.")
    problem = models.CharField(max_length=200, blank=True, help_text="Why its row was put aside.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["gateway", "peer"], name="peerstatus_gateway_peer")]
        # Few have one, and every list of the others asks that each has none.
        indexes = [
            models.Index(fields=["peer"], condition=~models.Q(problem=""), name="peerstatus_problem"),
            # Where a million devices come and go, a gateway that starts asks only for what it had on.
            models.Index(
                fields=["gateway"],
                condition=models.Q(present=True) | ~models.Q(problem=""),
                name="peerstatus_to_know",
            ),
        ]
        verbose_name_plural = "peer statuses"

    def __str__(self) -> str:
        return f"{self.peer_id} on {self.gateway}"

    def recency(self) -> float:
        """Return what the latest of several statuses has the highest of; 0 without a handshake."""
        return self.latest_handshake.timestamp() if self.latest_handshake else 0.0


class GatewayStatus(models.Model):
    """What a gateway says of itself and of an interface it holds; written by the gateway alone."""

    gateway = models.CharField(max_length=255)
    interface = models.ForeignKey(Interface, models.PROTECT, related_name="gateways")
    version = models.CharField(max_length=32)
    attached = models.BooleanField(default=True, help_text=_("False: no interface, changes are only shown."))
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    last_pass_at = models.DateTimeField(null=True)
    drift_found = models.BigIntegerField(
        default=0, help_text=_("Peers put right that nobody had changed here.")
    )
    first_contact_at = models.DateTimeField(null=True)
    left_alone = ArrayField(
        PublicKeyField(),
        default=list,
        help_text=_("Unknown peers that stood there at first contact: left alone."),
    )
    unexplained = models.IntegerField(
        default=0, help_text=_("Unexplained removals since an operator's last word.")
    )
    brake_at = models.DateTimeField(null=True)
    released_at = models.DateTimeField(null=True, help_text=_("The operator's word that it last acted on."))
    held = models.IntegerField(default=0, help_text=_("Removals that the brake holds."))
    problem = models.CharField(max_length=200, blank=True)
    handshakes_admitted = models.BigIntegerField(
        default=0, db_default=0, help_text=_("On demand: handshakes that put a peer on.")
    )
    handshakes_refused = models.BigIntegerField(
        default=0, db_default=0, help_text=_("Of devices that were not entitled, or that nobody knows.")
    )
    handshakes_invalid = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text=_("Packets that were no handshake of anybody's, or one that came before."),
    )
    handshakes_dropped = models.BigIntegerField(
        default=0, db_default=0, help_text=_("More than are looked at: a flood, unread.")
    )
    flood_at = models.DateTimeField(
        null=True, help_text=_("Since when a flood of packets comes that lead to nothing.")
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["gateway", "interface"], name="gatewaystatus_gateway_interface")
        ]
        verbose_name_plural = "gateway statuses"

    def __str__(self) -> str:
        return f"{self.interface} on {self.gateway}"

    def is_silent(self, at: datetime) -> bool:
        """Say whether at ``at``, the database's time, its last heartbeat is too long ago for it to know what is on."""
        return at - self.heartbeat_at > GATEWAY_SILENT_AFTER


class TrafficSample(models.Model):
    """A peer's counters as read back in one quarter of an hour in which it was connected; kept for 48 hours."""

    gateway = models.ForeignKey(GatewayStatus, models.PROTECT, related_name="+")
    peer = models.ForeignKey(Peer, models.PROTECT, related_name="samples")
    at = models.DateTimeField(help_text="When the quarter of an hour began.")
    rx_bytes = models.BigIntegerField(help_text="As wg(8) counts: since the peer came on the interface.")
    tx_bytes = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["peer", "at", "gateway"], name="trafficsample_once"),
        ]
        indexes = [models.Index(fields=["at"], name="trafficsample_at")]

    def __str__(self) -> str:
        return f"{self.peer_id} at {self.at:%H:%M}"
