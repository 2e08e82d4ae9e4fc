"""The demo's identity provider: a Django project of its own, started as a process of its own. Never for real people."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import ClassVar
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

CHECKOUT = Path(__file__).resolve().parents[3]
CLIENT_ID = "latchkey"
PROVIDER_ID = "demo"
START_WITHIN = 60  # seconds
SERVE = [
    sys.executable,
    "-m",
    "gunicorn",
    "deploy.demo.provider.wsgi",
    "--threads",
    "4",
    "--no-control-socket",
]


@dataclass(slots=True)
class DemoProvider:
    """A demo provider that keeps its database and keys in ``directory`` and serves the portal at ``portal_url``.

    It answers on the same host name as the portal, which must lead to this machine.
    """

    id: ClassVar[str] = PROVIDER_ID
    directory: Path
    port: int
    portal_url: str
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _changed: bool = field(default=False, repr=False)

    @property
    def issuer(self) -> str:
        return f"http://{urlsplit(self.portal_url).hostname}:{self.port}"

    @property
    def redirect_uri(self) -> str:
        return f"{self.portal_url.rstrip('/')}/accounts/oidc/{PROVIDER_ID}/login/callback/"

    @property
    def signed_out_uri(self) -> str:
        return f"{self.portal_url.rstrip('/')}/accounts/signed-out/"

    def environment(self) -> dict[str, str]:
        """Return what the portal needs to know to use this provider."""
        provider = {
            "id": self.id,
            "name": "Demo identity provider",
            "issuer": self.issuer,
            "client_id": CLIENT_ID,
            "client_secret_file": str(self.directory / "client-secret"),
            "groups_claim": "groups",
            "scopes": ["profile", "email", "offline_access"],
            "admin_groups": ["latchkey-admins"],
            "allowed_groups": ["employees"],
        }
        return {"LATCHKEY_OIDC_PROVIDERS": json.dumps([provider])}

    def setup(self) -> None:
        """Make or update the database, the keys, the people and the portal's client; it may run again and again."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._manage("setup", self.redirect_uri, self.signed_out_uri)

    def set_person(
        self, name: str, *, active: bool = True, groups: tuple[str, ...] | None = ("employees",)
    ) -> None:
        """Change whether a person may sign in, and which groups they are in; None leaves them in theirs."""
        self._changed = True
        named = [] if groups is None else ["--groups", *groups]
        self._manage("person", name, "active" if active else "disabled", *named)

    def reset(self) -> None:
        """Undo what ``set_person`` did; without such a change it costs nothing."""
        if self._changed:
            self._manage("reset")
        self._changed = False

    def start(self) -> "subprocess.Popen[bytes]":
        """Start serving and return the process once it answers; raise RuntimeError when it does not."""
        command = [*SERVE, "--bind", f"127.0.0.1:{self.port}"]
        with (self.directory / "provider.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=CHECKOUT, env=self._process_environment(), stdout=log, stderr=log
            )
        deadline = monotonic() + START_WITHIN
        while not self._answers():
            if self._process.poll() is not None or monotonic() > deadline:
                self.stop()
                raise RuntimeError(
                    f"The demo identity provider does not start on port {self.port}: see {log.name}."
                )
            sleep(0.1)
        return self._process

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.issuer}/.well-known/openid-configuration", timeout=2) as answer:  # noqa: S310  # an address of our own, http
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def _manage(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "deploy.demo.provider", *arguments]
        subprocess.run(command, cwd=CHECKOUT, env=self._process_environment(), check=True)

    def _process_environment(self) -> dict[str, str]:
        own = {"DEMO_PROVIDER_DIRECTORY": str(self.directory.resolve()), "DEMO_PROVIDER_ISSUER": self.issuer}
        return {**os.environ, **own, "DJANGO_SETTINGS_MODULE": "deploy.demo.provider.settings"}
