"""The emulated machine: no network card, the host's files read-only, a bounded life. Knows nothing of tests."""

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from . import initramfs
from .parts import Parts

LIFETIME = 2 * 3600  # seconds
INSIDE = Path(__file__).parent / "inside"
END_WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"]
# norandmaps: qemu translates a program once if it always lies at the same place, and not once a process.
KERNEL_OPTIONS = "console=ttyS0 quiet panic=-1 mitigations=off norandmaps tsc=reliable clocksource=tsc"
# icount: a nanosecond passes in there with each instruction, so that what is promised within seconds is measured on a
# processor of 1 GHz, however slowly that is emulated here. It takes one processor: with two, one spins and both starve.
QEMU = [
    "qemu-system-x86_64", "-accel", "tcg", "-icount", "shift=0", "-rtc", "clock=vm", "-cpu", "max", "-smp", "1",
    "-m", "4G", "-machine", "q35", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
]  # fmt: skip


def run(parts: Parts, script: str) -> int | None:
    """Run a shell script in the machine with its output on ours; return its status, None if the machine died before."""
    with TemporaryDirectory() as folder:
        shared = Path(folder)
        _share(shared, parts, script)
        initramfs.write(parts, shared / "initramfs")
        try:
            subprocess.run(_command(parts, shared), stdin=subprocess.DEVNULL, timeout=LIFETIME, check=False)
        except subprocess.TimeoutExpired:
            return None
        return _status(shared / "status")


def _share(shared: Path, parts: Parts, script: str) -> None:
    """Lay out what the machine finds in /run/machine."""
    (shared / "command").write_text(script)
    (shared / "inside").symlink_to(INSIDE)
    (shared / "modules").symlink_to(parts.modules.parent)
    (shared / "modprobe").symlink_to(parts.busybox)


def _command(parts: Parts, shared: Path) -> list[str | os.PathLike[str]]:
    return [
        *END_WITH_US, *QEMU, "-kernel", parts.kernel, "-initrd", shared / "initramfs", "-append", KERNEL_OPTIONS,
        "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
        "-virtfs", f"local,path={shared},mount_tag=machine,security_model=none",
    ]  # fmt: skip


def _status(written: Path) -> int | None:
    return int(written.read_text()) if written.exists() else None
