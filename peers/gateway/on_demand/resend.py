"""Give WireGuard a handshake initiation once more, as it came, after its peer was put on the interface.

raw(7), past the loopback: the sender's own address stands on it, so that the answer goes there. Needs CAP_NET_RAW.
"""

import socket
import struct

from peers.gateway.on_demand.capture import UDP, Packet

HOPS = 64


class Resender:
    """A raw socket for each family that this host speaks; a packet that cannot be sent is one whose client tries again."""

    def __init__(self) -> None:
        self._ipv4 = _raw(socket.AF_INET)
        try:
            self._ipv6: socket.socket | None = _raw(socket.AF_INET6)
        except OSError:  # a kernel that was started without IPv6
            self._ipv6 = None

    def send(self, packet: Packet, port: int) -> None:
        """Send it to its destination, an address of this host; raise OSError if that cannot be."""
        if len(packet.destination) == 4:
            self._ipv4.sendto(ipv4(packet, port), (socket.inet_ntop(socket.AF_INET, packet.destination), 0))
        elif self._ipv6:
            self._ipv6.sendto(ipv6(packet, port), (socket.inet_ntop(socket.AF_INET6, packet.destination), 0))

    def close(self) -> None:
        self._ipv4.close()
        if self._ipv6:
            self._ipv6.close()


def _raw(family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)


def ipv4(packet: Packet, port: int) -> bytes:
    """Return the packet with its headers; no checksum (0) is allowed for UDP there, the header's is the kernel's to fill."""
    datagram = struct.pack("!HHHH", packet.source_port, port, 8 + len(packet.payload), 0) + packet.payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, HOPS, UDP, 0)
    return header + packet.source + packet.destination + datagram


def ipv6(packet: Packet, port: int) -> bytes:
    """Return the same for IPv6, where UDP must have its checksum (RFC 8200, section 8.1)."""
    length = 8 + len(packet.payload)
    start = struct.pack("!HHH", packet.source_port, port, length)
    pseudo = packet.source + packet.destination + struct.pack("!II", length, UDP)
    check = _checksum(pseudo + start + b"\0\0" + packet.payload) or 0xFFFF
    header = struct.pack("!IHBB", 6 << 28, length, UDP, HOPS)
    return header + packet.source + packet.destination + start + check.to_bytes(2, "big") + packet.payload


def _checksum(data: bytes) -> int:
    """Return the Internet checksum of an even number of bytes (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
