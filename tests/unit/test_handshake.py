"""A handshake's first packet is read as WireGuard reads it; anything else is nothing, and no reason to stumble."""

import base64
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peers.wireguard import keys
from peers.wireguard.handshake import LENGTH, MAC1, STATIC, TIMESTAMP, TYPE, Responder
from tests.initiator import bogus, forged, initiation, tai64n, with_mac1

OURS, THEIRS = keys.generate_private_key(), keys.generate_private_key()
INTERFACE, DEVICE = keys.public_key_of(OURS), keys.public_key_of(THEIRS)
RESPONDER = Responder(OURS)
NOW = tai64n(1_800_000_000)

# wireguard-go 0.0.20220316 sent them, the first over IPv4 and the second over IPv6, between keys that nobody uses.
RECORDED_AT = "yGZIN329+I5M0lY8tWJslFxdvR8Jv5w7SkdAFxfwS1Y="
RECORDED_FROM = "FpnNtwbvc6XMqQeu0JO7KZMqhMIPh2MVIbbN132iSDA="
RECORDED = [
    (
        (
            "010000006316638d77a14d5477e264e4e31f99e4b2349c0f7014bcd0f81135b4b55668c5190e32767deebb2da1535f4159c9"
            "2014ea062e8f4fa36785b5934d15537a003dcd82f75cb16f18c8af2b22e9f5b65020c9066bb41c13a92786491d84610f9f53"
            "eb6acc184592846cbcbe3f166ebda991a50016d91da72a3bc267cee3e229d33600000000000000000000000000000000"
        ),
        "400000006b0abbe832000000",
    ),
    (
        (
            "01000000ecd7f7eff6039afeb7b91e325226e51bd37451b51030e974e865ca0ed5dd2af0b5531940dd5ef2715b766dbf7998"
            "d00f1dcc5a757410f08fa251ea32b3762d10352929dae85f68e158c5e62887fddfe0cfba1875cac8bac306a10b2fe2e51cf3"
            "3957f574832ed58029e74b030444ba0bc651aef23a4eda77bf38e7ac66bab4aa00000000000000000000000000000000"
        ),
        "400000006b0abbe934000000",
    ),
]


def test_who_sent_it_and_when_is_read():
    found = RESPONDER.read(initiation(THEIRS, INTERFACE, NOW), {})
    assert (found.public_key, found.timestamp) == (DEVICE, NOW)


@pytest.mark.parametrize(("packet", "timestamp"), RECORDED, ids=["IPv4", "IPv6"])
def test_what_wireguard_sent_is_read(packet, timestamp):
    found = Responder(RECORDED_AT).read(bytes.fromhex(packet), {})
    assert (found.public_key, found.timestamp) == (RECORDED_FROM, bytes.fromhex(timestamp))


def test_it_must_be_later_than_the_last():
    packet = initiation(THEIRS, INTERFACE, NOW)
    for last, read in ((tai64n(1_799_999_999), True), (NOW, False), (tai64n(1_800_000_000.5), False)):
        assert bool(RESPONDER.read(packet, {DEVICE: last})) == read
    assert RESPONDER.read(packet, {INTERFACE: tai64n(2_000_000_000)}), "another's time is nothing to it"


def test_one_for_another_interface_is_nobodys():
    assert Responder(keys.generate_private_key()).read(initiation(THEIRS, INTERFACE, NOW), {}) is None


def test_a_known_public_key_is_no_proof():
    packet = forged(DEVICE, INTERFACE, NOW)
    assert RESPONDER.is_addressed(packet)
    assert RESPONDER.read(packet, {}) is None


def test_noise_with_a_good_mac1_is_none():
    packet = bogus(INTERFACE)
    assert RESPONDER.is_addressed(packet)
    assert RESPONDER.read(packet, {}) is None


@pytest.mark.parametrize("number", [0, 1, 2**255 - 20])
def test_a_key_of_low_order_is_none_and_raises_nothing(number):
    start = TYPE + bytes(4) + number.to_bytes(32, "little") + secrets.token_bytes(76)
    assert RESPONDER.read(with_mac1(start, base64.b64decode(INTERFACE)), {}) is None


@pytest.mark.parametrize("part", [slice(0, 4), slice(8, 40), STATIC, TIMESTAMP, MAC1])
def test_one_changed_bit_makes_it_none(part):
    packet = bytearray(initiation(THEIRS, INTERFACE, NOW))
    packet[part.start] ^= 1
    assert RESPONDER.read(bytes(packet), {}) is None
    remade = with_mac1(bytes(packet[: MAC1.start]), base64.b64decode(INTERFACE))
    assert (RESPONDER.read(remade, {}) is None) == (part != MAC1)


def test_mac2_may_be_anything():
    """It answers a cookie, which this side never sent; that is between WireGuard and its peer."""
    packet = initiation(THEIRS, INTERFACE, NOW)
    assert RESPONDER.read(packet[:132] + secrets.token_bytes(16), {})


def test_cut_short_or_too_long_it_is_none():
    packet = initiation(THEIRS, INTERFACE, NOW)
    assert not [length for length in range(LENGTH) if RESPONDER.read(packet[:length], {})]
    assert RESPONDER.read(packet + b"\0", {}) is None


@given(
    st.binary(max_size=200)
    | st.binary(min_size=LENGTH - 4, max_size=LENGTH - 4).map(lambda rest: TYPE + rest)
)
def test_no_packet_at_all_raises(packet):
    assert RESPONDER.read(packet, {}) is None


@given(st.binary(min_size=112, max_size=112))
def test_no_packet_with_a_good_mac1_raises(rest):
    assert RESPONDER.read(with_mac1(TYPE + rest, base64.b64decode(INTERFACE)), {}) is None


def test_the_private_key_is_in_no_repr():
    assert OURS not in repr(RESPONDER) + repr(vars(RESPONDER))
