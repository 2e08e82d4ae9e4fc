"""Network namespaces with processes and links in them, which leave nothing behind.

No traffic leaves these namespaces: they have a loopback and the pairs that ``link`` makes. The file system and the UNIX
sockets in it stay reachable, except that each has a ``/run`` of its own: wireguard-go's socket lies there under the
interface's name alone. Root makes them as they are; an ordinary user gets a user namespace with them, where the kernel
allows that. Does not know pytest or the demo.
"""

import ctypes
import itertools
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ParamSpec, Self, TypeAlias, TypeVar

Address: TypeAlias = IPv4Address | IPv6Address
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# Holds the namespace until its standard input ends, which it also does when we are killed; then it ends whatever still
# runs inside, told by the namespace itself and not by a name.
KEEPER = """
mount -t tmpfs tmpfs /run && mkdir /run/wireguard && ip link set lo up && echo ready && cat
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

PAIRS = itertools.count()
POOLS = {4: ip_address("198.18.0.1"), 6: ip_address("2001:db8:ffff::1")}  # RFC 2544, RFC 3849: nobody's


class Joined:
    """A network and mount namespace that the process ``pid`` keeps: a way in, which ends nothing when it is dropped."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(
        self,
        *argv: str,
        input: str | None = None,  # noqa: A002 - what subprocess.run calls it
        check: bool = True,
        timeout: float = TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside and return it with its output, as text."""
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        command = self.command(*argv)
        done = subprocess.run(command, **given, capture_output=True, check=False, text=True, timeout=timeout)
        if check and done.returncode:
            error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
            error.add_note(done.stderr)
            raise error
        return done

    def command(self, *argv: str) -> list[str]:
        """Return the command that runs ``argv`` inside; it becomes ``argv``, so its process is the one to end."""
        kinds = [*_user_options(self.pid), "--net", "--mount"]
        return ["nsenter", *kinds, "-t", str(self.pid), f"--wdns={Path.cwd()}", "--", *argv]

    def link(
        self, other: "Joined", mine: Address | None = None, theirs: Address | None = None
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
        self.address(device, mine)
        other.address(device, theirs)
        self.run("ip", "route", "add", str(theirs), "dev", device, "src", str(mine))
        other.run("ip", "route", "add", str(mine), "dev", device, "src", str(theirs))
        return mine, theirs

    def address(self, device: str, address: Address) -> None:
        """Give a device an address and bring it up."""
        # Without duplicate address detection, which keeps an IPv6 address unusable for its first second.
        flags = ["nodad"] if address.version == 6 else []
        self.run("ip", "address", "add", str(address), "dev", device, *flags)
        self.run("ip", "link", "set", device, "up")


class Namespace(Joined):
    """A namespace of our own; ``close`` (or the end of ``with``) ends all that runs in it.

    With ``beside``, it lies in the user namespace of that one, so that an ordinary user can link the two.
    """

    def __init__(self, beside: Joined | None = None) -> None:
        make = [*_unshare(beside), "--net", "--mount", "--propagation", "private", "sh", "-c", KEEPER]
        self._keeper = subprocess.Popen(
            make,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the terminal is ours to handle
        )
        super().__init__(self._keeper.pid)
        self._processes: list[subprocess.Popen[Any]] = []
        self._inside = ThreadPoolExecutor(1, f"netns-{self.pid}", _enter, (self.pid, Path.cwd()))
        if _pipe(self._keeper.stdout).readline() != b"ready\n":
            self._keeper.kill()
            reason = _pipe(self._keeper.stderr).read().decode(errors="replace").strip()
            self.close()
            raise OSError(f"a network namespace could not be made: {reason}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def popen(self, *argv: str, **options: Any) -> "subprocess.Popen[Any]":
        """Start a command inside; ``close`` ends it. ``options`` are Popen's."""
        process = subprocess.Popen(self.command(*argv), **options)
        self._processes.append(process)
        return process

    def call(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Call a function of this very process inside: one thread of it, and what that starts, is in the namespace.

        Root only: a process of more than one thread may not enter a user namespace.
        """
        return self._inside.submit(function, *args, **kwargs).result()

    def close(self) -> None:
        """End all that runs inside, and the namespace with it; may be called again."""
        for process in reversed(self._processes):
            end(process)
        self._inside.shutdown()
        _pipe(self._keeper.stdin).close()
        with suppress(subprocess.TimeoutExpired):
            self._keeper.wait(GRACE)
        end(self._keeper)


def end(process: "subprocess.Popen[Any]") -> None:
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


def _unshare(beside: Joined | None) -> list[str]:
    if beside and (options := _user_options(beside.pid)):
        return ["nsenter", *options, "-t", str(beside.pid), "--", "unshare"]
    return ["unshare"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]


def _user_options(pid: int) -> list[str]:
    """Return what nsenter(1) needs besides to enter the user namespace of ``pid``; nothing where it is ours."""
    if Path(f"/proc/{pid}/ns/user").samefile("/proc/self/ns/user"):
        return []
    return ["--user", "--preserve-credentials"]


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


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
