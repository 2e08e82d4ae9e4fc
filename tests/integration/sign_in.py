"""A person with a browser: signs in at a real provider, for a Django test client or a served portal.

``sign_in(client, "alice")`` is for Django's test client; ``Browser`` is for a portal that runs under gunicorn. The provider
is the demo's unless another is named: its pages are walked as they come.
"""

import html
import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

PROVIDER = "demo"
HOPS = 10  # redirects and forms that a way through a provider may take


class SignInError(AssertionError):
    """A step of the sign-in did not go as it should; the text shows the answer."""


def depart(client, next_url="/", provider=PROVIDER, **also):
    """Press the provider's button with a test client and return the address that it leads to."""
    answer = client.post(f"/accounts/oidc/{provider}/login/", {"next": next_url, **also})
    if answer.status_code != 200:
        raise SignInError(f"{answer.status_code}: {answer.content.decode()[:500]}")
    return answer["Refresh"].removeprefix("0; url=")


def authorise(url, person, password=None, browser=None):
    """Sign in at a provider and return where it sends the browser: the portal's callback, with its answer.

    With a ``browser`` the provider may remember its person.
    """
    (back,) = parse_qs(urlsplit(url).query)["redirect_uri"]
    with browser or requests.Session() as walking:
        return walk(walking, url, back, person, password)


def walk(browser, url, back, person="", password=None):
    """Go to ``url`` and on, filling in what is asked, until a redirect leads to ``back``; return that address."""
    answer = browser.get(url, allow_redirects=False, timeout=10)
    asked = set()
    for _ in range(HOPS):
        if answer.is_redirect:
            url = urljoin(answer.url, answer.headers["Location"])
            if url.startswith(back):
                return url
            answer = browser.get(url, allow_redirects=False, timeout=10)
        elif answer.url in asked or not (form := Form(answer)).fields:
            break
        else:
            asked |= {answer.url, form.action}
            fields = form.filled(person, password or f"{person}-demo")
            answer = browser.post(form.action, fields, allow_redirects=False, timeout=10)
    raise SignInError(f"{answer.status_code}: {answer.text[:500]}")


class Form(HTMLParser):
    """The form on a provider's page: where it goes, and its fields with their values."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields = page.url, {}
        self.feed(page.text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "form":
            self.action = urljoin(self.action, values.get("action", ""))
        elif tag in {"input", "button"} and "name" in values:
            self.fields[values["name"]] = values.get("value") or ""

    def filled(self, person, password):
        """Return the fields with who signs in, where the form asks for that."""
        who = {"username": person, "name": person, "password": password}
        return {name: who.get(name, value) for name, value in self.fields.items()}


def sign_in(client, person, next_url="/", provider=PROVIDER, browser=None):
    """Sign ``person`` in through a provider and return the portal's answer to the callback."""
    callback = urlsplit(authorise(depart(client, next_url, provider), person, browser=browser))
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
