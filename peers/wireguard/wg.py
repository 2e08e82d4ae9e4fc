"""Run wg(8): the one file that starts it. Argument lists, a fixed environment, never a shell."""

import re
import shutil
import socket
import subprocess
from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from . import keys
from .state import ALLOWED_IPS, Observed, PeerSettings, addresses, parse_dump

# Not the caller's PATH: these run with CAP_NET_ADMIN, and only root may write to these folders.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C"}
TIMEOUT = 10  # seconds; 65,536 peers, the most that wireguard-go holds, take about 6
REMOVED_AT_ONCE = 10_000  # argv, 2 MiB, has room for 25,875

Address: TypeAlias = IPv4Address | IPv6Address

NAME = re.compile(r"[a-zA-Z0-9_=+.][a-zA-Z0-9_=+.-]{0,14}")
KEY_LIKE = re.compile(r"[A-Za-z0-9+/]{32,}={0,2}")


class WgError(Exception):
    """wg(8) failed; the message says at what and, in wg's last line, why. It never holds a key."""


class InterfaceMissing(WgError):
    """There is no interface of that name."""


def interface_name(text: str) -> str:
    """Return ``text`` if it can name an interface (1 to 15 characters); raise ValueError otherwise."""
    if not NAME.fullmatch(text) or text in {".", ".."}:
        raise ValueError(
            "an interface's name is 1 to 15 characters of a-z A-Z 0-9 _ = + . - and no leading -"
        )
    return text


def exists(interface: str) -> bool:
    """Return whether this network namespace has an interface of that name, of whatever kind."""
    try:
        socket.if_nametoindex(interface_name(interface))
    except OSError:
        return False
    return True


def show(interface: str, only: Collection[str] | None = None) -> Observed:
    """Return what ``interface`` holds now, of its peers ``only`` those; raise InterfaceMissing or WgError."""
    printed = _wg("show", interface, "dump")
    try:
        return parse_dump(printed, only)
    except ValueError:
        pass  # raised again outside, so that the error has no cause whose frames hold the dump
    raise WgError("wg show: its answer could not be read")


def private_key(interface: str) -> str:
    """Return the interface's private key, for its holder alone; raise InterfaceMissing, WgError, or InvalidKey without one."""
    return keys.private_key(_wg("show", interface, "private-key").strip())


def add(interface: str, peers: Mapping[str, PeerSettings]) -> None:
    """Make every one of ``peers`` exactly as given, the other peers left alone; nothing is applied if one is invalid.

    Both for new peers and for changed ones. Raise InvalidKey or ValueError before anything is started, InterfaceMissing or WgError after.
    """
    if peers:
        _wg("addconf", interface, "/dev/stdin", given=add_config(peers))


def remove(interface: str, peer_keys: Iterable[str]) -> None:
    """Take peers off, those that are not there included; the sessions of others go on."""
    waiting = iter(sorted({_key(key) for key in peer_keys}))
    while some := list(islice(waiting, REMOVED_AT_ONCE)):
        _wg("set", interface, *(word for key in some for word in ("peer", key, "remove")))


def set_endpoints(interface: str, endpoints: Mapping[str, tuple[Address, int]]) -> None:
    """Say by public key where peers are that were not heard; one is made where it is not on, so see to that first."""
    words: list[str] = []
    for key, (address, port) in endpoints.items():
        host = f"[{address}]" if address.version == 6 else str(address)
        words += ["peer", _key(key), "endpoint", f"{host}:{_sixteen_bits('port', port)}"]
    if words:
        _wg("set", interface, *words)


def set_interface(
    interface: str, *, private_key_file: Path | None = None, listen_port: int | None = None
) -> None:
    """Write what is given and nothing else: a port sent again, even the same one, opens the socket afresh."""
    words: list[str] = []
    if private_key_file is not None:
        words += ["private-key", str(private_key_file)]
    if listen_port is not None:
        words += ["listen-port", _sixteen_bits("listen_port", listen_port)]
    if words:
        _wg("set", interface, *words)


def add_config(peers: Mapping[str, PeerSettings]) -> str:
    """Return the text that ``wg addconf`` reads, every owned setting written: wg(8) keeps what is left out."""
    return "".join(_section(keys.public_key(key), settings) for key, settings in peers.items())


def _section(key: str, settings: PeerSettings) -> str:
    keepalive = _sixteen_bits("persistent_keepalive", settings.persistent_keepalive)
    return (
        f"[Peer]\nPublicKey = {key}\nPresharedKey = {keys.preshared_key(settings.preshared_key)}\n"
        f"{_allowed_ips(settings)}PersistentKeepalive = {keepalive}\n"
    )


def _allowed_ips(settings: PeerSettings) -> str:
    if not settings.allowed_ips:  # wg takes no empty value, and of this field alone the absence clears
        return ""
    text = addresses(settings.allowed_ips)
    if not ALLOWED_IPS.fullmatch(text):  # an IPv6 zone may hold any character
        raise ValueError("allowed_ips holds something that is not a network")
    return f"AllowedIPs = {text}\n"


def _sixteen_bits(name: str, value: int) -> str:
    if type(value) is not int or not 0 <= value <= 65535:  # wg itself takes 99999 and keeps the lower 16 bits
        raise ValueError(f"{name} is a whole number from 0 to 65535")
    return str(value)


def _key(text: str) -> str:
    # The shape only: a key that cannot work may stand on the interface, put there by hand, and must come off.
    if not keys.KEY.fullmatch(text):
        raise ValueError("not the shape of a key")
    return text


def _wg(verb: str, interface: str, *words: str, given: str = "") -> str:
    done = _run((verb, interface_name(interface), *words), given)
    if done is None:
        raise WgError(f"wg {verb}: it could not be started, or did not end within {TIMEOUT} seconds")
    if done.returncode == 0:
        return done.stdout
    if not exists(interface):  # wg's own words for it depend on whether the kernel knows WireGuard at all
        raise InterfaceMissing(f"wg {verb}: there is no interface {interface}")
    raise WgError(f"wg {verb}: {_reason(done)}")


def _run(words: tuple[str, ...], given: str) -> subprocess.CompletedProcess[str] | None:
    binary = shutil.which("wg", path=PATH)
    if not binary:
        raise WgError("wg is not installed: it is in Debian's package wireguard-tools")
    try:
        return subprocess.run(
            [binary, *words],
            input=given,
            capture_output=True,
            env=ENVIRONMENT,
            timeout=TIMEOUT,
            check=False,
            encoding="ascii",
            errors="replace",
        )
    except (
        OSError,
        subprocess.TimeoutExpired,
    ):  # not a cause to pass on: it holds what wg printed, keys and all
        return None


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    last_line = done.stderr.strip().rpartition("\n")[2]
    if not last_line:
        return f"it ended with status {done.returncode} and no word"
    return KEY_LIKE.sub("(key)", last_line)
