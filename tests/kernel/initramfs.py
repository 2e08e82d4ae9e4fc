"""The first file system that the machine's kernel sees: busybox, and the modules that it takes to reach the host's files."""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from .parts import Parts

INIT = Path(__file__).parent / "init"
NEEDED = ("virtio_pci", "9pnet_virtio", "9p", "overlay")  # what ``init`` loads


def write(parts: Parts, target: Path) -> None:
    """Write the archive to ``target``, as cpio's newc, which the kernel takes."""
    with TemporaryDirectory() as folder:
        tree = Path(folder)
        _copy(INIT, tree / "init")
        _copy(parts.busybox, tree / "bin" / "busybox")
        for module in ["modules.dep", *_needed(parts.modules / "modules.dep")]:
            _copy(parts.modules / module, tree / "lib" / "modules" / parts.modules.name / module)
        _archive(parts.busybox, tree, target)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _needed(dependencies: Path) -> set[str]:
    """Return the files of NEEDED and of what these depend on; a line of modules.dep holds all of them."""
    lines = [line.replace(":", " ").split() for line in dependencies.read_text().splitlines()]
    return {file for files in lines if Path(files[0]).name.partition(".")[0] in NEEDED for file in files}


def _archive(busybox: Path, tree: Path, target: Path) -> None:
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    with target.open("wb") as archive:
        subprocess.run(
            [busybox, "cpio", "-o", "-H", "newc"],
            cwd=tree, input=names.encode(), stdout=archive, stderr=subprocess.DEVNULL, check=True,
        )  # fmt: skip
