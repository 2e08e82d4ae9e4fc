"""The configuration file of a peer, from its rows. No private key passes here: the device has it, or makes it."""

from typing import Any

from peers.models import Interface, Peer
from peers.wireguard.config import ClientConfig


def configuration(peer: Peer) -> str:
    """Return the text of the peer's configuration, with a placeholder where its private key goes.

    Raise ValueError when the peer has no address or its interface no public key.
    """
    interface = peer.interface
    return ClientConfig(
        addresses=peer.addresses,
        dns=tuple(interface.dns),
        mtu=interface.mtu,
        server_public_key=interface.public_key or "",
        preshared_key=peer.preshared_key or None,
        client_allowed_ips=interface.routes,
        endpoint=interface.endpoint,
        persistent_keepalive=interface.persistent_keepalive,
    ).text()


def given(peer: Peer) -> dict[str, Any]:
    """Return the settings that the peer's device is given now, as JSON values; its keys are not among them."""
    return {"addresses": [str(address) for address in peer.addresses], **shared(peer.interface)}


def shared(interface: Interface) -> dict[str, Any]:
    """Return those of ``given`` that are the same for every peer of the interface."""
    return {
        "dns": [str(address) for address in interface.dns],
        "mtu": interface.mtu,
        "client_allowed_ips": [str(network) for network in interface.routes],
        "endpoint": interface.endpoint,
        "persistent_keepalive": interface.persistent_keepalive,
    }


def stale(peer: Peer) -> list[str]:
    """Return the names of the settings (see ``given``) that have changed since the device was given them."""
    now = given(peer)
    return [name for name, was in peer.configured.items() if name in now and now[name] != was]
