"""A device that still has settings which an administrator changed since: which they are, in words."""

import hashlib
import json

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from peers.configuration import given, stale
from peers.models import Peer

WORDS = {
    "addresses": _("this device's address"),
    "dns": _("the name servers (DNS)"),
    "mtu": _("the size of packets (MTU)"),
    "client_allowed_ips": _("the networks that the tunnel leads to"),
    "endpoint": _("the server's address"),
    "persistent_keepalive": _("how often the device says that it is there"),
}


def changed(peer: Peer) -> list[str | Promise]:
    """Return what has changed since the device was given its settings, in words; empty once nothing can connect."""
    if peer.revoked_at is not None or not peer.addresses:
        return []
    return [WORDS[name] for name in stale(peer)]


def fingerprint(peer: Peer) -> str:
    """Return what tells the settings that a page showed from those of a later change, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(given(peer), sort_keys=True).encode()).hexdigest()
