"""Time a client's first ping through its tunnel, again and again: each time with the key of another device. Does not know pytest."""

import re
from ipaddress import ip_address
from pathlib import Path

from deploy.demo.client import start_wireguard_go
from deploy.demo.netns import Address, Namespace
from peers.models import Interface, Peer
from peers.wireguard import keys
from tests import rows

PATIENCE = 7  # seconds: WireGuard tries again after five
OUTSIDE = {4: ip_address("198.51.100.1"), 6: ip_address("2001:db8:51::1")}


class Devices:
    """Many devices, one after the other, in one namespace that is linked to the gateway's, over IPv4 or IPv6.

    ``outside`` is the gateway's address there; no other link must have it.
    """

    def __init__(
        self,
        gateway: Namespace,
        wg0: Interface,
        directory: Path,
        version: int,
        outside: Address | None = None,
    ) -> None:
        self.wg0, outside = wg0, outside or OUTSIDE[version]
        self.namespace = Namespace(beside=gateway)
        self.namespace.link(gateway, theirs=outside)
        self._key_file = directory / f"device-{outside}.key"
        self._endpoint = f"[{outside}]:51820" if version == 6 else f"{outside}:51820"
        if self.namespace.run("ip", "link", "add", "wg0", "type", "wireguard", check=False).returncode:
            start_wireguard_go(self.namespace, "wg0")
        self.namespace.run("ip", "link", "set", "wg0", "up")

    def become(self, peer: Peer, private_key: str) -> None:
        """Be this device from now on, with no session and no handshake under way."""
        address = str(peer.addresses[0])
        self._key_file.write_text(private_key)
        server = str(self.wg0.public_key)
        self.namespace.run("wg", "set", "wg0", "peer", server, "remove")
        self.namespace.run("ip", "address", "flush", "dev", "wg0")
        self.namespace.run("ip", "address", "add", address, "dev", "wg0")
        self.namespace.run("ip", "route", "replace", "10.77.0.0/16", "dev", "wg0")
        self.namespace.run(
            "wg", "set", "wg0", "private-key", str(self._key_file), "peer", server, "endpoint", self._endpoint,
            "allowed-ips", "10.77.0.0/16",
        )  # fmt: skip

    def first_ping(self, address: str = "10.77.0.1", patience: int = PATIENCE) -> float:
        """Return the seconds from the first packet to its reply; raise ValueError when none comes. WireGuard keeps it that long."""
        done = self.namespace.run("ping", "-n", "-c", "1", "-W", str(patience), address, check=False)
        found = re.search(r"time=([\d.]+) ms", done.stdout)
        if not found:
            raise ValueError(done.stdout)
        return float(found[1]) / 1000

    def close(self) -> None:
        self.namespace.close()


def enrolled(owner, wg0: Interface, count: int) -> list[tuple[Peer, str]]:
    """Return new peers of one person, each with the private key that only its device knows."""
    made = []
    for _ in range(count):
        private_key = keys.generate_private_key()
        made.append((rows.peer(owner, wg0, public_key=keys.public_key_of(private_key)), private_key))
    return made
