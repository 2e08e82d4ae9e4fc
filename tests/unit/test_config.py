"""A client's configuration file: the exact text, and that no value can add a line to it."""

import re
from dataclasses import replace
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from peers.wireguard import keys
from peers.wireguard.config import PLACEHOLDER, ClientConfig, InvalidEndpoint, endpoint, file_name

SERVER_KEY = keys.public_key_of(keys.generate_private_key())
PRIVATE_KEY = keys.generate_private_key()
PRESHARED_KEY = keys.generate_preshared_key()

SMALLEST = ClientConfig(
    addresses=(ip_interface("10.0.0.2/32"),),
    server_public_key=SERVER_KEY,
    client_allowed_ips=(ip_network("10.0.0.0/24"),),
    endpoint="vpn.example.com:51820",
)
WHOLE = ClientConfig(
    private_key=PRIVATE_KEY,
    addresses=(ip_interface("10.0.0.2/32"), ip_interface("fd00::2/128")),
    dns=(ip_address("10.0.0.1"), ip_address("fd00::1")),
    mtu=1420,
    server_public_key=SERVER_KEY,
    preshared_key=PRESHARED_KEY,
    client_allowed_ips=(ip_network("10.0.0.0/24"), ip_network("fd00::/64")),
    endpoint="[2001:db8::1]:51820",
    persistent_keepalive=25,
)

KEY = r"[A-Za-z0-9+/]{43}="
ADDRESS = r"[0-9a-f.:]+"
NETWORK = rf"{ADDRESS}/[0-9]{{1,3}}"
GRAMMAR = [  # the fields in their order, what each may hold, and whether it may be absent
    (r"\[Interface\]", False),
    (rf"PrivateKey = ({KEY}|{PLACEHOLDER})", False),
    (rf"Address = {NETWORK}(, {NETWORK})*", False),
    (rf"DNS = {ADDRESS}(, {ADDRESS})*", True),
    (r"MTU = [1-9][0-9]{2,4}", True),
    (r"", False),
    (r"\[Peer\]", False),
    (rf"PublicKey = {KEY}", False),
    (rf"PresharedKey = {KEY}", True),
    (rf"AllowedIPs = {NETWORK}(, {NETWORK})*", False),
    (r"Endpoint = ([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}", False),
    (r"PersistentKeepalive = [1-9][0-9]{0,4}", True),
]


def assert_grammar(text: str) -> None:
    """Take the text line by line: nothing but the grammar's lines, in order, each at most once."""
    assert text.endswith("\n")
    assert text.isascii()
    lines = text.removesuffix("\n").split("\n")
    for pattern, may_be_absent in GRAMMAR:
        if lines and re.fullmatch(pattern, lines[0]):
            lines.pop(0)
        else:
            assert may_be_absent, pattern
    assert lines == []


def test_the_whole_file():
    assert WHOLE.text() == (
        "[Interface]\n"
        f"PrivateKey = {PRIVATE_KEY}\n"
        "Address = 10.0.0.2/32, fd00::2/128\n"
        "DNS = 10.0.0.1, fd00::1\n"
        "MTU = 1420\n"
        "\n"
        "[Peer]\n"
        f"PublicKey = {SERVER_KEY}\n"
        f"PresharedKey = {PRESHARED_KEY}\n"
        "AllowedIPs = 10.0.0.0/24, fd00::/64\n"
        "Endpoint = [2001:db8::1]:51820\n"
        "PersistentKeepalive = 25\n"
    )
    assert_grammar(WHOLE.text())


def test_what_is_absent_is_left_out():
    assert SMALLEST.text() == (
        "[Interface]\n"
        "PrivateKey = REPLACE_WITH_YOUR_PRIVATE_KEY\n"
        "Address = 10.0.0.2/32\n"
        "\n"
        "[Peer]\n"
        f"PublicKey = {SERVER_KEY}\n"
        "AllowedIPs = 10.0.0.0/24\n"
        "Endpoint = vpn.example.com:51820\n"
    )
    assert_grammar(SMALLEST.text())


def test_its_repr_holds_no_secret():
    assert PRIVATE_KEY not in repr(WHOLE)
    assert PRESHARED_KEY not in repr(WHOLE)


