"""A machine that enrols itself: a bare namespace with the script's few tools in it, and the portal that it asks."""

import json
import shutil
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

from deploy.demo.netns import Joined, Namespace, end
from tests.conftest import ROOT, WEB, Database

OUTSIDE = "198.51.100.1"  # where machines reach the gateway's namespace, in which the portal listens too
PORT = 8000
URL = f"http://{OUTSIDE}:{PORT}"
START_WITHIN = 20  # seconds
OURS = ("wg", "curl", "flock", "wireguard-go")
COMMON = (
    "awk",
    "cat",
    "date",
    "grep",
    "head",
    "ip",
    "mkdir",
    "mv",
    "rm",
    "sed",
    "sh",
    "sleep",
    "tr",
    "uname",
)


def bare(folder: Path, *, busybox: bool = False) -> Path:
    """Return ``folder`` with the script's tools in it and nothing else, for a PATH; the common ones may be busybox's."""
    folder.mkdir()
    for tool in OURS:
        (folder / tool).symlink_to(shutil.which(tool))
    for tool in COMMON:
        (folder / tool).symlink_to(shutil.which("busybox" if busybox else tool))
    return folder


class Portal:
    """The portal under gunicorn in a gateway's namespace, at ``URL``."""

    def __init__(self, namespace: Namespace, database: Database, directory: Path) -> None:
        self._log = directory / "portal.log"
        environment = {
            **database.environment(WEB), "LATCHKEY_URL": URL, "LATCHKEY_BIND": f"0.0.0.0:{PORT}",
            "LATCHKEY_EXTRA_HOSTS": "127.0.0.1", "LATCHKEY_WORKERS": "1",
            "LATCHKEY_STATIC_ROOT": str(directory),
        }  # fmt: skip
        command = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "portal.wsgi"]
        with self._log.open("ab") as log:
            self._process = namespace.popen(*command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        give_up = time.monotonic() + START_WITHIN
        while not namespace.call(_answers):
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"The portal does not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.05)

    def log(self) -> str:
        return self._log.read_text()

    def stop(self) -> None:
        end(self._process)


def _answers() -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


class Machine:
    """A namespace linked to ``gateway``, with an empty /etc/wireguard and a PATH of ``tools`` alone."""

    def __init__(self, gateway: Joined, tools: Path) -> None:
        self.namespace = Namespace(beside=gateway)
        self._path = str(tools)
        try:
            self.namespace.link(gateway, theirs=ip_address(OUTSIDE))
            self.run("mount", "-t", "tmpfs", "tmpfs", "/etc/wireguard")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, *argv: str, **options: Any) -> str:
        """Run a command of the system's inside and return what it prints."""
        return self.namespace.run(*argv, **options).stdout

    def fetch(self, to: Path) -> "Script":
        """Fetch the portal's script as its documentation says, and return it."""
        self.run(*self.bare_command("curl", "-fsS", f"{URL}/enrol.sh", "-o", str(to)))
        return Script(self, to)

    def bare_command(self, *argv: str) -> tuple[str, ...]:
        """Return the command that runs ``argv`` with the few tools alone and nothing else in its environment."""
        return ("env", "-i", f"PATH={self._path}", *argv)

    def close(self) -> None:
        self.namespace.close()


class Script:
    """The script on a machine; what it prints is JSON."""

    def __init__(self, machine: Machine, path: Path) -> None:
        self._machine, self.path = machine, path

    def command(self, *words: str) -> tuple[str, ...]:
        return self._machine.bare_command("sh", str(self.path), *words, "--json")

    def run(self, *words: str, code: int = 0, **options: Any) -> dict[str, Any]:
        """Run it, expect that exit code, and return the last object that it prints."""
        done: subprocess.CompletedProcess[str] = self._machine.namespace.run(
            *self.command(*words), check=False, **options
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        last = done.stdout.splitlines()[-1:]
        return json.loads(last[0]) if last else {}
