"""A person with a browser: signs in at the real demo provider, for a Django test client or a served portal.

``sign_in(client, "alice")`` is for Django's test client; ``Browser`` is for a portal that runs under gunicorn.
"""

import html
import re
from urllib.parse import urlsplit

import requests

PROVIDER = "demo"


class SignInError(AssertionError):
    """A step of the sign-in did not go as it should; the text shows the answer."""


def depart(client, next_url="/", provider=PROVIDER, **also):
    """Press the provider's button with a test client and return the address that it leads to."""
    answer = client.post(f"/accounts/oidc/{provider}/login/", {"next": next_url, **also})
    if answer.status_code != 200:
        raise SignInError(f"{answer.status_code}: {answer.content.decode()[:500]}")
    return answer["Refresh"].removeprefix("0; url=")


def authorise(url, person, password=None):
    """Sign in at the demo provider and return where it sends the browser: the portal's callback, with a code."""
    with requests.Session() as browser:
        page = browser.get(url, timeout=10)
        form = {
            "csrfmiddlewaretoken": field(page.text, "csrfmiddlewaretoken"),
            "next": field(page.text, "next"),
            "username": person,
            "password": password or f"{person}-demo",
        }
        answer = browser.post(page.url, form, allow_redirects=False, timeout=10)
        if answer.status_code != 302:
            raise SignInError(f"{answer.status_code}: {answer.text[:500]}")
        return browser.get(
            origin(page.url) + answer.headers["Location"], allow_redirects=False, timeout=10
        ).headers["Location"]


def sign_in(client, person, next_url="/"):
    """Sign ``person`` in through the demo provider and return the portal's answer to the callback."""
    callback = urlsplit(authorise(depart(client, next_url), person))
    return client.get(f"{callback.path}?{callback.query}")


class Browser(requests.Session):
    """A browser at a served portal; ``portal`` is its address."""

    def __init__(self, portal):
        super().__init__()
        self.portal = portal.rstrip("/")

    def form(self, path, data=None, page=None):
        """Send the form of ``page`` (``path`` when left out) to ``path`` with its CSRF token."""
        shown = self.get(self.portal + (page or path), timeout=15)
        fields = {"csrfmiddlewaretoken": field(shown.text, "csrfmiddlewaretoken"), **(data or {})}
        return self.post(self.portal + path, fields, headers={"Referer": shown.url}, timeout=15)

    def sign_in(self, person, next_url="/"):
        """Sign ``person`` in and return the page that they land on."""
        leaving = self.form(f"/accounts/oidc/{PROVIDER}/login/", {"next": next_url}, page="/accounts/login/")
        if leaving.status_code != 200:
            raise SignInError(f"{leaving.status_code}: {leaving.text[:500]}")
        return self.get(authorise(leaving.headers["Refresh"].removeprefix("0; url="), person), timeout=15)


def way_out(page):
    """Return the address that a page leads to by itself."""
    found = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]*)">', page)
    if not found:
        raise SignInError(f"the page leads nowhere: {page[:500]}")
    return html.unescape(found[1])


def field(page, name):
    """Return the value of a form field in ``page``."""
    found = re.search(rf'name="{name}"[^>]*?value="([^"]*)"', page)
    if not found:
        raise SignInError(f"no field {name} in: {page[:500]}")
    return html.unescape(found[1])


def origin(url):
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
