"""What decides who is looked at and who leaves, with the time as an argument."""

import struct
from datetime import UTC, datetime, timedelta

import pytest

from peers.gateway.gather import Wanted
from peers.gateway.memory import Memory
from peers.gateway.on_demand.activity import EVERY, Activity
from peers.gateway.on_demand.capture import Packet, parse_ipv4, parse_ipv6
from peers.gateway.on_demand.limits import (
    AT_ONCE,
    REFUSED_FOR,
    REFUSED_KEYS,
    SHARE,
    SOURCE_BURST,
    SOURCE_RATE,
    SOURCES,
    Limits,
    Refused,
)
from peers.gateway.on_demand.resend import ipv4, ipv6
from peers.gateway.on_demand.seen import REMEMBERED, Seen
from peers.gateway.on_demand.timestamps import later
from peers.wireguard import nft
from peers.wireguard.state import ObservedPeer, PeerSettings
from tests.initiator import tai64n

ONE, OTHER = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
SETTINGS = PeerSettings(frozenset())
SHAKEN = datetime(2026, 8, 3, 14, 2, 11, tzinfo=UTC)
PORT = 51820


def allowed(limits, source, at, times=10_000):
    return sum(limits.allow(source, at) for _ in range(times))


def test_one_source_may_come_often_at_once_and_then_at_its_rate():
    limits = Limits()
    assert allowed(limits, ONE, 100) == SOURCE_BURST
    assert allowed(limits, ONE, 101) == SOURCE_RATE
    assert allowed(limits, OTHER, 101) == SOURCE_BURST, "one source takes nothing from another"


def test_of_an_ipv6_source_its_network_counts():
    limits = Limits()
    network = bytes.fromhex("20010db800000001")
    assert (
        allowed(limits, network + bytes(8), 100, 150) + allowed(limits, network + b"\xff" * 8, 100)
        == SOURCE_BURST
    )
    assert allowed(limits, bytes.fromhex("20010db800000002") + bytes(8), 100)


def read(limits, first, at, each=0.001):
    """Return how many are looked at, of ten thousand from as many sources, when each takes so many seconds."""
    found = 0
    for source in range(first, first + 10_000):
        if limits.allow(source.to_bytes(4, "big"), at):
            found += 1
            limits.spend(source.to_bytes(4, "big"), each)
    return found


def test_all_sources_together_have_a_share_of_a_core():
    limits = Limits()
    assert read(limits, 0, 100) == pytest.approx(AT_ONCE / 0.001, abs=1)
    assert read(limits, 10_000, 101) == pytest.approx(SHARE / 0.001, abs=1)
    assert read(limits, 20_000, 102, 0.5) == 1, "what one took too much, the next do without"
    assert read(limits, 30_000, 103) == 0
    limits.spend(ONE, 1000.0)
    assert read(limits, 40_000, 104 + 2 * AT_ONCE / SHARE) > 0, "but not for long, however much that was"


def test_who_is_refused_as_one_of_too_many_of_a_source_takes_nothing_from_all():
    limits = Limits()
    allowed(limits, ONE, 100, 100_000)
    assert read(limits, 0, 100) == pytest.approx(AT_ONCE / 0.001, abs=1)


def test_who_has_proved_to_be_somebody_is_not_kept_away_by_a_flood_from_everywhere():
    limits = Limits()
    assert limits.allow(ONE, 100)
    limits.trust(ONE)
    limits.trust(OTHER)  # which was never looked at
    read(limits, 0, 100)
    assert not limits.allow(OTHER, 100)
    assert allowed(limits, ONE, 100) == SOURCE_BURST - 1, "and may do no more than any source"


def test_what_it_takes_to_read_those_is_not_taken_from_strangers():
    limits = Limits()
    assert limits.allow(ONE, 100)
    limits.trust(ONE)
    limits.spend(ONE, 100.0)
    assert limits.allow(OTHER, 100)


def test_sources_are_remembered_in_bounds():
    limits = Limits()
    for number in range(SOURCES + 5):
        limits.allow(number.to_bytes(4, "big"), 100)
    assert len(limits._sources) == SOURCES


def test_who_was_refused_is_not_asked_about_again_for_a_while():
    refused = Refused()
    refused.note("key", "peer", 100)
    assert refused.lately("key", 100 + REFUSED_FOR - 0.1)
    assert not refused.lately("key", 100 + REFUSED_FOR)
    assert not refused.lately("other", 100)


def test_news_of_a_peer_and_any_news_for_a_key_that_nobody_knew_end_that():
    refused = Refused()
    for key, peer in (("one", "peer-1"), ("two", "peer-2"), ("unknown", None)):
        refused.note(key, peer, 100)
    refused.forget({"peer-1"})
    assert [key for key in ("one", "two", "unknown") if refused.lately(key, 101)] == ["two"]
    refused.forget()
    assert not refused.lately("two", 101)


def test_the_refused_are_remembered_in_bounds():
    refused = Refused()
    for number in range(REFUSED_KEYS + 5):
        refused.note(str(number), None, 100)
    assert len(refused._until) == REFUSED_KEYS
    assert refused.lately(str(REFUSED_KEYS + 4), 101)


def seen(shaken=SHAKEN, received=0, sent=0):
    return ObservedPeer(SETTINGS, None, shaken, received, sent)


def test_who_was_not_heard_for_that_long_is_idle():
    activity = Activity()
    activity.note({"key": seen()}, 1000)
    activity.note({"key": seen()}, 1899)
    assert activity.idle(1899, 15) == set()
    assert activity.idle(1899 + EVERY, 15) == {"key"}


