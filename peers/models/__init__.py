"""What a peer is: the data, the constraints that guard it, and who is entitled now."""

from peers.models.event import AuditEvent
from peers.models.interface import Address, Interface
from peers.models.peer import LEASE_UNTIL, Peer, PeerKey, PeerQuerySet
from peers.models.status import CONNECTED_WITHIN, GATEWAY_SILENT_AFTER, GatewayStatus, PeerStatus

__all__ = [
    "CONNECTED_WITHIN",
    "GATEWAY_SILENT_AFTER",
    "LEASE_UNTIL",
    "Address",
    "AuditEvent",
    "GatewayStatus",
    "Interface",
    "Peer",
    "PeerKey",
    "PeerQuerySet",
    "PeerStatus",
]
