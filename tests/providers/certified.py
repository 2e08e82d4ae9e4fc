"""A certified OpenID Connect provider, independent of the demo's: npm's oidc-provider, as a process of its own."""

import json
import secrets
import select
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from deploy.demo.provider.people import PEOPLE

HERE = Path(__file__).parent
MODULES = HERE / "node_modules" / "oidc-provider"
ANSWERS_WITHIN = 60  # seconds: machines that run tests are busy
PROVIDER_ID = "certified"
CLIENTS = {"RS256": "latchkey", "ES256": "latchkey-es256"}  # by what signs their id_tokens
ODD = "+/%: &"  # what a secret may hold, and HTTP Basic must encode (RFC 6749, section 2.3.1)
SECOND_FACTOR = "urn:example:second-factor"  # the class of a sign-in with more than a password


def missing() -> str:
    """Return why there can be no such provider on this machine; '' when there can."""
    if not shutil.which("node"):
        return "needs node: Debian's package nodejs"
    if not MODULES.is_dir():
        return "needs npm's oidc-provider: `make test` installs it where npm is to be had"
    return ""


@dataclass(slots=True)
class CertifiedProvider:
    """The provider on ``port`` for the portal at ``portal_url``; everybody may sign in with their name alone."""

    id: ClassVar[str] = PROVIDER_ID
    log: Path
    port: int
    portal_url: str
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32) + ODD, repr=False)
    _process: "subprocess.Popen[str] | None" = field(default=None, repr=False)
    _changed: bool = field(default=False, repr=False)

    @property
    def issuer(self) -> str:
        return f"http://{urlsplit(self.portal_url).hostname}:{self.port}"

    @property
    def redirect_uri(self) -> str:
        return f"{self.portal_url}/accounts/oidc/{self.id}/login/callback/"

    @property
    def signed_out_uri(self) -> str:
        return f"{self.portal_url}/accounts/signed-out/"

    def environment(self, algorithm: str = "RS256") -> dict[str, str]:
        """Return what the portal needs to know to use this provider, whose id_tokens are signed with ``algorithm``."""
        provider = {
            "id": self.id,
            "name": "Certified provider",
            "issuer": self.issuer,
            "client_id": CLIENTS[algorithm],
            "client_secret": self.client_secret,
            "admin_groups": ["latchkey-admins"],
            "allowed_groups": ["employees"],
            # Without either of the two there is no refresh token (OpenID Connect Core, section 11).
            "scopes": ["openid", "profile", "email", "offline_access"],
            "authorization_params": {"prompt": "consent"},
        }
        return {"LATCHKEY_OIDC_PROVIDERS": json.dumps([provider])}

    def start(self) -> None:
        """Start serving and return once it answers; raise RuntimeError when it does not."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["node", "provider.mjs"],
                cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self._say(
            issuer=self.issuer,
            clients=CLIENTS,
            client_secret=self.client_secret,
            redirect_uri=self.redirect_uri,
            post_logout_redirect_uri=self.signed_out_uri,
            acr_values=[SECOND_FACTOR],
        )
        self._changed = True
        self.reset()

    def stop(self) -> None:
        if self._process is None:
            return
        with self._process as ending:  # it ends with its input, and has not long to do so
            with suppress(BrokenPipeError):
                ending.stdin.close()
            try:
                ending.wait(10)
            except subprocess.TimeoutExpired:
                ending.kill()
        self._process = None

    def set_person(self, name: str, *, active: bool = True, groups: tuple[str, ...] = ("employees",)) -> None:
        """Change whether a person may sign in, and which groups they are in."""
        self._changed = True
        self._say(person={"name": name, "active": active, "groups": groups})

    def trouble(self, *, delay: float = 0, status: int = 0, no_groups: bool = False) -> None:
        """Have every answer come so many seconds late, be a ``status`` and nothing else, or name nobody's groups."""
        self._changed = True
        self._say(delay=round(delay * 1000), status=status, no_groups=no_groups)

    def reset(self) -> None:
        """Undo ``set_person`` and ``trouble``; without such a change it costs nothing."""
        if self._changed:
            self.trouble()
            for name, groups in PEOPLE.items():
                self.set_person(name, groups=groups)
        self._changed = False

    def _say(self, **message: Any) -> None:
        """Send a message and wait for its answer."""
        process = self._process
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            if select.select([process.stdout], [], [], ANSWERS_WITHIN)[0] and process.stdout.readline():
                return
        except BrokenPipeError:
            pass
        self.stop()
        raise RuntimeError(f"The certified provider does not answer:\n{self.log.read_text()[-3000:]}")
