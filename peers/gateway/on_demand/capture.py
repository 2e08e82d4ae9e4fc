"""Hear handshake initiations as they come to the host, before WireGuard drops those of peers that it does not know.

packet(7): a socket for each of IPv4 and IPv6, which needs CAP_NET_RAW. A filter in the kernel passes on what may be one.
Bound to a protocol, such a socket is given what comes in and nothing that goes out, and of a VLAN what its own device is
given, without the tag.
"""

import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import NamedTuple

from peers.wireguard.handshake import LENGTH, TYPE

ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33
SOL_PACKET, PACKET_STATISTICS = 263, 6
BUFFER = 16 << 20  # bytes: room for 5,000 at once and more
UDP, UDP_LENGTH = 17, 8 + LENGTH
IPV6_HEADER = 40
OPTIONS = (0, 60)  # IPv6's hop-by-hop and destination options
SNAP = 2048  # bytes
BROADCAST = ip_address("255.255.255.255")

Instruction = tuple[int, int, int, int]  # bpf's code, jump if true, jump if false, operand
LOAD_BYTE = 0x30  # at a fixed offset, to A
LOAD_HALF = 0x28
LOAD_HALF_AT = 0x48  # at X and an offset
LOAD_WORD_AT = 0x40
HEADER_LENGTH = 0xB1  # to X: four times the lower half of the byte at an offset
SET_X = 0x01
A_TO_X = 0x07
ADD = 0x04
SHIFT_LEFT = 0x64
JUMP = 0x05
EQUALS = 0x15
HAS_BIT = 0x45
RETURN = 0x06


class CaptureError(Exception):
    """Handshakes cannot be heard; the message is a sentence for the operator."""


class Packet(NamedTuple):
    """A handshake initiation as it came, with its addresses in network order, 4 or 16 bytes each, and by which device."""

    source: bytes
    source_port: int
    destination: bytes
    payload: bytes
    device: str