@pytest.mark.parametrize(
    "heard", [seen(received=1), seen(shaken=SHAKEN + timedelta(seconds=1)), seen(shaken=None)]
)
def test_a_handshake_or_a_byte_received_is_use(heard):
    activity = Activity()
    activity.note({"key": seen()}, 1000)
    activity.note({"key": heard}, 1800)
    assert activity.idle(2000, 15) == set()
    assert activity.idle(2000 + 13 * 60, 15) == {"key"}


def test_what_is_sent_towards_a_device_is_none():
    activity = Activity()
    activity.note({"key": seen(sent=1)}, 1000)
    activity.note({"key": seen(sent=2)}, 1900)
    assert activity.idle(1900, 15) == {"key"}


def test_they_leave_in_one_batch_a_minute():
    activity = Activity()
    for at in range(1000, 3000, 100):
        activity.note({"key": seen()}, at)
    assert activity.idle(3000, 15) == {"key"}
    assert activity.idle(3000 + EVERY - 1, 15) == set()
    assert activity.idle(3000 + EVERY, 15) == {"key"}


def test_never_sooner_than_a_session_dies_whatever_the_row_says():
    activity = Activity()
    activity.note({"key": seen()}, 1000)
    assert activity.idle(1184, 0) == set()
    assert activity.idle(1184 + EVERY, 0) == {"key"}


def test_who_has_come_back_since_the_first_look_stays():
    activity = Activity()
    activity.note({"back": seen(), "away": seen(), "gone": seen()}, 1000)
    second = {"back": seen(received=148), "away": seen()}
    assert activity.still({"back", "away", "gone"}, second) == {"away"}


def test_a_gateway_that_starts_counts_from_its_start():
    activity = Activity()
    activity.note({"key": seen(shaken=SHAKEN - timedelta(days=1))}, 5000)
    assert activity.idle(5000, 15) == set()


def test_a_timestamp_is_put_later_by_whole_seconds():
    assert later(tai64n(1000.25), timedelta(seconds=90)) == tai64n(1090.25)
    assert later(b"\xff" * 12, timedelta(days=1)) < b"\xff" * 12, (
        "a device that says such a time harms itself alone"
    )


PAYLOAD = b"\x01\0\0\0" + bytes(144)


@pytest.mark.parametrize(
    ("parse", "made", "one", "other"),
    [
        (parse_ipv4, ipv4, ONE, OTHER),
        (parse_ipv6, ipv6, bytes.fromhex("20010db8") + bytes(12), bytes.fromhex("20010db8") + b"\1" * 12),
    ],
)
def test_what_is_sent_again_is_what_was_heard(parse, made, one, other):
    packet = Packet(one, 40_000, other, PAYLOAD, "eth0")
    assert parse(made(packet, PORT), PORT, "eth0") == packet
    assert parse(made(packet, PORT), PORT + 1, "eth0") is None
    whole = made(packet, PORT)
    assert not [length for length in range(len(whole)) if parse(whole[:length], PORT, "eth0")]


def test_the_checksum_over_ipv6_is_right():
    one, other = bytes.fromhex("20010db8") + bytes(12), bytes.fromhex("20010db8") + b"\1" * 12
    sent = ipv6(Packet(one, 40_000, other, PAYLOAD, "eth0"), PORT)
    pseudo = one + other + struct.pack("!II", len(sent) - 40, 17) + sent[40:]
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    assert (total & 0xFFFF) + (total >> 16) in {0xFFFF, 0x1FFFE}


def test_options_of_either_family_are_stepped_over_and_fragments_are_not_for_us():
    datagram = struct.pack("!HHHH", 40_000, PORT, 156, 0) + PAYLOAD
    four = struct.pack("!BBHHHBBH", 0x46, 0, 24 + len(datagram), 0, 0, 64, 17, 0) + ONE + OTHER + bytes(4)
    assert parse_ipv4(four + datagram, PORT, "eth0").payload == PAYLOAD
    fragment = four[:6] + b"\x20\0" + four[8:]
    assert parse_ipv4(fragment + datagram, PORT, "eth0") is None
    six = struct.pack("!IHBB", 6 << 28, 8 + len(datagram), 60, 64) + bytes(32) + bytes([17, 0]) + bytes(6)
    assert parse_ipv6(six + datagram, PORT, "eth0").payload == PAYLOAD


def test_a_deadline_is_looked_for_only_once_it_has_come():
    memory = Memory()
    wanted = {key: Wanted(key, SETTINGS, until) for key, until in {"a": SHAKEN, "b": None}.items()}
    memory.want(wanted, SHAKEN - timedelta(seconds=9))
    assert memory.due(SHAKEN - timedelta(seconds=1)) == {}
    assert set(memory.due(SHAKEN)) == {"a"}
    memory.want({}, SHAKEN)
    assert memory.due(SHAKEN + timedelta(days=1)) == {}


def test_what_was_seen_is_remembered_in_bounds_with_its_age():
    seen = Seen()
    for number in range(REMEMBERED + 1):
        seen.note(str(number), tai64n(number), float(number))
    assert (len(seen.timestamps), seen.age("0", 1.0)) == (REMEMBERED, None)
    assert seen.age(str(REMEMBERED), REMEMBERED + 5.0) == 5


def test_a_table_has_a_name_that_nft_takes_whatever_the_interface_is_called():
    assert [nft._table(name) for name in ("wg0", "wg-a.b=1")] == ["latchkey_wg0", "latchkey_wg_2da_2eb_3d1"]
