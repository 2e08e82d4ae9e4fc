"""What administrators see and may do. Each module registers the models it is about."""

from peers.admin import account, audit, gateway, interface, labels, overview, peer, person, token

labels.apply()

__all__ = ["account", "audit", "gateway", "interface", "labels", "overview", "peer", "person", "token"]