class Capture:
    """The two sockets of one port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sockets: list[socket.socket] = []
        try:
            for protocol, program in ((ETH_P_IP, ipv4_filter(port)), (ETH_P_IPV6, ipv6_filter(port))):
                self.sockets.append(_opened(protocol, program))
        except OSError as error:
            self.close()
            raise CaptureError(
                f"Handshakes cannot be heard: {error.strerror}. On demand the gateway needs CAP_NET_RAW."
            ) from None

    def packets(self, most: int) -> Iterator[Packet | None]:
        """Yield what has come, ``most`` packets at most of each family and without waiting; None for what only seemed to be one."""
        for each, parse in zip(self.sockets, (parse_ipv4, parse_ipv6), strict=True):
            with suppress(BlockingIOError):
                for _ in range(most):
                    data, (device, _, kind, *_) = each.recvfrom(SNAP)
                    packet = parse(data, self.port, device) if kind == socket.PACKET_HOST else None
                    yield packet if packet and _may_come_from(packet) else None

    def lost(self) -> int:
        """Return how many packets found no room since the last call."""
        found = 0
        for each in self.sockets:
            _, drops = struct.unpack("II", each.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
            found += drops
        return found

    def close(self) -> None:
        for each in self.sockets:
            each.close()


def _may_come_from(packet: Packet) -> bool:
    """Return whether the kernel would take the packet from there: what is sent again is past its own look at that."""
    if packet.device == "lo":
        return True
    source = ip_address(packet.source)
    strange = source.is_loopback or source.is_multicast or source.is_unspecified or source == BROADCAST
    return not strange and packet.source != packet.destination


def _opened(protocol: int, program: list[Instruction]) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(protocol))
    try:
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
        made.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code))
        )
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except OSError:
        made.close()
        raise
    with suppress(BlockingIOError):
        while True:  # what came before the filter did
            made.recv(SNAP)
    return made


def ipv4_filter(port: int) -> list[Instruction]:
    """Return the program that passes on whole UDP datagrams to ``port`` that an initiation may be, whatever IP options."""
    return _with_exits([
        (LOAD_BYTE, 0, 0, 9), (EQUALS, 0, -1, UDP),
        (LOAD_HALF, 0, 0, 6), (HAS_BIT, -1, 0, 0x3FFF),  # a fragment
        (HEADER_LENGTH, 0, 0, 0), *_initiation(port),
    ])  # fmt: skip


def ipv6_filter(port: int) -> list[Instruction]:
    """Return the same for IPv6, with no options or one header of them."""
    return _with_exits([
        (LOAD_BYTE, 0, 0, 6), (EQUALS, 10, 0, UDP), (EQUALS, 1, 0, OPTIONS[0]), (EQUALS, 0, -1, OPTIONS[1]),
        (LOAD_BYTE, 0, 0, IPV6_HEADER), (EQUALS, 0, -1, UDP), (LOAD_BYTE, 0, 0, IPV6_HEADER + 1),
        (ADD, 0, 0, 1), (SHIFT_LEFT, 0, 0, 3), (ADD, 0, 0, IPV6_HEADER), (A_TO_X, 0, 0, 0), (JUMP, 0, 0, 1),
        (SET_X, 0, 0, IPV6_HEADER), *_initiation(port),
    ])  # fmt: skip


def _initiation(port: int) -> list[Instruction]:
    """Return the part that looks at the UDP header at X, and at the first word behind it."""
    return [
        (LOAD_HALF_AT, 0, 0, 2), (EQUALS, 0, -1, port),
        (LOAD_HALF_AT, 0, 0, 4), (EQUALS, 0, -1, UDP_LENGTH),
        (LOAD_WORD_AT, 0, 0, 8), (EQUALS, 0, -1, int.from_bytes(TYPE, "big")),
    ]  # fmt: skip


def _with_exits(program: list[Instruction]) -> list[Instruction]:
    """Return the program with its two ends; a jump of -1 becomes one to the last, which drops the packet."""
    drop = len(program) + 1
    resolved = [
        (code, drop - at - 1 if yes < 0 else yes, drop - at - 1 if no < 0 else no, operand)
        for at, (code, yes, no, operand) in enumerate(program)
    ]
    return [*resolved, (RETURN, 0, 0, SNAP), (RETURN, 0, 0, 0)]


def parse_ipv4(data: bytes, port: int, device: str) -> Packet | None:
    """Return what an IPv4 packet holds, if that may be an initiation: the filter is not trusted."""
    if len(data) < 20 or data[0] >> 4 != 4 or data[9] != UDP or int.from_bytes(data[6:8], "big") & 0x3FFF:
        return None
    header = (data[0] & 0xF) * 4
    found = _datagram(data, header, port) if header >= 20 else None
    return found and Packet(data[12:16], found[0], data[16:20], found[1], device)


def parse_ipv6(data: bytes, port: int, device: str) -> Packet | None:
    """Return what an IPv6 packet holds, if that may be an initiation."""
    if len(data) < IPV6_HEADER + 8 or data[0] >> 4 != 6:
        return None
    following, header = data[6], IPV6_HEADER
    if following in OPTIONS:
        following, header = data[IPV6_HEADER], IPV6_HEADER + 8 * (data[IPV6_HEADER + 1] + 1)
    found = _datagram(data, header, port) if following == UDP else None
    return found and Packet(data[8:24], found[0], data[24:40], found[1], device)


def _datagram(data: bytes, at: int, port: int) -> tuple[int, bytes] | None:
    """Return the source port and the payload of the UDP datagram at that place; None for one that is no initiation."""
    payload = data[at + 8 : at + 8 + LENGTH]
    if len(payload) < LENGTH or not payload.startswith(TYPE):
        return None
    source_port, to, length = struct.unpack_from("!HHH", data, at)
    return (source_port, payload) if (to, length) == (port, UDP_LENGTH) else None
