"""Everything that the demo runs: started in order, each as its own database role, and stopped in reverse."""

import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from urllib.request import urlopen

from deploy.demo import processes
from deploy.demo.console import Sorry, step
from deploy.demo.folder import Folder, Running
from deploy.demo.netns import Namespace, end
from deploy.demo.postgres import GATEWAY, OWNER, WEB, Cluster, wheel_binaries
from deploy.demo.provider import DemoProvider
from deploy.demo.tunnel import NoInterface, namespace

INTERFACE = "wg0"
MODES = PUSH, ON_DEMAND = ("push", "on_demand")  # that it may be in
# Nobody has this address until `make demo-ping` makes a link for it: clients of the demo live on this machine.
ENDPOINT = "10.78.0.1:51820"
IPV4_POOL, IPV6_POOL = "10.77.0.0/16", "fd4c:6174:6368::/64"
HAS_IPV6 = Path("/proc/net/if_inet6").exists()  # not where the kernel was started without
START_WITHIN = 30  # seconds
REVALIDATE_EVERY = 5  # seconds; the default is five minutes, and nobody looks at a demo for that long
FOREIGN = ("DATABASE_URL", "SECRET_KEY", "DEBUG", "LATCHKEY_", "DJANGO_", "GUNICORN_", "PG")


