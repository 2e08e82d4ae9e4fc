"""Make, address and delete a WireGuard interface with ip(8), or wireguard-go where the kernel cannot. Knows no peers."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from typing import Any, TypeAlias

from .wg import ENVIRONMENT, PATH, exists, interface_name

__all__ = ["LinkError", "addresses", "configure", "create", "delete", "exists", "is_userspace", "run"]

Interface: TypeAlias = IPv4Interface | IPv6Interface

SOCKETS = Path("/var/run/wireguard")  # where wg(8) and wireguard-go meet, whatever the network namespace
START = 5.0  # seconds that wireguard-go has; it takes about 0.02
TIMEOUT = 10  # seconds for a tool
PACKAGES = {"ip": "iproute2", "nft": "nftables", "wireguard-go": "wireguard-go"}


class LinkError(Exception):
    """An interface could not be made or changed; the message is a sentence for the operator."""


def create(name: str) -> subprocess.Popen[bytes] | None:
    """Create the interface; return the wireguard-go that serves it, or None where the kernel does.

    The interface lasts as long as that process: its starter ends it by ``terminate()`` and then ``wait()``.
    """
    try:
        _ip("link", "add", "dev", interface_name(name), "type", "wireguard")
    except LinkError as error:
        if not _kernel_lacks_wireguard(str(error)):
            raise
        return _userspace(name)
    return None


def configure(name: str, wanted: Sequence[Interface], mtu: int) -> None:
    """Give the interface those of the ``wanted`` addresses that it lacks, set its MTU and bring it up; write only what differs.

    Addresses beyond these stay: an operator may have put them there. Raise LinkError.
    """
    found = _link(interface_name(name))
    for address in _lacking(wanted, found):
        _ip("address", "add", str(address), "dev", name)
    if found["mtu"] != mtu:
        _ip("link", "set", "dev", name, "mtu", str(mtu))
    if "UP" not in found["flags"]:
        _ip("link", "set", "dev", name, "up")


def is_userspace(name: str) -> bool:
    """Return whether a wireguard-go serves the interface."""
    return (SOCKETS / f"{interface_name(name)}.sock").exists()


def addresses() -> dict[str, set[str]]:
    """Return the names of the devices that have each address of this host."""
    found: dict[str, set[str]] = {}
    for device in json.loads(_ip("-json", "address", "show")):
        for info in device.get("addr_info", ()):
            found.setdefault(info.get("local", ""), set()).add(device["ifname"])
    return found


def delete(name: str) -> None:
    """Delete the interface, and so end the wireguard-go that serves it, if any; raise LinkError."""
    _ip("link", "delete", "dev", interface_name(name))


def _link(name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(_ip("-json", "address", "show", "dev", name))
    return found[0]


def _lacking(wanted: Sequence[Interface], found: dict[str, Any]) -> Iterator[Interface]:
    there = {ip_interface(f"{info['local']}/{info['prefixlen']}") for info in found["addr_info"]}
    return (address for address in wanted if address not in there)


def _ip(*words: str) -> str:
    done = run("ip", *words)
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2] or f"it ended with status {done.returncode}"
        raise LinkError(f"ip {' '.join(words)}: {reason}")
    return done.stdout


def run(tool: str, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a tool of ``PACKAGES`` with ``given`` on its standard input, and return how it ended; raise LinkError if it did not."""
    try:
        return subprocess.run(
            [_binary(tool), *words],
            input=given,
            capture_output=True,
            env=ENVIRONMENT,
            timeout=TIMEOUT,
            check=False,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LinkError(f"{tool} could not be run: {error}") from error


def _kernel_lacks_wireguard(reason: str) -> bool:
    return any(words in reason for words in ("Unknown device type", "Operation not supported"))


def _userspace(name: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [_binary("wireguard-go"), "-f", name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # not ours: should we die, a pipe held open would keep whoever reads it waiting
        env=ENVIRONMENT | {"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "silent"},
    )
    if not _comes_up(process, name):
        process.kill()
        process.wait()
        raise LinkError(
            f"wireguard-go did not bring up {name}: it needs /dev/net/tun and {SOCKETS} to itself."
        )
    return process


def _comes_up(process: subprocess.Popen[bytes], name: str) -> bool:
    give_up = time.monotonic() + START
    while process.poll() is None and time.monotonic() < give_up:
        if exists(name) and _answers(SOCKETS / f"{name}.sock"):
            return True
        time.sleep(0.005)
    return False


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(path))
        except OSError:  # not there yet, or left behind by one that was killed
            return False
    return True


def _binary(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if not found:
        raise LinkError(f"{name} is not installed: it is in Debian's package {PACKAGES[name]}.")
    return found
