"""axe-core finds nothing to complain of on any page: WCAG 2.2 AA, both schemes, both languages, phone and desktop."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.gallery import World, furnish
from tests.browser.person import sign_in
from tests.stack import Stack

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async tags => (await axe.run(document, {runOnly: {type: "tag", values: tags}})).violations
    .map(({id, nodes}) => `${id}: ${nodes.map(node => node.html.slice(0, 200)).join(" | ")}`)"""
# Each pair of values meets in one of them; the long tests try all eight.
LOOKS = [("light", 360, "en-GB"), ("dark", 1280, "en-GB"), ("dark", 360, "de"), ("light", 1280, "de")]


@pytest.fixture(scope="module")
def cookies(chromium: Browser, stack: Stack) -> dict[str | None, dict]:
    """Return the browsers' states of those who have signed in, by name."""
    states: dict[str | None, dict] = {None: {}}
    for who in ("alice", "bob", "carol"):
        with chromium.new_context(base_url=stack.url) as context:
            sign_in(context.new_page(), who)
            states[who] = context.storage_state()
    return states


@pytest.fixture
def world(stack: Stack, cookies) -> World:
    return furnish(stack)


def violations(page: Page) -> list[str]:
    page.evaluate(AXE_SCRIPT)
    return page.evaluate(RUN, TAGS)


def visits(
    world: World, chromium: Browser, stack: Stack, cookies: dict, look: tuple[str, int, str]
) -> Iterator[tuple[str, Page]]:
    """Yield each page's name, and the page as it stands there."""
    scheme, width, language = look
    contexts: dict[str | None, BrowserContext] = {
        who: chromium.new_context(
            base_url=stack.url, storage_state=state or None, color_scheme=scheme, locale=language,
            viewport={"width": width, "height": 800}, reduced_motion="reduce",
        )
        for who, state in cookies.items()
    }  # fmt: skip
    for view in world.views():
        page = contexts[view.who].new_page()
        view.go(page)
        yield view.name, page
        page.close()
    for context in contexts.values():
        context.close()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: "-".join(map(str, look)))
def test_no_page_has_a_barrier_that_axe_can_find(world, chromium, stack, cookies, look):
    found = [
        f"{name}: {problem}"
        for name, page in visits(world, chromium, stack, cookies, look)
        for problem in violations(page)
    ]
    assert not found, "\n".join(found)
