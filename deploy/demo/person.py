"""A person of the demo with a browser: signs in at the demo's identity provider, sends the portal's forms."""

import html
import re

import requests

from deploy.demo.console import Sorry
from deploy.demo.provider import PROVIDER_ID

TIMEOUT = 20  # seconds an answer may take


class Person(requests.Session):
    """``name``, at the portal at ``url``."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__()
        self.trust_env = False  # no proxy stands between two processes of one machine
        self.url, self.name = url, name

    def sign_in(self) -> None:
        """Sign in as a browser would: over to the provider, its form, and back; raise Sorry if that fails."""
        leaving = self.accepted(
            self.submit(f"/accounts/oidc/{PROVIDER_ID}/login/", {"next": "/"}, page="/accounts/login/")
        )
        form = self.get(leaving.headers["Refresh"].partition("url=")[2], timeout=TIMEOUT)
        fields = {name: _field(form.text, name) for name in ("csrfmiddlewaretoken", "next")}
        fields |= {"username": self.name, "password": f"{self.name}-demo"}
        landed = self.post(form.url, fields, headers={"Referer": form.url}, timeout=TIMEOUT)
        if landed.url != f"{self.url}/":
            raise Sorry(
                f"{self.name} could not sign in: {landed.status_code} at {landed.url.partition('?')[0]}"
            )

    def sign_out(self) -> None:
        """Sign out of the portal, and of the provider where its page leads; raise Sorry if that fails."""
        page = self.accepted(self.submit("/accounts/logout/", {})).text
        landed = self.get(_leads_to(page), timeout=TIMEOUT)
        if landed.url != f"{self.url}/accounts/signed-out/":
            raise Sorry(
                f"{self.name} could not sign out: {landed.status_code} at {landed.url.partition('?')[0]}"
            )

    def submit(self, path: str, fields: dict[str, str], page: str = "/", **headers: str) -> requests.Response:
        """Send ``fields`` with the token of the form on ``page`` to ``path`` and return the answer."""
        shown = self.get(self.url + page, timeout=TIMEOUT)
        fields = {"csrfmiddlewaretoken": _field(shown.text, "csrfmiddlewaretoken"), **fields}
        headers["Referer"] = shown.url
        return self.post(self.url + path, fields, headers=headers, timeout=TIMEOUT, allow_redirects=False)

    @staticmethod
    def accepted(answer: requests.Response) -> requests.Response:
        """Return ``answer``; raise Sorry with its reason when it is a refusal."""
        if not answer.ok:
            raise Sorry(f"The portal refused with {answer.status_code}: {_reason(answer)}")
        return answer


def _field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]*?value="([^"]*)"', page)
    if not found:
        raise Sorry(f"A form without {name} came from the portal or the provider; it begins: {page[:200]}")
    return html.unescape(found[1])


def _leads_to(page: str) -> str:
    found = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]*)">', page)
    if not found:
        raise Sorry(f"The portal's page after signing out leads nowhere; it begins: {page[:200]}")
    return html.unescape(found[1])


def _reason(answer: requests.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.reason
