"""Everything that runs in production, as processes of its own: portal, identity provider, gateway with a real wg0.

Started and ended by handle; a test or a benchmark brings the database and a folder. Does not know pytest.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError
from urllib.request import urlopen

from deploy.demo.client import Client
from deploy.demo.netns import Namespace, end
from deploy.demo.provider import DemoProvider
from tests.conftest import ROOT, WEB, Database
from tests.gateway.running import RunningGateway

START_WITHIN = 20  # seconds
ENDPOINT = "198.51.100.1:51820"  # the address that clients' namespaces are linked to
WORKERS = 2
INSECURE_HOST = "insecure.test"  # over http, to a browser, no secure context: there is no WebCrypto


class Stack:
    """The portal at ``url`` with its provider, and ``gateway`` holding wg0 (10.77.0.1) in ``namespace``."""

    def __init__(self, database: Database, directory: Path, *create_flags: str) -> None:
        self.database, self.directory = database, directory
        self.url = f"http://127.0.0.1:{free_port()}"
        self.provider = DemoProvider(directory / "provider", free_port(), self.url)
        self.portal_log = directory / "portal.log"
        self.portal: subprocess.Popen[Any] | None = None
        self._create_flags = create_flags or ("--ipv4-pool=10.77.0.0/24", "--ipv6-pool=fd00:77::/64")
        self._started = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start all of it and return once the portal answers and the gateway has published its key."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End what was started, the last one first; may be called again."""
        self._started.close()

    def connect(self, conf: str) -> Client:
        """Return a WireGuard client that runs ``conf`` in a namespace of its own; the caller closes it."""
        return Client(conf, self.namespace)

    def environment(self) -> dict[str, str]:
        """Return what a process of the portal's runs with."""
        return {
            **self.database.environment(WEB),
            "LATCHKEY_OIDC_PROVIDERS": self._providers(),
            "LATCHKEY_URL": self.url,
            "LATCHKEY_BIND": self.url.removeprefix("http://"),
            "LATCHKEY_WORKERS": str(WORKERS),
            "LATCHKEY_EXTRA_HOSTS": INSECURE_HOST,
            "LATCHKEY_RATE_LIMITS": "person=100000",  # one person's browser enrols far more often here than anybody's
            "LATCHKEY_STATIC_ROOT": str(self.directory / "static"),
        }

    def _providers(self) -> str:
        """Return the setting with a requirement that each sign-in meets until it is hours old."""
        (provider,) = json.loads(self.provider.environment()["LATCHKEY_OIDC_PROVIDERS"])
        return json.dumps([provider | {"enrol_requires": {"max_age": 10 * 3600}}])

    def _start(self) -> None:
        self.provider.setup()  # first: the portal's settings read the client's secret, which it makes
        self._manage(
            "create_interface", "wg0", f"--endpoint={ENDPOINT}", "--device-limit=1000", *self._create_flags
        )
        self.namespace = self._started.enter_context(Namespace())
        self.gateway = RunningGateway(self.namespace, self.database, self.directory, "--create")
        self._started.callback(self.gateway.stop)
        self.provider.start()
        self._started.callback(self.provider.stop)
        self._manage("collectstatic", "--noinput", "-v0")
        self._start_portal()
        self.gateway.eventually(lambda: self.database.sql("SELECT public_key FROM peers_interface"))

    def _start_portal(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "portal.wsgi"]
        with self.portal_log.open("ab") as log:
            self.portal = subprocess.Popen(
                command, cwd=ROOT, env=self.environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._started.callback(end, self.portal)
        self._await_portal()

    def _await_portal(self) -> None:
        give_up = time.monotonic() + START_WITHIN
        while not answers(f"{self.url}/readyz"):
            if self.portal.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"The portal does not start:\n{self.portal_log.read_text()[-3000:]}")
            time.sleep(0.05)

    def _manage(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT, env=self.environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"manage.py {words[0]}: {done.stderr[-3000:]}")


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def gateway_holds_still(stack: Stack) -> Iterator[None]:
    stack.gateway.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stack.gateway.process.send_signal(signal.SIGCONT)
