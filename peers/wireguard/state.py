"""What an interface should hold, what it holds, and the difference. Pure: no process, no clock, no database."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple, TypeAlias

from .keys import KEY, ZERO_KEY

Network: TypeAlias = IPv4Network | IPv6Network

KEY_LENGTH = len(ZERO_KEY)
MEMO = 2**17  # twice what wireguard-go can hold: desired and observed
ALLOWED_IPS = re.compile(r"[0-9A-Fa-f.:]+/[0-9]{1,3}(,[0-9A-Fa-f.:]+/[0-9]{1,3})*")
# wg(8) "dump". The first line's first field is the interface's private key: it is matched and never captured.
FIRST_LINE = re.compile(
    rf"(?:{KEY.pattern}|\(none\))\t({KEY.pattern}|\(none\))\t([0-9]{{1,5}})\t[0-9a-fox]{{1,10}}"
)
PEER_LINE = re.compile(
    rf"({KEY.pattern})\t({KEY.pattern}|\(none\))\t([!-~]+)\t([!-~]+)\t([0-9]{{1,10}})\t"
    r"([0-9]{1,20})\t([0-9]{1,20})\t([0-9]{1,5}|off)"
)


@lru_cache(maxsize=MEMO)
def networks(text: str) -> frozenset[Network]:
    """Return the networks of an allowed_ips field as wg(8) prints it; ``(none)`` is the empty set.

    Equal sets are one object, whatever the order in the text, so that comparing two of them costs nothing.
    Raise ValueError for anything else, host bits and IPv6 zones included.
    """
    if text == "(none)":
        return frozenset()
    if not ALLOWED_IPS.fullmatch(text):
        raise ValueError("allowed_ips is a list of networks, separated by commas")
    return _one_object(frozenset(map(ip_network, text.split(","))))


@lru_cache(maxsize=MEMO)
def _one_object(value: frozenset[Network]) -> frozenset[Network]:
    return value


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """What the portal owns of a peer; always whole, because wg(8) keeps what is left out.

    No preshared key is the zero key. ``persistent_keepalive`` is in seconds, 0 is off.
    """

    allowed_ips: frozenset[Network]
    preshared_key: str = field(default=ZERO_KEY, repr=False)
    persistent_keepalive: int = 0


@lru_cache(maxsize=MEMO)
def peer_settings(
    allowed_ips: frozenset[Network], preshared_key: str, persistent_keepalive: int, /
) -> PeerSettings:
    """Return the one object for these settings, so that comparing what is wanted with what is there costs nothing."""
    return PeerSettings(_one_object(allowed_ips), preshared_key, persistent_keepalive)


class ObservedPeer(NamedTuple):
    """A peer as read from the interface; ``endpoint`` and ``latest_handshake`` are None before the first handshake.

    A pass makes one of each peer, and a tuple takes less than half of the time of a dataclass.
    """

    settings: PeerSettings
    endpoint: str | None
    latest_handshake: datetime | None
    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True, slots=True)
class Observed:
    """An interface as read; ``public_key`` is None while it has no private key, which is never held here."""

    public_key: str | None
    listen_port: int
    peers: Mapping[str, ObservedPeer]


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do to an interface, by public key; false when there is nothing to do."""

    add: Mapping[str, PeerSettings]
    update: Mapping[str, PeerSettings]
    remove: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.add or self.update or self.remove)


def diff(desired: Mapping[str, PeerSettings], observed: Mapping[str, ObservedPeer]) -> Changes:
    """Return the changes that make ``observed`` equal to ``desired``; empty when they agree.

    Both map a public key to the settings that the portal owns. Endpoint, handshake and counters are not among them,
    so they can never be a difference.
    """
    return Changes(
        add={key: settings for key, settings in desired.items() if key not in observed},
        update={
            key: settings
            for key, settings in desired.items()
            if key in observed and _differ(observed[key].settings, settings)
        },
        remove=frozenset(observed.keys() - desired.keys()),
    )


def _differ(one: PeerSettings, other: PeerSettings) -> bool:
    return one is not other and one != other  # nearly always one object: see peer_settings


def lines(changes: Changes, observed: Mapping[str, ObservedPeer]) -> Iterator[str]:
    """Yield one line for each change: ``+ KEY ADDRESSES``, ``- KEY``, ``~ KEY FIELD``; never a secret's value."""
    for key in sorted(changes.add):
        yield f"+ {key} {addresses(changes.add[key].allowed_ips)}"
    for key in sorted(changes.remove):
        yield f"- {key}"
    for key in sorted(changes.update):
        yield from (f"~ {key} {name}" for name in _differing(changes.update[key], observed[key].settings))


def addresses(allowed_ips: frozenset[Network]) -> str:
    """Return networks as wg(8) prints allowed_ips: IPv4 before IPv6, in order, ``(none)`` for the empty set."""
    in_order = sorted(
        allowed_ips, key=lambda network: (network.version, network.network_address.packed, network.prefixlen)
    )
    return ",".join(map(str, in_order)) or "(none)"


def _differing(wanted: PeerSettings, found: PeerSettings) -> Iterator[str]:
    names = ("allowed_ips", "preshared_key", "persistent_keepalive")
    return (name for name in names if getattr(wanted, name) != getattr(found, name))


def parse_dump(text: str, only: Collection[str] | None = None) -> Observed:
    """Return the interface that ``wg show IF dump`` describes; raise ValueError for anything else.

    With ``only``, a set of public keys, no other peer's line is read: of many peers that takes most of the time.
    The text holds the private key and every preshared key, so the error holds none of it and no cause either.
    """
    first, *rest = text.removesuffix("\n").split("\n")
    if only is not None:
        rest = [line for line in rest if line[:KEY_LENGTH] in only]
    try:
        public_key, listen_port = _first_line(first)
        return Observed(public_key, listen_port, dict(map(_peer, rest)))
    except ValueError:
        pass  # its message, and its frames' variables, may hold a key: raise a new one, outside
    raise ValueError("what wg printed is not the dump of an interface")


def _first_line(line: str) -> tuple[str | None, int]:
    match = FIRST_LINE.fullmatch(line)
    if not match:
        raise ValueError
    public_key, listen_port = match.groups()
    return None if public_key == "(none)" else public_key, int(listen_port)


def _peer(line: str) -> tuple[str, ObservedPeer]:
    match = PEER_LINE.fullmatch(line)
    if not match:
        raise ValueError
    key, preshared_key, endpoint, allowed_ips, handshake, rx_bytes, tx_bytes, keepalive = match.groups()
    return key, ObservedPeer(
        _settings(allowed_ips, preshared_key, keepalive),
        None if endpoint == "(none)" else endpoint,
        None if handshake == "0" else datetime.fromtimestamp(int(handshake), UTC),
        int(rx_bytes),
        int(tx_bytes),
    )


# Of a peer's fields only these stay the same from pass to pass.
@lru_cache(maxsize=MEMO)
def _settings(allowed_ips: str, preshared_key: str, keepalive: str) -> PeerSettings:
    return peer_settings(
        networks(allowed_ips),
        ZERO_KEY if preshared_key == "(none)" else preshared_key,
        0 if keepalive == "off" else int(keepalive),
    )


MEMOS = (networks, _one_object, peer_settings, _settings)
