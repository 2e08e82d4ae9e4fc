"""Rows as the API shows them."""

from datetime import UTC, datetime
from typing import Any

from peers.models import Interface, Peer
from peers.states import State


def peer_out(peer: Peer, state: State, public_key: str) -> dict[str, Any]:
    """Return the JSON values of a peer in ``state`` with its key: the one in use, else the last."""
    shared = interface_out(peer.interface)
    return {
        "id": str(peer.pk),
        "name": peer.name,
        "public_key": public_key,
        "interface": shared.pop("name"),
        "addresses": [str(address) for address in peer.addresses],
        "state": state.value,
        "enrolled_at": moment(peer.enrolled_at),
        "expires_at": moment(peer.expires_at) if peer.expires_at else None,
        "server_public_key": shared.pop("public_key"),
        "server_endpoint": shared.pop("endpoint"),
        **shared,
    }


def interface_out(interface: Interface) -> dict[str, Any]:
    return {
        "name": interface.name,
        "public_key": interface.public_key,
        "endpoint": interface.endpoint,
        "client_allowed_ips": [str(network) for network in interface.routes],
        "dns": [str(address) for address in interface.dns],
        "mtu": interface.mtu,
        "persistent_keepalive": interface.persistent_keepalive,
    }


def moment(at: datetime) -> str:
    """Return ``at`` as RFC 3339 has it, in UTC and to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def latest_key(peer: Peer) -> str:
    """Return the peer's key in use, else the one that it had last; its keys may be prefetched."""
    keys = sorted(peer.keys.all(), key=lambda key: (key.retired_at is None, key.enrolled_at))
    return str(keys[-1].public_key) if keys else ""
