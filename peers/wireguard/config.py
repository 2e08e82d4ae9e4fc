"""A client's configuration file, built from checked values only. Knows nothing of where the values come from."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import TypeAlias

from . import keys

Interface: TypeAlias = IPv4Interface | IPv6Interface
Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

PLACEHOLDER = "REPLACE_WITH_YOUR_PRIVATE_KEY"

ENDPOINT = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9.-]{1,253})):([1-9][0-9]{0,4})")
LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")  # RFC 1123 section 2.1

SLUG_LENGTH = 15  # IFNAMSIZ less its zero: the apps take the file's name as the tunnel's
# Windows opens a device, not a file, by these names, whatever follows the first dot.
DEVICE_NAMES = re.compile(r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")


class InvalidEndpoint(ValueError):
    """An endpoint that WireGuard cannot use; the message is a sentence for the person who typed it."""


def endpoint(text: str) -> str:
    """Return ``text`` if it is ``host:port``: a name (RFC 1123), an IPv4 address or an IPv6 one in brackets.

    Raise InvalidEndpoint otherwise.
    """
    match = ENDPOINT.fullmatch(text)
    if not match:
        raise InvalidEndpoint("An endpoint is host:port, as vpn.example.com:51820 or [2001:db8::1]:51820.")
    ipv6, host, port = match.groups()
    if int(port) > 65535:
        raise InvalidEndpoint("An endpoint's port is a number from 1 to 65535.")
    if not (_is_ipv6(ipv6) if ipv6 else _is_host(host)):
        raise InvalidEndpoint(
            "An endpoint's host is a name, an IPv4 address, or an IPv6 address in brackets."
        )
    return text


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    labels = text.split(".")
    if not labels[-1].isdigit():
        return all(map(LABEL.fullmatch, labels))
    try:  # no top-level domain is a number, so resolvers read this as an address
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def file_name(name: str) -> str:
    """Return the file name under which the configuration of the peer called ``name`` is downloaded.

    ``<slug>.conf``: at most 15 characters of ``[a-zA-Z0-9_=+.-]``, neither hidden nor an option; ``latchkey`` if none remain.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    slug = re.sub(r"[^a-zA-Z0-9_=+.-]+", "-", plain).strip(".-")[:SLUG_LENGTH].rstrip(".-")
    if DEVICE_NAMES.fullmatch(slug):
        slug = f"wg-{slug}"[:SLUG_LENGTH].rstrip(".-")
    return f"{slug or 'latchkey'}.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """The configuration of one peer; every value is checked, so that none can add a line.

    ``preshared_key`` and ``mtu`` are None where there is none; ``persistent_keepalive`` is in seconds, 0 is off.
    Raise ValueError (InvalidKey, InvalidEndpoint) when a value is not what its type and wg(8) say.
    """

    private_key: str = field(default=PLACEHOLDER, repr=False)
    addresses: tuple[Interface, ...]
    dns: tuple[Address, ...] = ()
    mtu: int | None = None
    server_public_key: str
    preshared_key: str | None = field(default=None, repr=False)
    client_allowed_ips: tuple[Network, ...]
    endpoint: str
    persistent_keepalive: int = 0

    def __post_init__(self) -> None:
        if self.private_key != PLACEHOLDER:
            keys.private_key(self.private_key)
        keys.public_key(self.server_public_key)
        if self.preshared_key is not None:
            keys.preshared_key(self.preshared_key)
        endpoint(self.endpoint)
        self._check_addresses()
        self._check_numbers()

    def _check_addresses(self) -> None:
        _check_each("addresses", self.addresses, (IPv4Interface, IPv6Interface))
        _check_each("dns", self.dns, (IPv4Address, IPv6Address))
        _check_each("client_allowed_ips", self.client_allowed_ips, (IPv4Network, IPv6Network))
        if not (self.addresses and self.client_allowed_ips):
            raise ValueError("addresses and client_allowed_ips are not empty")

    def _check_numbers(self) -> None:
        if self.mtu is not None:
            _check_range("mtu", self.mtu, 576, 65535)
        _check_range("persistent_keepalive", self.persistent_keepalive, 0, 65535)

    def text(self) -> str:
        """Return the file: ``[Interface]`` and ``[Peer]``, each field at most once, what is absent left out."""
        return "\n".join(["[Interface]", *self._interface(), "", "[Peer]", *self._peer(), ""])

    def _interface(self) -> Iterator[str]:
        yield f"PrivateKey = {self.private_key}"
        yield f"Address = {', '.join(map(str, self.addresses))}"
        if self.dns:
            yield f"DNS = {', '.join(map(str, self.dns))}"
        if self.mtu is not None:
            yield f"MTU = {self.mtu}"

    def _peer(self) -> Iterator[str]:
        yield f"PublicKey = {self.server_public_key}"
        if self.preshared_key is not None:
            yield f"PresharedKey = {self.preshared_key}"
        yield f"AllowedIPs = {', '.join(map(str, self.client_allowed_ips))}"
        yield f"Endpoint = {self.endpoint}"
        if self.persistent_keepalive:
            yield f"PersistentKeepalive = {self.persistent_keepalive}"


def _check_each(name: str, values: tuple[object, ...], types: tuple[type, ...]) -> None:
    # By exact type: an interface is an address too, and a subclass may print itself as it likes. An IPv6 zone ("%…")
    # may hold any character, a new line included, and means nothing on another machine.
    if not all(type(value) in types and "%" not in str(value) for value in values):
        raise ValueError(f"{name} holds a value that is not an address of its kind")


def _check_range(name: str, value: int, lowest: int, highest: int) -> None:
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{name} is a whole number from {lowest} to {highest}")
