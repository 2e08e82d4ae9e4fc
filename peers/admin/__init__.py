"""What administrators see and may do. Each module registers the models it is about."""

from peers.admin import gateway, interface, labels, peer, person
from peers.admin.audit import event
from peers.admin.overview import page

labels.apply()

__all__ = ["event", "gateway", "interface", "labels", "page", "peer", "person"]
