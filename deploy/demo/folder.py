"""The demo's folder: what it keeps between two starts, and what a running demo tells the other commands."""

import fcntl
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from deploy.demo.console import Sorry

LONGEST_SOCKET = 107 - len("/.s.PGSQL.5432.lock")  # characters; unix(7) leaves 108 bytes with the final zero


@dataclass(frozen=True, slots=True)
class Running:
    """A demo that runs: its portal's address, its wg0's mode, and the process that keeps wg0's namespace; None without a wg0."""

    url: str
    namespace: int | None
    mode: str

    def need_namespace(self) -> int:
        """Return ``namespace``; raise Sorry without a wg0."""
        if self.namespace is None:
            raise Sorry("This demo has no wg0: where it was started, the terminal says why.")
        return self.namespace


class Folder:
    """Everything of the demo's on disk; ``path`` is its user's alone."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.postgres = self.path / "postgres"
        self.provider = self.path / "provider"
        self.static = self.path / "static"
        self.keys = self.path / "keys"
        self._lock = self.path / "lock"
        self._running = self.path / "running.json"
        self._mark = self.path / "this-is-a-latchkey-demo"

    def log(self, name: str) -> Path:
        return self.path / f"{name}.log"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and keep everyone else out; raise Sorry while another demo runs in it, or it is not a demo's."""
        try:
            self._make()
            lock = self._lock.open("a")
        except OSError as error:
            raise Sorry(
                f"{self.path} cannot be used: {error.strerror}. Does it belong to somebody else?"
            ) from None
        with lock:
            if not _taken(lock.fileno()):
                raise Sorry(f"A demo is running in {self.path}: stop it first, with Ctrl-C where it runs.")
            self._running.unlink(missing_ok=True)  # of a demo that was killed
            try:
                yield
            finally:
                self._running.unlink(missing_ok=True)

    def _make(self) -> None:
        """Make the folder, with the mark of a demo's own; raise Sorry for one that holds anything else."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._mark.is_file():
            if any(self.path.iterdir()):
                raise Sorry(f"{self.path} is not a demo's folder: nothing in it is touched.")
            self._mark.write_text(
                "The demo's own: `make demo-reset` deletes this folder.\n", encoding="utf-8"
            )

    def delete(self) -> bool:
        """Delete everything and return whether there was anything; raise Sorry while a demo runs in it."""
        if not self.path.exists():
            return False
        with self.held():
            shutil.rmtree(self.path)
        return True

    def secrets(self) -> dict[str, str]:
        """Return the portal's secrets as environment variables, made at the first start."""
        path = self.path / "secrets.json"
        if not path.exists():
            made = {
                "SECRET_KEY": secrets.token_urlsafe(50),
                "LATCHKEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            }
            _write_private(path, json.dumps(made))
        kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return kept

    @contextmanager
    def socket(self) -> Iterator[Path]:
        """Give a folder for PostgreSQL's socket: in here, or a temporary one where the path is too long for a socket."""
        path = self.postgres / "socket"
        if len(os.fsencode(path)) <= LONGEST_SOCKET:
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="latchkey-") as short:
            yield Path(short)

    def tell(self, running: Running) -> None:
        """Let ``running`` find this demo."""
        _write_private(self._running, json.dumps(asdict(running)))

    def running(self, within: float = 0) -> Running:
        """Return the demo that runs in here; raise Sorry when none does, or one is not ready in so many seconds."""
        give_up = time.monotonic() + within
        while self._is_held():
            with suppress(OSError):
                return Running(**json.loads(self._running.read_text(encoding="utf-8")))
            if time.monotonic() > give_up:
                raise Sorry("The demo is still starting: wait until it prints its address.")
            time.sleep(0.2)
        raise Sorry("No demo is running here: start it with `make demo`.")

    def _is_held(self) -> bool:
        try:
            with self._lock.open() as lock:
                return not _taken(lock.fileno())
        except OSError:
            return False


def _taken(lock: int) -> bool:
    """Take the lock of an open file, which lasts until that is closed, and return whether it was free."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, which nobody else may read."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)
