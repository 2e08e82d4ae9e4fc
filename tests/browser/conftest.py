"""The whole product and a real Chromium in front of it, once for all browser tests."""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.person import sign_in
from tests.browser.recorder import Recorder
from tests.conftest import WEB, Database
from tests.gateway.conftest import real_interfaces, require

if TYPE_CHECKING:
    from tests.stack import Stack  # which imports models: not before Django is set up

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-default-apps",
    "--host-resolver-rules=MAP insecure.test 127.0.0.1",
]  # fmt: skip

__all__ = ["real_interfaces"]


@pytest.fixture(scope="session")
def stack(real_interfaces, cluster, template, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Stack]":
    """Start portal, provider and gateway on a database of their own."""
    from tests.stack import Stack

    require(os.path.exists(CHROMIUM), "needs Chromium: Debian's package chromium")  # noqa: PTH110
    require(shutil.which("zbarimg"), "needs zbarimg: Debian's package zbar-tools")
    made = Database(cluster, "latchkey_browser")
    cluster.sql(f"CREATE DATABASE {made.name} TEMPLATE {template}")
    cluster.grant_connect(made.name)
    with Stack(made, tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(autouse=True)
def rows_of_the_stack(stack: "Stack", django_db_blocker) -> Iterator[None]:
    """Lead Django's default connection to the stack's database, as the web role."""
    from django.db import connection

    connection.close()
    connection.settings_dict.update(
        NAME=stack.database.name, USER=WEB, HOST=str(stack.database.cluster.socket), PORT="", PASSWORD=""
    )
    with django_db_blocker.unblock():
        yield
        connection.close()


@pytest.fixture(scope="session")
def chromium(stack: "Stack") -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def alice_signed_in(chromium: Browser, stack: "Stack") -> dict:
    """Return the cookies of alice's browser after a real sign-in, so that not every test repeats it."""
    with chromium.new_context(base_url=stack.url) as context:
        sign_in(context.new_page(), "alice")
        return context.storage_state()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def context(chromium: Browser, stack: "Stack", recorder: Recorder) -> Iterator[BrowserContext]:
    """Give a browser without any cookie, every request and console line of it recorded."""
    with chromium.new_context(base_url=stack.url, accept_downloads=True) as made:
        made.set_default_timeout(10_000)
        recorder.watch(made)
        yield made


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def alice(context: BrowserContext, alice_signed_in: dict) -> Page:
    """Give a page in which alice is signed in."""
    context.add_cookies(alice_signed_in["cookies"])
    return context.new_page()
