"""Network namespaces with real WireGuard interfaces and clients in them; needs root, and leaves nothing behind.

No traffic leaves these namespaces: they have a loopback and the pairs that ``link`` makes. The file system and the UNIX
sockets in it stay reachable, except that each has a ``/run/wireguard`` of its own. Does not know pytest.
"""

import ctypes
import itertools
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeAlias, TypeVar

Address: TypeAlias = IPv4Address | IPv6Address
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# Holds the namespace until its standard input ends, which it also does when we are killed; then it ends whatever still
# runs inside, told by the namespace itself and not by a name.
KEEPER = """
mkdir -p /run/wireguard && mount -t tmpfs tmpfs /run/wireguard && ip link set lo up && echo ready && cat
for process in /proc/[0-9]*; do
    if [ "$process/ns/net" -ef /proc/self/ns/net ] && [ "$process" != "/proc/$$" ]; then
        kill -KILL "${process#/proc/}"
    fi
done
"""
TIMEOUT = 60  # seconds for a command inside
GRACE = 5  # seconds to end after being asked

CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
CLONE_NEWNET = 0x40000000

UNRESOLVED = ip_address("198.51.100.1")  # stands for an endpoint's host name: nothing resolves names in here
PAIRS = itertools.count()
POOLS = {4: ip_address("198.18.0.1"), 6: ip_address("2001:db8:ffff::1")}  # RFC 2544, RFC 3849: nobody's


class Namespace:
    """A network and mount namespace; ``close`` (or the end of ``with``) ends all that runs in it."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", KEEPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the terminal is ours to handle
        )
        self.pid = self._keeper.pid
        self._processes: list[subprocess.Popen[Any]] = []
        self._inside = ThreadPoolExecutor(1, f"netns-{self.pid}", _enter, (self.pid, Path.cwd()))
        if self._keeper.stdout.readline() != b"ready\n":
            self.close()
            raise OSError("a network namespace could not be made: it takes root, unshare, mount and ip")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(
        self,
        *argv: str,
        input: str | None = None,  # noqa: A002 - what subprocess.run calls it
        check: bool = True,
        timeout: float = TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside and return it with its output, as text."""
        given = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        command = self._command(argv)
        done = subprocess.run(command, **given, capture_output=True, check=False, text=True, timeout=timeout)
        if check and done.returncode:
            error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
            error.add_note(done.stderr)
            raise error
        return done

    def popen(self, *argv: str, **options: Any) -> subprocess.Popen[Any]:
        """Start a command inside; ``close`` ends it. ``options`` are Popen's."""
        process = subprocess.Popen(self._command(argv), **options)
        self._processes.append(process)
        return process

    def call(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Call a function of this very process inside: one thread of it, and what that starts, is in the namespace."""
        return self._inside.submit(function, *args, **kwargs).result()

    def link(
        self, other: "Namespace", mine: Address | None = None, theirs: Address | None = None
    ) -> tuple[Address, Address]:
        """Connect two namespaces by a pair of virtual interfaces and return the addresses, this side's first.

        Either side's address may be one that it has on another pair already.
        """
        number = next(PAIRS)
        pool = POOLS[(mine or theirs or POOLS[4]).version]
        mine = mine or pool + 2 * number
        theirs = theirs or pool + 2 * number + 1
        device = f"veth{number}"
        self.run("ip", "link", "add", device, "type", "veth", "peer", "name", device, "netns", str(other.pid))
        self._address(device, mine)
        other._address(device, theirs)
        self.run("ip", "route", "add", str(theirs), "dev", device, "src", str(mine))
        other.run("ip", "route", "add", str(mine), "dev", device, "src", str(theirs))
        return mine, theirs

    def close(self) -> None:
        """End all that runs inside, and the namespace with it; may be called again."""
        for process in reversed(self._processes):
            end(process)
        self._inside.shutdown()
        self._keeper.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._keeper.wait(GRACE)
        end(self._keeper)

    def _address(self, device: str, address: Address) -> None:
        # Without duplicate address detection, which keeps an IPv6 address unusable for its first second.
        flags = ["nodad"] if address.version == 6 else []
        self.run("ip", "address", "add", str(address), "dev", device, *flags)
        self.run("ip", "link", "set", device, "up")

    def _command(self, argv: tuple[str, ...]) -> list[str]:
        return ["nsenter", "--net", "--mount", "-t", str(self.pid), f"--wdns={Path.cwd()}", "--", *argv]


def end(process: subprocess.Popen[Any]) -> None:
    """Ask a process to end, and after a while make it; close its pipes. It may have ended already."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
        with suppress(BrokenPipeError):
            pipe.close()


def _enter(pid: int, folder: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _must(libc.unshare(CLONE_FS))  # or the kernel refuses to give this thread file systems of its own
    for kind, flag in (("net", CLONE_NEWNET), ("mnt", CLONE_NEWNS)):
        with Path(f"/proc/{pid}/ns/{kind}").open("rb") as namespace:
            _must(libc.setns(namespace.fileno(), flag))
    os.chdir(folder)


def _must(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


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

    def __init__(self, conf: str, gateway: Namespace) -> None:
        self.namespace = Namespace()
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

    def _connect(self, conf: dict[str, str], gateway: Namespace) -> None:
        host, _, port = conf["Endpoint"].rpartition(":")
        _, there = self.namespace.link(gateway, theirs=_literal(host.strip("[]")))
        bracketed = f"[{there}]" if there.version == 6 else there
        start_wireguard_go(self.namespace, "wg0")
        self.namespace.run(
            "wg", "setconf", "wg0", "/dev/stdin", input=_wg_conf({**conf, "Endpoint": f"{bracketed}:{port}"})
        )
        for address in conf["Address"].split(","):
            self.namespace.run("ip", "address", "add", address.strip(), "dev", "wg0")
        self.namespace.run("ip", "link", "set", "wg0", "mtu", conf.get("MTU", "1420"), "up")
        for network in conf["AllowedIPs"].split(","):
            self.namespace.run("ip", "route", "replace", network.strip(), "dev", "wg0")


def start_wireguard_go(namespace: Namespace, name: str) -> "subprocess.Popen[Any]":
    """Start a wireguard-go inside, wait until wg(8) reaches it, and return it; ``namespace.close`` ends it."""
    environment = os.environ | {"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "silent"}
    process = namespace.popen("wireguard-go", "-f", name, env=environment, stdin=subprocess.DEVNULL)
    give_up = time.monotonic() + GRACE
    while namespace.run("wg", "show", name, "listen-port", check=False).returncode:
        if process.poll() is not None or time.monotonic() > give_up:
            raise OSError(f"wireguard-go did not bring up {name}")
        time.sleep(0.005)
    return process


def ping_result(printed: str, interval: float) -> PingResult:
    """Return what ping(8) printed; its requests were ``interval`` seconds apart."""
    sent, received = re.search(r"(\d+) packets transmitted, (\d+) received", printed).groups()
    first = re.search(r"icmp_seq=(\d+) .*time=([\d.]+) ms", printed)
    seconds = (int(first[1]) - 1) * interval + float(first[2]) / 1000 if first else None
    return PingResult(int(sent), int(received), seconds)


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
