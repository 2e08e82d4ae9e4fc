"""See that the Debian packages are there that `make` needs: as root install them, otherwise say what is missing.

Runs before there is a virtual environment, so it takes nothing but Python itself.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
LOCK_WAIT = 120  # seconds for another apt-get, such as a machine's own at its first boot


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name, path=PATH) is not None


def _kernel_has_wireguard() -> bool:
    if Path("/sys/module/wireguard").exists():
        return True
    modprobe = shutil.which("modprobe", path=PATH)
    return (
        bool(modprobe)
        and not subprocess.run(
            [str(modprobe), "--dry-run", "--quiet", "wireguard"], check=False, capture_output=True
        ).returncode
    )


NETWORK = {
    "wireguard-tools": _program("wg"),
    "iproute2": _program("ip"),
    "iputils-ping": _program("ping"),
}
# For each purpose, the packages and how to tell that one is not needed.
PACKAGES: dict[str, dict[str, Callable[[], bool]]] = {
    "venv": {"python3-venv": lambda: importlib.util.find_spec("ensurepip") is not None},
    "demo": {**NETWORK, "wireguard-go": lambda: _kernel_has_wireguard() or _program("wireguard-go")()},
    "test": {
        **NETWORK,
        "wireguard-go": _program("wireguard-go"),
        "postgresql": lambda: any(Path("/usr/lib/postgresql").glob("*/bin/postgres")),
        "nftables": _program("nft"),
        "chromium": _program("chromium"),
        "zbar-tools": _program("zbarimg"),
        "redis-server": _program("redis-server"),
        "procps": _program("ps"),
        "strace": _program("strace"),
        "gettext": _program("msgfmt"),
        "nodejs": _program("node"),
        "npm": _program("npm"),
        "curl": _program("curl"),
        "jq": _program("jq"),
        "busybox": _program("busybox"),
        "sudo": _program("sudo"),
        "shellcheck": _program("shellcheck"),
        "libfaketime": lambda: any(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")),
    },
    "kernel": {"qemu-system-x86": _program("qemu-system-x86_64")},
}
WITHOUT = {
    "venv": "Without it there can be no virtual environment.",
    "demo": "The demo goes on without a wg0.",
    "test": "The tests that need them are skipped, or fail where CI is set.",
    "kernel": "Without it there is no machine to emulate.",
}


def main() -> int:
    purpose = sys.argv[1]
    missing = _missing(purpose)
    if not missing:
        return 0
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() == 0 and os.environ.get("INSTALL", "1") != "0" and shutil.which("apt-get"):
        _install(command)
        missing = _missing(purpose)
    if missing:
        _say(f"Not installed: {', '.join(missing)}. {WITHOUT[purpose]} As root: {' '.join(command)}")
    return int(bool(missing) and purpose in {"venv", "kernel"})


def _missing(purpose: str) -> list[str]:
    importlib.invalidate_caches()
    return [package for package, is_there in PACKAGES[purpose].items() if not is_there()]


def _install(command: list[str]) -> None:
    """Install, with fresh package lists only where those that there are do not do."""
    if not _run(command) and _run(["apt-get", "update"]):
        _run(command)


def _run(command: list[str]) -> bool:
    _say(" ".join(command))
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    options = ["-o", f"DPkg::Lock::Timeout={LOCK_WAIT}", "--quiet"]
    return not subprocess.run([*command, *options], env=environment, check=False).returncode


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
