"""What stands on an interface and what should: reading it, and the difference."""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peers.wireguard import keys
from peers.wireguard.state import (
    Changes,
    Observed,
    ObservedPeer,
    PeerSettings,
    addresses,
    diff,
    lines,
    networks,
    parse_dump,
)

A, B, C, D = sorted(keys.public_key_of(keys.generate_private_key()) for _ in range(4))
PRIVATE_KEY = keys.generate_private_key()
PRESHARED_KEY = keys.generate_preshared_key()
OTHER_PRESHARED_KEY = keys.generate_preshared_key()

TWO = networks("10.0.0.2/32")
THREE = networks("10.0.0.3/32")


def observed(settings: PeerSettings) -> ObservedPeer:
    return ObservedPeer(settings, None, None, 0, 0)


DUMP = (
    f"{PRIVATE_KEY}\t{A}\t51820\toff\n"
    f"{B}\t{PRESHARED_KEY}\t192.0.2.7:40000\t10.0.0.2/32,fd00::2/128\t1700000000\t4096\t18446744073709551615\t25\n"
    f"{C}\t(none)\t(none)\t(none)\t0\t0\t0\toff\n"
    f"{D}\t(none)\t[fe80::1%eth0]:40000\t10.0.0.3/32\t0\t0\t148\toff\n"
)


def test_a_dump_is_read():
    assert parse_dump(DUMP) == Observed(
        public_key=A,
        listen_port=51820,
        peers={
            B: ObservedPeer(
                PeerSettings(networks("10.0.0.2/32,fd00::2/128"), PRESHARED_KEY, 25),
                "192.0.2.7:40000",
                datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
                4096,
                2**64 - 1,
            ),
            C: ObservedPeer(PeerSettings(frozenset()), None, None, 0, 0),
            D: ObservedPeer(PeerSettings(THREE), "[fe80::1%eth0]:40000", None, 0, 148),
        },
    )


def test_a_new_interface_without_keys_or_peers_is_read():
    assert parse_dump("(none)\t(none)\t0\t0xca6c\n") == Observed(None, 0, {})


def test_a_key_that_cannot_work_is_read_so_that_it_can_be_removed():
    found = parse_dump(f"{DUMP}{keys.ZERO_KEY}\t(none)\t(none)\t10.0.0.9/32\t0\t0\t0\toff\n")
    assert diff({}, found.peers).remove >= {keys.ZERO_KEY}


def test_of_some_peers_alone_the_lines_of_the_others_are_not_even_read():
    assert parse_dump(DUMP + "of another\tnot a line\n", {B}) == replace(
        parse_dump(DUMP), peers={B: parse_dump(DUMP).peers[B]}
    )
    assert parse_dump(DUMP, set()).peers == {}


def test_nothing_that_was_read_shows_a_secret():
    shown = repr(parse_dump(DUMP))
    assert B in shown
    assert PRIVATE_KEY not in shown
    assert PRESHARED_KEY not in shown


MALFORMED = {
    "nothing": "",
    "an empty line": "\n",
    "one field": PRIVATE_KEY,
    "three fields": DUMP.replace("\toff\n", "\n", 1),
    "five fields": DUMP.replace("\toff\n", "\toff\toff\n", 1),
    "a peer first": DUMP.split("\n", 1)[1],
    "an empty line between": DUMP.replace("\n", "\n\n", 1),
    "an empty line at the end": f"{DUMP}\n",
    "cut short": DUMP[:-5],
    "seven fields": DUMP.replace("\t4096", ""),
    "nine fields": DUMP.replace("\t4096", "\t4096\t1"),
    "a short key": DUMP.replace(C, C[1:]),
    "a short preshared key": DUMP.replace(PRESHARED_KEY, PRESHARED_KEY[1:]),
    "a host bit": DUMP.replace("10.0.0.2/32", "10.0.0.2/24"),
    "no prefix": DUMP.replace("10.0.0.2/32", "10.0.0.2"),
    "a zone": DUMP.replace("fd00::2/128", "fd00::2%x/128"),
    "a negative counter": DUMP.replace("\t4096", "\t-4096"),
    "a grouped counter": DUMP.replace("\t4096", "\t4_096"),
    "a handshake out of time": DUMP.replace("1700000000", "170000000000000"),
    "a keepalive in words": DUMP.replace("\t25\n", "\tsometimes\n"),
    "a carriage return": DUMP.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_dump_is_refused_without_a_word_of_it(text):
    with pytest.raises(ValueError, match="not the dump of an interface") as caught:
        parse_dump(text)
    assert caught.value.__context__ is None


def spoilt(draw: st.DrawFn) -> str:
    """Take the good dump and put something else in one place of it."""
    start = draw(st.integers(0, len(DUMP)))
    end = draw(st.integers(start, min(start + 60, len(DUMP))))
    more = draw(st.text(max_size=12) | st.text("\t\n0123456789/=.:,", max_size=12))
    return DUMP[:start] + more + DUMP[end:]


@given(st.composite(spoilt)() | st.text())
def test_any_text_is_read_or_refused_with_a_value_error_that_holds_none_of_it(text):
    found = read(text)
    if isinstance(found, ValueError):
        assert str(found) == "what wg printed is not the dump of an interface"
        assert found.__context__ is found.__cause__ is None
    else:
        assert PRIVATE_KEY not in repr(found)
        assert all(keys.KEY.fullmatch(key) for key in found.peers)


def read(text: str) -> Observed | ValueError:
    try:
        return parse_dump(text)
    except ValueError as error:
        return error


def test_networks_are_read_as_wg_prints_them():
    assert networks("10.0.0.2/32,fd00::/64") == {ip_network("10.0.0.2/32"), ip_network("fd00::/64")}
    assert networks("(none)") == frozenset()


def test_equal_networks_are_one_object_whatever_their_order():
    assert networks("10.0.0.2/32,fd00::2/128") is networks("fd00::2/128,10.0.0.2/32")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.2",
        "10.0.0.2/24",
        "10.0.0.2/33",
        "10.0.0.2/32,",
        "10.0.0.2/32, fd00::2/128",
        "x/1",
        "::%1/128",
    ],
)
def test_other_networks_are_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        networks(text)


