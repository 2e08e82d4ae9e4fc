"""What a peer is: the data, the constraints that guard it, and who is entitled now."""

from peers.models.account import MOST_USES, SHORTEST_TTL, ApiToken, Scope, ServiceAccount
from peers.models.event import AuditEvent, AuditSeal, SealedEvent
from peers.models.handshake import HandshakeTimestamp, RefusedHandshake
from peers.models.interface import Address, Interface
from peers.models.link import EnrolLink
from peers.models.peer import (
    LEASE_UNTIL,
    BarredKey,
    FreedNumber,
    Peer,
    PeerKey,
    PeerQuerySet,
    entitlement,
    held_loss,
)
from peers.models.status import (
    CONNECTED_WITHIN,
    GATEWAY_SILENT_AFTER,
    SAMPLES_KEPT,
    GatewayStatus,
    PeerStatus,
    TrafficSample,
)

__all__ = [
    "CONNECTED_WITHIN",
    "GATEWAY_SILENT_AFTER",
    "LEASE_UNTIL",
    "MOST_USES",
    "SAMPLES_KEPT",
    "SHORTEST_TTL",
    "Address",
    "ApiToken",
    "AuditEvent",
    "AuditSeal",
    "BarredKey",
    "EnrolLink",
    "FreedNumber",
    "GatewayStatus",
    "HandshakeTimestamp",
    "Interface",
    "Peer",
    "PeerKey",
    "PeerQuerySet",
    "PeerStatus",
    "RefusedHandshake",
    "Scope",
    "SealedEvent",
    "ServiceAccount",
    "TrafficSample",
    "entitlement",
    "held_loss",
]