class Loud(IPv4Address):
    """An address that prints more than an address."""

    def __str__(self) -> str:
        return "10.0.0.1\nPostUp = reboot"


HOSTILE_ZONE = "fe80::1%x\nPostUp = reboot"  # ipaddress takes any text as a zone
REFUSED = {
    "private key with a line": {"private_key": f"{PRIVATE_KEY}\nPostUp = reboot"},
    "private key that is none": {"private_key": "secret"},
    "no private key": {"private_key": ""},
    "placeholder with a line": {"private_key": f"{PLACEHOLDER}\n"},
    "server key of low order": {"server_public_key": keys.ZERO_KEY},
    "server key with a line": {"server_public_key": f"{SERVER_KEY}\n"},
    "preshared key with a line": {"preshared_key": f"{PRESHARED_KEY}\nPostUp = reboot"},
    "empty preshared key": {"preshared_key": ""},
    "no address": {"addresses": ()},
    "address as text": {"addresses": ("10.0.0.2/32\nPostUp = reboot",)},
    "addresses as text": {"addresses": "10.0.0.2/32"},
    "address that is a network": {"addresses": (IPv4Network("10.0.0.2/32"),)},
    "address with a zone": {"addresses": (IPv6Interface(f"{HOSTILE_ZONE}/128"),)},
    "dns as text": {"dns": ("10.0.0.1",)},
    "dns that is an interface": {"dns": (IPv4Interface("10.0.0.1/24"),)},
    "dns with a zone": {"dns": (IPv6Address(HOSTILE_ZONE),)},
    "dns that prints more": {"dns": (Loud("10.0.0.1"),)},
    "nothing allowed": {"client_allowed_ips": ()},
    "allowed that is an address": {"client_allowed_ips": (IPv4Address("10.0.0.1"),)},
    "allowed with a zone": {"client_allowed_ips": (IPv6Network(f"{HOSTILE_ZONE}/128"),)},
    "endpoint with a line": {"endpoint": "vpn.example.com:51820\nPostUp = reboot"},
    "endpoint with its end": {"endpoint": "vpn.example.com:51820\n"},
    "mtu too small": {"mtu": 575},
    "mtu too large": {"mtu": 65536},
    "mtu as text": {"mtu": "1420\nPostUp = reboot"},
    "mtu that is a truth": {"mtu": True},
    "keepalive below 0": {"persistent_keepalive": -1},
    "keepalive too large": {"persistent_keepalive": 65536},
    "keepalive as text": {"persistent_keepalive": "25"},
    "keepalive that is a truth": {"persistent_keepalive": True},
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_a_value_that_is_not_of_its_kind_is_refused(change):
    with pytest.raises(ValueError, match=r"\w") as caught:
        replace(WHOLE, **change)
    message = str(caught.value)
    assert PRIVATE_KEY not in message
    assert PRESHARED_KEY not in message
    assert "PostUp" not in message


addresses_v6 = st.ip_addresses(v=6)
zones = st.text(st.characters(exclude_characters="%/", exclude_categories=["Cs"]), min_size=1, max_size=9)
zoned = st.builds(lambda address, zone: f"{address}%{zone}", addresses_v6, zones)
lines_more = st.sampled_from(["", "\n", "\r\nPostUp = reboot", "\nPostUp = reboot\n", "\0", "\u2028", " #"])


def or_hostile(good):
    return good | st.text(max_size=50) | st.builds(lambda value, more: f"{value}{more}", good, lines_more)


interfaces = st.ip_addresses().map(ip_interface) | zoned.map(ip_interface)
plain_addresses = st.ip_addresses() | zoned.map(ip_address)
allowed = st.ip_addresses().map(ip_network) | zoned.map(ip_network)
any_config = {
    "private_key": or_hostile(st.sampled_from([PRIVATE_KEY, PLACEHOLDER])),
    "addresses": st.lists(or_hostile(interfaces) | plain_addresses, max_size=3).map(tuple),
    "dns": st.lists(or_hostile(plain_addresses) | interfaces, max_size=3).map(tuple),
    "mtu": st.none() | or_hostile(st.integers(500, 66000)),
    "server_public_key": or_hostile(st.just(SERVER_KEY)),
    "preshared_key": st.none() | or_hostile(st.just(PRESHARED_KEY)),
    "client_allowed_ips": st.lists(or_hostile(allowed) | interfaces, max_size=3).map(tuple),
    "endpoint": or_hostile(st.sampled_from(["vpn.example.com:51820", "[fd00::1]:1", "192.0.2.1:65535"])),
    "persistent_keepalive": or_hostile(st.integers(-1, 65536)),
}


# A few values at a time are drawn anew: were all of them, hardly any configuration would be taken.
@given(st.sets(st.sampled_from(sorted(any_config)), min_size=1, max_size=3), st.data())
def test_a_config_is_refused_or_follows_the_grammar(names, data):
    change = {name: data.draw(any_config[name], label=name) for name in sorted(names)}
    try:
        text = replace(WHOLE, **change).text()
    except ValueError:
        return
    assert_grammar(text)


GOOD_ENDPOINTS = [
    "vpn.example.com:51820",
    "vpn:1",
    "1and1.example:65535",
    "xn--bcher-kva.example:51820",
    "192.0.2.1:51820",
    "[2001:db8::1]:51820",
    "[::ffff:192.0.2.1]:51820",
    f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}:51820",
]
BAD_ENDPOINTS = [
    "",
    "vpn.example.com",
    "vpn.example.com:",
    ":51820",
    "vpn.example.com:0",
    "vpn.example.com:65536",
    "vpn.example.com:051820",
    "vpn.example.com:+1",
    "vpn.example.com:51820 ",
    " vpn.example.com:51820",
    "vpn.example.com:51820\n",
    "vpn.example.com:\u0665",
    "v\u00fcpn.example.com:51820",
    "vpn_1.example.com:51820",
    "-vpn.example.com:51820",
    "vpn-.example.com:51820",
    "vpn..example.com:51820",
    ".example.com:51820",
    "example.com.:51820",
    f"{'a' * 64}.example.com:51820",
    f"{'a.' * 127}com:51820",
    "192.0.2.256:51820",
    "192.0.2:51820",
    "192.0.2.01:51820",
    "3221225985:51820",
    "2001:db8::1:51820",
    "[192.0.2.1]:51820",
    "[2001:db8::1%eth0]:51820",
    "[2001:db8:::1]:51820",
    "[2001:db8::1]51820",
    "[]:51820",
    "https://vpn.example.com:51820",
    "user@vpn.example.com:51820",
]


