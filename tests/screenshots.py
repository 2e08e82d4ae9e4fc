"""Take pictures of the real pages, in both schemes: ``make screenshots`` those of the README; with a folder, of all pages.

python -m tests.screenshots                  docs/images/*.png
python -m tests.screenshots FOLDER [LANGUAGE]  every page, 360 and 1,280 pixels wide
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import django

from tests.conftest import ROOT, WEB, Database  # first: it makes the settings' environment

django.setup()

from django.db import connection
from playwright.sync_api import Browser, sync_playwright

from deploy.demo.postgres import Cluster, debian_binaries, wheel_binaries
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.gallery import View, World, furnish
from tests.browser.person import sign_in
from tests.stack import Stack

IMAGES = ROOT / "docs" / "images"
SCHEMES = ("light", "dark")
# In the README: the page, its picture's name, width and height in CSS pixels.
SHOWN = {
    "a new configuration": ("enrolled", 800, 900),
    "device connected": ("device", 800, 900),
    "my devices": ("phone", 360, 760),
    "overview": ("overview", 1100, 900),
}


def main(folder: str = "", language: str = "en-GB") -> None:
    with ExitStack() as started:
        stack = started.enter_context(running())
        browser = started.enter_context(sync_playwright()).chromium.launch(
            executable_path=CHROMIUM, args=FLAGS
        )
        people = {None: {}, **{who: signed_in(browser, stack, who) for who in ("alice", "bob", "carol")}}
        world = furnished(stack, folder)
        for scheme in SCHEMES:
            for view, path, size in wanted(world, Path(folder) if folder else None):
                picture(browser, stack, people[view.who], view, scheme, size, language, path)


def furnished(stack: Stack, folder: str) -> World:
    """Return the world that pictures are taken of; the README shows a day on which all is well."""
    return furnish(stack, alarmed=bool(folder))


def wanted(world: World, folder: Path | None) -> Iterator[tuple[View, str, tuple[int, int]]]:
    for view in world.views():
        if folder:
            name = re.sub(r"\W+", "-", view.name).strip("-")
            yield from ((view, f"{folder}/{name}-{width}", (width, 800)) for width in (360, 1280))
        elif view.name in SHOWN:
            name, width, height = SHOWN[view.name]
            yield view, f"{IMAGES}/{name}", (width, height)


def picture(browser: Browser, stack: Stack, state: dict, view: View, scheme: str, size: tuple[int, int],
            language: str, path: str) -> None:  # fmt: skip
    width, height = size
    with browser.new_context(
        base_url=stack.url, storage_state=state or None, color_scheme=scheme, locale=language,
        viewport={"width": width, "height": height}, reduced_motion="reduce",
    ) as context:  # fmt: skip
        page = context.new_page()
        view.go(page)
        page.screenshot(path=f"{path}-{scheme}.png", full_page=not path.startswith(str(IMAGES)))
    print(f"{path}-{scheme}.png", flush=True)


def signed_in(browser: Browser, stack: Stack, who: str) -> dict:
    with browser.new_context(base_url=stack.url) as context:
        sign_in(context.new_page(), who)
        return context.storage_state()


@contextmanager
def running() -> Iterator[Stack]:
    """Give the whole product on a cluster of its own, and Django's default connection to its database."""
    with tempfile.TemporaryDirectory(prefix="latchkey-") as home:
        cluster = Cluster(Path(home) / "pg", debian_binaries() or wheel_binaries(), durable=False)
        cluster.initialise()
        cluster.start()
        try:
            database = Database(cluster, "pictures")
            cluster.sql(f"CREATE DATABASE {database.name}")
            assert database.manage("migrate", "-v0").returncode == 0
            cluster.grant(database.name)
            connection.settings_dict.update(NAME=database.name, USER=WEB, HOST=str(cluster.socket), PORT="")
            with Stack(database, Path(home)) as stack:
                yield stack
            connection.close()
        finally:
            cluster.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
