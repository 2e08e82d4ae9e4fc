"""What administrators see and may do. Each module registers the models it is about."""

from peers.admin import audit, gateway, interface, labels, overview, peer, person

labels.apply()

__all__ = ["audit", "gateway", "interface", "labels", "overview", "peer", "person"]
