"""What is known of one peer, gathered for whoever judges it, and what a look at that finds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import BooleanField, Case, ExpressionWrapper, Value, When
from django.utils.translation import gettext as _

from peers.models import (
    LEASE_UNTIL,
    GatewayStatus,
    Peer,
    PeerKey,
    PeerStatus,
    RefusedHandshake,
    entitlement,
    held_loss,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a peer at ``at``. ``met`` has each condition of ``entitlement``; ``key`` is None once revoked.

    ``loss_held``: the identity brake alone keeps its owner's access.
    """

    peer: Peer
    at: datetime
    met: Mapping[str, bool]
    loss_held: bool
    lease_until: datetime | None
    key: PeerKey | None
    statuses: tuple[PeerStatus, ...]
    gateways: tuple[GatewayStatus, ...]
    refused: RefusedHandshake | None

    @property
    def fresh(self) -> list[GatewayStatus]:
        """The gateways that hold the interface and report."""
        return [gateway for gateway in self.gateways if gateway.attached and not gateway.is_silent(self.at)]

    @property
    def reported(self) -> list[PeerStatus]:
        """What the gateways that report have read back of the peer."""
        names = {gateway.gateway for gateway in self.fresh}
        return [status for status in self.statuses if status.gateway in names]

    @property
    def on(self) -> list[PeerStatus]:
        """What was read back of its current key, where that is on the interface; the latest handshake first."""
        return [status for status in self.of_key if status.present]

    @property
    def of_key(self) -> list[PeerStatus]:
        """What was read back of its current key, on the interface or off it again; the latest handshake first."""
        key = self.key.public_key if self.key else None
        found = [status for status in self.reported if status.public_key == key]
        return sorted(found, key=PeerStatus.recency, reverse=True)


def gather(peer: Peer, at: datetime) -> Facts:
    """Return the facts about ``peer`` at ``at``, which is ``database_now()``, in a fixed number of queries."""
    conditions = {
        name: ExpressionWrapper(condition, BooleanField()) for name, condition in entitlement(at).items()
    }
    is_held = Case(When(held_loss(), then=Value(True)), default=Value(False))
    row = Peer.objects.annotate(lease_until=LEASE_UNTIL, loss_held=is_held, **conditions)
    row = row.values("lease_until", "loss_held", *conditions)
    found = row.get(pk=peer.pk)
    return Facts(
        peer=peer,
        at=at,
        met={name: bool(found[name]) for name in conditions},
        loss_held=found["loss_held"],
        lease_until=found["lease_until"],
        key=peer.key,
        statuses=tuple(peer.statuses.order_by("gateway")),
        gateways=tuple(GatewayStatus.objects.filter(interface=peer.interface_id).order_by("gateway")),
        refused=RefusedHandshake.objects.filter(peer=peer).first(),
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found: a sentence, and what to do about it."""

    passed: bool
    sentence: str
    remedy: str = ""


def moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else _("a time that is not known")