@pytest.mark.parametrize("text", GOOD_ENDPOINTS)
def test_an_endpoint_is_a_host_and_a_port(text):
    assert endpoint(text) == text


@pytest.mark.parametrize("text", BAD_ENDPOINTS)
def test_any_other_endpoint_is_refused_with_a_sentence(text):
    with pytest.raises(InvalidEndpoint, match=r"^An endpoint.*\.$"):
        endpoint(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Anna's laptop", "Anna-s-laptop"),
        ("Zo\u00eb", "Zoe"),
        ("\u7535\u8111", "latchkey"),
        ("", "latchkey"),
        (".", "latchkey"),
        ("..", "latchkey"),
        ("---", "latchkey"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("../../etc/passwd", "etc-passwd"),
        ("a name longer than fifteen", "a-name-longer-t"),
        ("fourteen chars and", "fourteen-chars"),
        ("R&D (2nd) +1=x_y.z", "R-D-2nd-+1=x_y"),
        ("\ufb01le", "file"),
        ("nul", "wg-nul"),
        ("COM1", "wg-COM1"),
        ("aux.phone", "wg-aux.phone"),
        ("console", "console"),
    ],
)
def test_a_file_is_named_after_the_peer(name, expected):
    assert file_name(name) == f"{expected}.conf"


@given(st.text() | st.text(".-=+_ /\\aZ0\u00e9", max_size=40))
@example("con" + "." * 20)
@example("nul-----------------")
def test_every_file_name_is_safe_and_short(name):
    found = file_name(name)
    assert re.fullmatch(r"[a-zA-Z0-9_=+][a-zA-Z0-9_=+.-]{0,14}\.conf", found)
    assert not re.match(r"(con|prn|aux|nul|com\d|lpt\d)\.", found, re.IGNORECASE)