def test_addresses_are_written_in_order_ipv4_first():
    assert (
        addresses(networks("fd00::2/128,10.0.0.10/32,10.0.0.9/32")) == "10.0.0.9/32,10.0.0.10/32,fd00::2/128"
    )
    assert addresses(frozenset()) == "(none)"


CASES = {
    "both empty": ({}, {}, Changes({}, {}, frozenset())),
    "new": ({A: PeerSettings(TWO)}, {}, Changes({A: PeerSettings(TWO)}, {}, frozenset())),
    "gone": ({}, {A: PeerSettings(TWO)}, Changes({}, {}, frozenset({A}))),
    "equal": ({A: PeerSettings(TWO)}, {A: PeerSettings(TWO)}, Changes({}, {}, frozenset())),
    "another address": (
        {A: PeerSettings(TWO)},
        {A: PeerSettings(THREE)},
        Changes({}, {A: PeerSettings(TWO)}, frozenset()),
    ),
    "an address stolen": (
        {A: PeerSettings(TWO)},
        {A: PeerSettings(frozenset())},
        Changes({}, {A: PeerSettings(TWO)}, frozenset()),
    ),
    "a preshared key to clear": (
        {A: PeerSettings(TWO)},
        {A: PeerSettings(TWO, PRESHARED_KEY)},
        Changes({}, {A: PeerSettings(TWO)}, frozenset()),
    ),
    "a keepalive to clear": (
        {A: PeerSettings(TWO)},
        {A: PeerSettings(TWO, persistent_keepalive=25)},
        Changes({}, {A: PeerSettings(TWO)}, frozenset()),
    ),
    "a key replaced": (
        {B: PeerSettings(TWO)},
        {A: PeerSettings(TWO)},
        Changes({B: PeerSettings(TWO)}, {}, frozenset({A})),
    ),
}


@pytest.mark.parametrize(("desired", "found", "expected"), CASES.values(), ids=CASES)
def test_diff(desired, found, expected):
    changes = diff(desired, {key: observed(settings) for key, settings in found.items()})
    assert changes == expected
    assert bool(changes) == (desired != found)


def test_endpoint_handshake_and_counters_are_no_difference():
    met = ObservedPeer(PeerSettings(TWO), "192.0.2.7:40000", datetime(2026, 8, 1, tzinfo=UTC), 1, 2)
    assert not diff({A: PeerSettings(TWO)}, {A: met})


settings = st.builds(
    PeerSettings,
    st.frozensets(st.sampled_from([ip_network(f"10.0.0.{host}/32") for host in range(4)]), max_size=2),
    st.sampled_from([keys.ZERO_KEY, PRESHARED_KEY, OTHER_PRESHARED_KEY]),
    st.sampled_from([0, 25]),
)
peers = st.dictionaries(st.sampled_from([A, B, C, D]), settings)


def apply(changes: Changes, found: dict[str, PeerSettings]) -> dict[str, PeerSettings]:
    kept = {key: value for key, value in found.items() if key not in changes.remove}
    return {**kept, **changes.update, **changes.add}


@given(peers, peers)
def test_applying_the_difference_gives_what_is_desired(desired, found):
    changes = diff(desired, {key: observed(value) for key, value in found.items()})
    assert apply(changes, found) == desired
    assert not changes.add.keys() & found.keys()
    assert changes.update.keys() <= found.keys()
    assert changes.remove <= found.keys()


@given(peers)
def test_what_agrees_has_no_difference(desired):
    assert not diff(desired, {key: observed(value) for key, value in desired.items()})


def test_a_report_names_keys_addresses_and_fields_and_no_secret():
    desired = {
        A: PeerSettings(networks("fd00::2/128,10.0.0.2/32"), PRESHARED_KEY),
        B: PeerSettings(THREE, PRESHARED_KEY, 25),
        D: PeerSettings(frozenset()),
    }
    found = {B: observed(PeerSettings(TWO, OTHER_PRESHARED_KEY)), C: observed(PeerSettings(THREE))}
    assert list(lines(diff(desired, found), found)) == [
        f"+ {A} 10.0.0.2/32,fd00::2/128",
        f"+ {D} (none)",
        f"- {C}",
        f"~ {B} allowed_ips",
        f"~ {B} preshared_key",
        f"~ {B} persistent_keepalive",
    ]


@given(peers, peers)
def test_every_change_has_a_line_and_only_a_change(desired, found):
    standing = {key: observed(value) for key, value in found.items()}
    changes = diff(desired, standing)
    report = [line.split(" ")[:2] for line in lines(changes, standing)]
    assert {key for sign, key in report if sign == "+"} == changes.add.keys()
    assert {key for sign, key in report if sign == "-"} == changes.remove
    assert {key for sign, key in report if sign == "~"} == changes.update.keys()
