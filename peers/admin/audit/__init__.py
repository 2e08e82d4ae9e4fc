"""The audit in the admin: its list and its filters, who had an address, and its export."""

from peers.admin.audit import event

__all__ = ["event"]