class Stack:
    """The running demo; ``without`` says why there is no wg0, and is None where there is one."""

    def __init__(self, folder: Folder, port: int, mode: str) -> None:
        self.folder, self.port, self.mode = folder, port, mode
        self.url = f"http://127.0.0.1:{port}"
        self.provider = DemoProvider(folder.provider, provider_port(self.url), self.url)
        self.processes: dict[str, processes.Process] = {}
        self.namespace: Namespace | None = None
        self.without: str | None = None
        self._started = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except RuntimeError as error:  # what the database's and the provider's starters raise, in sentences
            self._stop()
            raise Sorry(str(error)) from None
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        with step("Everything is stopped"):
            self._started.close()

    def wait(self) -> None:
        """Wait for ever; raise Sorry once a process has ended by itself."""
        processes.wait_until_one_ends(self.processes, self.folder.path)

    def _start(self) -> None:
        forget_foreign_settings()
        for port in (self.port, self.port + 1):
            _must_be_free(port)
        self._start_postgres()
        self._start_provider()
        self._prepare_database()
        self._collect_static_files()
        self._find_namespace()
        self._start_gateway_and_portal()
        self.folder.tell(Running(self.url, self.namespace.pid if self.namespace else None, self.mode))

    def _start_postgres(self) -> None:
        with step(f"PostgreSQL, in {near(self.folder.postgres)}"):
            sockets = self._started.enter_context(self.folder.socket())
            log = self.folder.log("postgres")
            self.cluster = Cluster(self.folder.postgres, wheel_binaries(), socket=sockets, log=log)
            self._started.callback(self.cluster.stop)
            self.cluster.initialise()
            self.processes["postgres"] = self.cluster.start()
            if not self.cluster.sql("SELECT 1 FROM pg_database WHERE datname = 'latchkey'"):
                self.cluster.sql("CREATE DATABASE latchkey")

    def _start_provider(self) -> None:
        with step(f"Demo identity provider, on port {self.provider.port}"):
            self.provider.setup()
            self._started.callback(self.provider.stop)
            config = Path(__file__).with_name("provider_gunicorn.py")
            os.environ["GUNICORN_CMD_ARGS"] = shlex.join(
                ["--config", str(config), "--error-logfile", str(self.folder.log("provider"))]
            )
            self.processes["provider"] = self.provider.start()
            del os.environ["GUNICORN_CMD_ARGS"]

    def _prepare_database(self) -> None:
        with step(f"Tables and rights, as {OWNER}"):
            self._manage(OWNER, "migrate", "-v0")
            self.cluster.grant()
            kept = self.cluster.sql("SELECT mode FROM peers_interface", "latchkey")
            if not kept:
                self._create_interface()
            elif kept != self.mode:
                self._manage(OWNER, "change_interface", INTERFACE, f"--mode={self.mode}")

    def _create_interface(self) -> None:
        pools = [f"--ipv4-pool={IPV4_POOL}", *([f"--ipv6-pool={IPV6_POOL}"] if HAS_IPV6 else [])]
        words = (f"--endpoint={ENDPOINT}", f"--mode={self.mode}", *pools)
        self._manage(OWNER, "create_interface", INTERFACE, *words)

    def _collect_static_files(self) -> None:
        with step("Static files"):
            self._manage(WEB, "collectstatic", "--noinput", "-v0")

    def _find_namespace(self) -> None:
        try:
            self.namespace = self._started.enter_context(namespace())
        except NoInterface as reason:
            self.without = str(reason)

    def _start_gateway_and_portal(self) -> None:
        started_at = datetime.now(UTC)
        with step(f"Portal, as {WEB}, on port {self.port}"):
            self._start_gateway()
            self._start_portal()
            self._run("mail", WEB, [sys.executable, "manage.py", "send_mail", "--loop"])
            self._run("access", WEB, [sys.executable, "manage.py", "revalidate", "--loop"])
            self._run("leases", WEB, [sys.executable, "manage.py", "warn_of_leases", "--loop"])
            self._run("seals", WEB, [sys.executable, "manage.py", "seal_audit", "--loop"])
            self._run("unused", WEB, [sys.executable, "manage.py", "expire_unused", "--loop"])
            self._await(self._answers, "portal")
        with step(f"Gateway, as {GATEWAY}, {self._where()}"):
            self._await(lambda: self._heartbeat() > started_at, "gateway")

    def _start_gateway(self) -> None:
        command = [sys.executable, "manage.py", "run_gateway", INTERFACE]
        if self.namespace:
            command = self.namespace.command(*command, "--create")
        else:
            command += ["--no-interface", "--publish-key"]
        self._run("gateway", GATEWAY, command)

    def _start_portal(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "portal.wsgi"]
        self._run("portal", WEB, command)

    def _run(self, name: str, role: str, command: list[str]) -> None:
        process = processes.start(self.folder.log(name), self._environment(role), *command)
        self._started.callback(end, process)
        self.processes[name] = process

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + START_WITHIN
        while not condition():
            processes.check(self.processes, self.folder.path)
            if time.monotonic() > give_up:
                raise Sorry(f"The {what} does not answer: see {self.folder.log(what)}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/healthz", timeout=5):  # noqa: S310  # an address of our own, http
                return True
        except OSError:
            return False

    def _heartbeat(self) -> datetime:
        with urlopen(f"{self.url}/readyz", timeout=5) as answer:  # noqa: S310  # an address of our own, http
            found = [gateway["heartbeat_at"] for gateway in json.load(answer)["gateways"]]
        return max(map(datetime.fromisoformat, found), default=datetime.min.replace(tzinfo=UTC))

    def _where(self) -> str:
        return (
            "with no interface"
            if self.without
            else f"with a real {INTERFACE} in a network namespace of its own"
        )

    def _manage(self, role: str, *words: str) -> None:
        processes.manage(self._environment(role), sys.executable, "manage.py", *words)

    def _environment(self, role: str) -> dict[str, str]:
        return {
            **os.environ,
            **self.folder.secrets(),
            **self.provider.environment(),
            "DATABASE_URL": self.cluster.url(role),
            "LATCHKEY_BIND": f"127.0.0.1:{self.port}",
            "LATCHKEY_GATEWAY_NAME": "demo",
            "LATCHKEY_PRIVATE_KEY_DIR": str(self.folder.keys),
            "LATCHKEY_REVALIDATE_EVERY": str(REVALIDATE_EVERY),
            "LATCHKEY_STATIC_ROOT": str(self.folder.static),
            "LATCHKEY_URL": self.url,
            "LATCHKEY_WORKERS": "2",
        }


def provider_port(url: str) -> int:
    """Return the port of the provider that belongs to the portal at ``url``: the next one."""
    return int(urlsplit(url).port or 0) + 1


def forget_foreign_settings() -> None:
    """Take out of our environment what would lead the demo to another database, provider or proxy."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    os.environ["no_proxy"] = "127.0.0.1"


def _must_be_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Sorry(
                f"Port {port} cannot be used: {error.strerror}. The demo takes two, one after the other: "
                "`make demo PORT=9000` takes 9000 and 9001."
            ) from None


def near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
