"""The configuration file of a peer, from its rows. No private key passes here: the device has it, or makes it."""

from peers.models import Peer
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
