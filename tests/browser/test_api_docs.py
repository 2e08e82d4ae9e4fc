"""The pages that show the API work under the strict policy, with files of our own and nothing from anywhere else."""

import re

from playwright.sync_api import Page, expect

from peers.models import Interface
from tests import rows
from tests.browser.recorder import Recorder
from tests.stack import Stack

DOCS = "/api/v1/docs"


def shown(page: Page) -> Page:
    """Open the pages and wait until they stand."""
    page.goto(DOCS)
    expect(page.locator(".opblock")).to_have_count(7)
    return page


def authorised(page: Page, text: str) -> None:
    page.get_by_role("button", name="Authorize").click()
    page.locator(".modal-ux input").fill(text)
    page.locator(".modal-ux").get_by_role("button", name="Apply credentials").click()
    page.locator(".modal-ux").get_by_role("button", name="Close").first.click()


def test_every_route_is_shown_with_nothing_from_anywhere_else_and_no_word_of_the_console(
    page: Page, recorder: Recorder, stack: Stack
):
    shown(page)
    for operation in page.locator(".opblock-summary-control").all():
        operation.click()
    expect(page.locator(".opblock.is-open")).to_have_count(7)
    expect(page.locator("body")).to_contain_text("key_in_use")
    assert recorder.console == []
    hosts = {re.search(rb"^\w+ (\w+://[^/]+)", request)[1].decode() for request in recorder.requests}
    assert hosts == {stack.url}


def test_its_policy_allows_no_more_than_a_page_of_ours_but_that_scripts_write_text(page: Page):
    ours = page.goto("/accounts/login/").headers["content-security-policy"]
    theirs = page.goto(DOCS).headers["content-security-policy"]
    assert ours.startswith(theirs)
    assert "trusted-types" not in theirs
    assert "unsafe" not in theirs


def test_a_call_can_be_tried_with_a_token(page: Page, recorder: Recorder, stack: Stack):
    wg0 = Interface.objects.get()
    account = rows.account(wg0, name="docs-trial")
    text = rows.token(account, "peers:read")[1]
    shown(page)
    authorised(page, text)
    block = page.locator("#operations-interfaces-list_interfaces")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table .response").first
    expect(answer).to_contain_text("200")
    expect(answer).to_contain_text(wg0.public_key)
    assert recorder.said_by(stack.url) == []
    assert text.encode() not in recorder.kept(page)
