"""A real WireGuard client in a network namespace, built from the text of a ``.conf`` as an app would import it."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

from deploy.demo.netns import Address, Joined, Namespace

START_WITHIN = 20  # seconds that wireguard-go has; it takes about 0.02 on a machine with nothing else to do
UNRESOLVED = ip_address("198.51.100.1")  # stands for an endpoint's host name: nothing resolves names in here


@dataclass(frozen=True, slots=True)
class PingResult:
    """What ping(8) saw; ``first_reply_seconds`` counts from the first request, None without any reply."""

    sent: int
    received: int
    first_reply_seconds: float | None


class Client:
    """A WireGuard client in a namespace of its own, built from the text of a ``.conf`` and linked to ``gateway``.

    The gateway gets the address of the configuration's Endpoint on its side of the link; a host name stands for
    198.51.100.1. DNS is ignored.
    """

    def __init__(self, conf: str, gateway: Joined) -> None:
        self.namespace = Namespace(beside=gateway)
        try:
            self._connect(dict(_fields(conf)), gateway)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ping(self, address: str, count: int = 1, interval: float = 0.2, timeout: float = 2) -> PingResult:
        """Send ``count`` pings, ``interval`` seconds apart, and wait ``timeout`` seconds for the last reply."""
        command = ("ping", "-n", "-c", str(count), "-i", str(interval), "-W", str(timeout), address)
        return ping_result(self.namespace.run(*command, check=False).stdout, interval)

    def close(self) -> None:
        """End the client and its namespace; may be called again."""
        self.namespace.close()

    def _connect(self, conf: dict[str, str], gateway: Joined) -> None:
        host, _, port = conf["Endpoint"].rpartition(":")
        _, there = self.namespace.link(gateway, theirs=_literal(host.strip("[]")))
        bracketed = f"[{there}]" if there.version == 6 else there
        _start_wireguard(self.namespace, "wg0")
        self.namespace.run(
            "wg", "setconf", "wg0", "/dev/stdin", input=_wg_conf({**conf, "Endpoint": f"{bracketed}:{port}"})
        )
        for address in conf["Address"].split(","):
            self.namespace.run("ip", "address", "add", address.strip(), "dev", "wg0")
        self.namespace.run("ip", "link", "set", "wg0", "mtu", conf.get("MTU", "1420"), "up")
        for network in conf["AllowedIPs"].split(","):
            self.namespace.run("ip", "route", "replace", network.strip(), "dev", "wg0")


def _start_wireguard(namespace: Namespace, name: str) -> None:
    if namespace.run("ip", "link", "add", name, "type", "wireguard", check=False).returncode:
        start_wireguard_go(namespace, name)


def start_wireguard_go(namespace: Namespace, name: str) -> "subprocess.Popen[Any]":
    """Start a wireguard-go inside, wait until wg(8) reaches it, and return it; ``namespace.close`` ends it."""
    environment = os.environ | {"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "silent"}
    process = namespace.popen("wireguard-go", "-f", name, env=environment, stdin=subprocess.DEVNULL)
    give_up = time.monotonic() + START_WITHIN
    while namespace.run("wg", "show", name, "listen-port", check=False).returncode:
        if process.poll() is not None or time.monotonic() > give_up:
            status = process.poll()
            how = "it takes too long" if status is None else f"it ended with {status}"
            raise OSError(f"wireguard-go did not bring up {name}: {how}")
        time.sleep(0.005)
    return process


def ping_result(printed: str, interval: float) -> PingResult:
    """Return what ping(8) printed; its requests were ``interval`` seconds apart."""
    counts = re.search(r"(\d+) packets transmitted, (\d+) received", printed)
    if not counts:
        raise ValueError(f"ping printed no summary: {printed[-200:]}")
    first = re.search(r"icmp_seq=(\d+) .*time=([\d.]+) ms", printed)
    seconds = (int(first[1]) - 1) * interval + float(first[2]) / 1000 if first else None
    return PingResult(int(counts[1]), int(counts[2]), seconds)


def _literal(host: str) -> Address:
    try:
        return ip_address(host)
    except ValueError:
        return UNRESOLVED


def _fields(conf: str) -> Iterator[tuple[str, str]]:
    for line in conf.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name.strip(), value.strip()


def _wg_conf(conf: dict[str, str]) -> str:
    """Return what wg(8) itself reads of a configuration; the rest is for wg-quick(8)."""
    of_peer = ("PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive")
    peer = "".join(f"{name} = {conf[name]}\n" for name in of_peer if name in conf)
    return f"[Interface]\nPrivateKey = {conf['PrivateKey']}\n[Peer]\n{peer}"
