"""A person's tokens in a real browser: with the keyboard alone, without JavaScript, copied, and never shown again."""

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect

from peers.models import ApiToken
from peers.tokens import digest
from portal.models import User
from tests.stack import Stack

TOKENS = "/accounts/tokens/"
SECRET = re.compile(r"latchkey_[A-Za-z0-9_-]{43}")


@pytest.fixture(autouse=True)
def no_tokens(stack: Stack):
    """Let alice have none."""
    stack.database.sql("UPDATE peers_apitoken SET revoked_at = now() WHERE revoked_at IS NULL")


def shown(page: Page) -> str:
    """Return the token that the page shows."""
    text = page.get_by_label("Token", exact=True).input_value()
    assert SECRET.fullmatch(text)
    return text


def make(page: Page, name: str = "Build server") -> str:
    page.goto(TOKENS)
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("button", name="Make the token").click()
    return shown(page)


def test_a_token_is_made_and_revoked_with_the_keyboard_alone(alice: Page):
    alice.goto(TOKENS)
    alice.get_by_role("textbox", name="Name").focus()
    for key in ("Build server", "Tab", "Tab", "Tab", "Space", "Enter"):
        alice.keyboard.type(key) if " " in key else alice.keyboard.press(key)
    token = shown(alice)
    made = ApiToken.objects.get(revoked_at=None)
    assert (made.token_hash, made.name) == (digest(token), "Build server")
    assert made.scopes == ["peers:enrol", "peers:read"]
    alice.get_by_role("link", name="Revoke").focus()
    alice.keyboard.press("Enter")
    alice.get_by_role("button", name="Revoke this token").focus()
    alice.keyboard.press("Enter")
    expect(alice.get_by_text("Former tokens")).to_be_visible()
    assert not ApiToken.objects.filter(revoked_at=None).exists()


def test_without_javascript_all_of_it_works_and_nothing_is_offered_that_would_not(
    chromium: Browser, stack: Stack, alice_signed_in: dict
):
    with chromium.new_context(
        base_url=stack.url, storage_state=alice_signed_in, java_script_enabled=False
    ) as context:
        page = context.new_page()
        token = make(page)
        assert ApiToken.objects.get(revoked_at=None).token_hash == digest(token)
        expect(page.get_by_role("button", name="Copy")).to_be_hidden()
        page.get_by_role("link", name="Revoke").click()
        page.get_by_role("button", name="Revoke this token").click()
        expect(page.get_by_text("Former tokens")).to_be_visible()
    assert not ApiToken.objects.filter(revoked_at=None).exists()


def test_copy_puts_the_token_on_the_clipboard_and_says_so(alice: Page, context: BrowserContext):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    token = make(alice)
    alice.get_by_role("button", name="Copy").click()
    expect(alice.get_by_text("Copied.")).to_be_visible()
    assert alice.evaluate("navigator.clipboard.readText()") == token


def test_a_token_is_gone_once_its_page_is_left_or_sent_again(alice: Page):
    token = make(alice)
    assert token not in alice.url
    alice.goto("/accounts/sessions/")
    with pytest.raises(
        Error, match="ERR_CACHE_MISS"
    ):  # with which the browser asks whether to send the form again
        alice.go_back()
    alice.wait_for_timeout(500)  # the page that asks is the browser's own
    alice.goto(TOKENS)
    assert token not in alice.content()
    second = make_again(alice)
    assert "There is a token of that name already." in second
    assert not SECRET.search(second)
    assert ApiToken.objects.filter(owner=User.objects.get(name="Alice Demo"), revoked_at=None).count() == 1


def make_again(page: Page) -> str:
    """Send the same form again, as a reload of its answer does, and return the page."""
    page.goto(TOKENS)
    page.locator("summary", has_text="Make a token").click()
    page.get_by_role("textbox", name="Name").fill("Build server")
    page.get_by_role("button", name="Make the token").click()
    page.locator("#name[aria-invalid]").wait_for()
    return page.content()
