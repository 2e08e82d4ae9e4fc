"""What the machine is made of, from Debian's archive: a kernel with its modules, and busybox. Nothing is installed."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / ".kernel"
NEWEST = "linux-image-amd64"  # depends on the newest; the one for clouds has no 9p, which shares the files
DOWNLOAD = ["apt-get", "-o", "APT::Sandbox::User=root", "--quiet", "download"]


class Parts:
    """A kernel, its modules and a busybox without libraries, found in the folder that the packages were unpacked to."""

    def __init__(self, folder: Path) -> None:
        self.kernel = next(folder.glob("boot/vmlinuz-*"))
        self.modules = next(folder.glob("**/modules/*/modules.dep")).parent
        self.busybox = _busybox(folder)


def fetched() -> Parts:
    """Return the parts; they come from the archive once, and again after ``.kernel`` was deleted."""
    unpacked = CACHE / "unpacked"
    if not unpacked.exists():
        CACHE.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=CACHE) as folder:
            _unpack(Path(folder))
            (Path(folder) / "unpacked").rename(unpacked)
    return Parts(unpacked)


def _unpack(folder: Path) -> None:
    packages = [_kernel_package(), "busybox-static"]
    subprocess.run([*DOWNLOAD, *packages], cwd=folder, check=True)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, folder / "unpacked"], check=True)
    modules = next(folder.glob("**/modules/*/modules.order")).parent
    busybox = _busybox(folder)
    subprocess.run([busybox, "depmod", "-b", modules.parents[2], modules.name], check=True)


def _kernel_package() -> str:
    """Return the name of the newest kernel's package; fetch the lists of packages where there are none."""
    if not (names := _depended_on()):
        subprocess.run(["apt-get", "--quiet", "update"], check=True)
        names = _depended_on()
    return names[0]


def _depended_on() -> list[str]:
    command = ["apt-cache", "depends", "--important", NEWEST]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    names = [line.rpartition(" ")[2] for line in done.stdout.splitlines()]
    return [name for name in names[1:] if name.startswith("linux-image-")]


def _busybox(folder: Path) -> Path:
    return next(path for path in folder.glob("**/bin/busybox") if not path.is_symlink())
