"""Initiations are heard on every way that a packet comes in by, and nothing else is."""

import socket
import struct
from ipaddress import ip_address

import pytest

from deploy.demo.netns import Namespace
from peers.gateway.on_demand.capture import Capture, CaptureError
from peers.wireguard import keys
from tests.gateway.conftest import require
from tests.initiator import bogus

PORT = 51820
OURS = ip_address("198.51.100.1"), ip_address("2001:db8:51::1")
PACKET = bogus(keys.public_key_of(keys.generate_private_key()))


@pytest.fixture
def capture(namespace):
    made = namespace.call(Capture, PORT)
    yield made
    made.close()


@pytest.fixture
def outside(namespace, capture):
    """Give a namespace that is linked to the other by a pair of each family, and their device there."""
    with Namespace() as made:
        for address in OURS:
            made.link(namespace, theirs=address)
        yield made


def heard(capture):
    return [packet.payload for packet in capture.packets(100) if packet]


def send(outside, payload=PACKET, port=PORT, family=socket.AF_INET, options=()):
    with outside.call(socket.socket, family, socket.SOCK_DGRAM) as sender:
        for level, option, value in options:
            sender.setsockopt(level, option, value)
        sender.sendto(payload, (str(OURS[family == socket.AF_INET6]), port))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_an_initiation_to_the_port_is_heard_and_nothing_else(outside, capture, family):
    send(outside, family=family)
    send(outside, port=PORT + 1, family=family)
    for other in (PACKET[:-1], PACKET + b"\0", b"\2" + PACKET[1:], b"\1\1" + PACKET[2:], b""):
        send(outside, other, family=family)
    (found,) = capture.packets(100)
    assert found.payload == PACKET
    assert found.destination == OURS[family == socket.AF_INET6].packed
    assert found.device.startswith("veth")
    assert list(capture.packets(100)) == []


def test_ip_options_do_not_hide_one(outside, capture):
    send(outside, options=[(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([1, 1, 1, 1] * 3))])
    assert heard(capture) == [PACKET]


@pytest.mark.parametrize("option", [socket.IPV6_HOPOPTS, socket.IPV6_DSTOPTS])
def test_nor_does_a_header_of_ipv6_options(outside, capture, option):
    header = bytes([0, 1, 1, 12]) + bytes(12)  # twice eight bytes, all of it padding
    send(outside, family=socket.AF_INET6, options=[(socket.IPPROTO_IPV6, option, header)])
    assert heard(capture) == [PACKET]


def test_a_fragment_is_none(outside, capture):
    datagram = struct.pack("!HHHH", 40_000, PORT, 156, 0) + PACKET
    with outside.call(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 7, 0x2000, 64, 17, 0)
        sender.sendto(header + ip_address("198.18.0.1").packed + OURS[0].packed + datagram, (str(OURS[0]), 0))
    assert list(capture.packets(100)) == [], "the kernel itself keeps it from us"


@pytest.mark.parametrize("source", ["127.0.0.1", "224.0.0.1", "255.255.255.255", str(OURS[0])])
def test_what_the_kernel_would_not_take_from_outside_is_not_heard_either(outside, capture, source):
    """Sent again by the loopback it would be taken, and answered there."""
    datagram = struct.pack("!HHHH", 40_000, PORT, 156, 0) + PACKET
    with outside.call(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 7, 0, 64, 17, 0)
        sender.sendto(header + ip_address(source).packed + OURS[0].packed + datagram, (str(OURS[0]), 0))
    assert heard(capture) == []


@pytest.mark.long  # `make test-kernel` has a kernel that knows them
def test_one_through_a_vlan_is_heard_once_and_without_its_tag(namespace, outside, capture):
    name = namespace.run("ip", "-o", "-4", "address").stdout.split("198.51.100.1")[0].split()[-2]
    probe = namespace.run(
        "ip", "link", "add", "link", name, "name", "probe", "type", "vlan", "id", "8", check=False
    )
    require(probe.returncode == 0, "needs VLANs: the kernel's module 8021q")
    for where, address in ((namespace, "203.0.113.1/24"), (outside, "203.0.113.2/24")):
        where.run("ip", "link", "add", "link", name, "name", "tagged", "type", "vlan", "id", "7")
        where.run("ip", "address", "add", address, "dev", "tagged")
        where.run("ip", "link", "set", "tagged", "up")
    with outside.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(PACKET, ("203.0.113.1", PORT))
    (found,) = capture.packets(100)
    assert (found.payload, found.device) == (PACKET, "tagged")


def test_what_this_host_sends_is_not_heard(namespace, outside, capture):
    theirs = outside.run("hostname", "-I").stdout.split()[0]
    with namespace.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(PACKET, (theirs, PORT))
    assert heard(capture) == []


def test_without_the_right_to_it_the_reason_is_a_sentence(namespace, monkeypatch):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("peers.gateway.on_demand.capture.socket.socket", refused)
    with pytest.raises(CaptureError, match="CAP_NET_RAW"):
        Capture(PORT)
