"""What a person does in the browser, in their own words."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

PATIENCE = 15_000  # ms


def sign_in(page: Page, name: str, path: str = "/") -> None:
    """Sign ``name`` in at the real provider, starting from ``path``, and end there."""
    page.goto(path)
    page.get_by_role("button", name=re.compile("Demo")).click()
    at_the_provider(page, name)
    expect(page.get_by_text("Signed in as")).to_be_visible()


def at_the_provider(page: Page, name: str) -> None:
    """Say who one is on the provider's own page."""
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(f"{name}-demo")
    page.locator("button[type=submit]").first.click()


def open_form(page: Page) -> None:
    """Go to my devices and open the form, wherever it is."""
    page.goto("/")
    if (more := page.locator("summary", has_text="Add a device")).count():
        more.click()


def enrol(page: Page, name: str) -> None:
    """Enrol with one click, and return once the configuration is shown."""
    open_form(page)
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Enrol this device").click()
    expect(page.get_by_role("heading", name="Your configuration")).to_be_visible()


def download(page: Page, folder: Path) -> Path:
    """Press Download and return the file, under the name that the browser gave it."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download").click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def device_path(page: Page) -> str:
    """Return the path of the device that the page is about."""
    path = urlsplit(page.url).path
    assert re.fullmatch(r"/devices/[0-9a-f-]{36}/", path), path
    return path
