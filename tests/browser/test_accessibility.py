"""Nobody is kept out: WCAG 2.2 AA as far as axe-core can tell, on every page; zoom, targets, announcements."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect

from peers import services
from tests.browser.gallery import COMMAND, World, furnish
from tests.browser.person import PATIENCE, sign_in
from tests.stack import Stack

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async tags => (await axe.run(document, {runOnly: {type: "tag", values: tags}})).violations
    .map(({id, nodes}) => `${id}: ${nodes.map(node => node.html.slice(0, 200)).join(" | ")}`)"""
SIDEWAYS = """direction => { document.documentElement.dir = direction;
    return document.documentElement.scrollWidth > document.documentElement.clientWidth; }"""
# Links within a sentence may be smaller (WCAG 2.5.5).
SMALL = """() => [...document.querySelectorAll("main button, main a.button, main input, main select, main summary")]
    .filter(element => element.checkVisibility() && !["hidden", "radio", "checkbox"].includes(element.type))
    .map(element => [element.textContent.trim() || element.name, element.getBoundingClientRect().height])
    .filter(([, height]) => height < 43.9).map(([name, height]) => `${name} is ${height} pixels high`)"""
NARROW = {"width": 320, "height": 256}  # what a window of 1,280 pixels is at 400 % (WCAG 1.4.10)
LOOKS = [("light", 360, "en-GB")]  # the long tests try the other seven


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


def barriers(page: Page, stack: Stack) -> list[str]:
    """Return what axe finds, what is too small for a thumb, and whether the page at 400 % is wider than its window."""
    found = violations(page)
    own = not page.url.startswith(f"{stack.url}/admin/")
    if own:
        found += page.evaluate(SMALL)
    page.set_viewport_size(NARROW)
    # The admin's own rules for right to left come with a language of that direction.
    sideways = [way for way in ("ltr", "rtl") if (own or way == "ltr") and page.evaluate(SIDEWAYS, way)]
    return found + [f"{way}: scrolls sideways" for way in sideways]


def violations(page: Page) -> list[str]:
    """Return what axe finds, with everything unfolded that can be."""
    page.evaluate("document.querySelectorAll('details').forEach(details => (details.open = true))")
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


def test_a_change_of_state_is_announced_and_sameness_is_not(alice: Page, world: World, stack: Stack):
    device = world.devices["live"]
    alice.goto(device.get_absolute_url())
    badge = alice.locator("[data-slot=state]")
    assert badge.get_attribute("role") == "status"
    alice.evaluate(
        """() => { window.changes = 0; new MutationObserver(() => window.changes++)
            .observe(document.querySelector("[data-slot=state]"), {childList: true, subtree: true}); }"""
    )
    alice.wait_for_timeout(4000)  # two polls and more
    assert alice.evaluate("window.changes") == 0
    services.suspend(actor=COMMAND, peer=device, at=timezone.now(), reason="Audit")
    expect(badge).to_have_text("Suspended", timeout=PATIENCE)
    assert alice.evaluate("window.changes") == 1
    services.restore(actor=COMMAND, peer=device)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: "-".join(map(str, look)))
def test_no_page_has_a_barrier_that_can_be_found(world, chromium, stack, cookies, look):
    found = [
        f"{name}: {problem}"
        for name, page in visits(world, chromium, stack, cookies, look)
        for problem in barriers(page, stack)
    ]
    assert not found, "\n".join(found)
