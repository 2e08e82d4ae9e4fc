"""At the device limit a new device takes the place of one that its owner chooses."""

import re
from collections.abc import Iterator

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from peers import services
from peers.models import Interface, Peer
from peers.states import database_now
from portal.models import User
from tests import rows
from tests.browser.person import download, open_form, sign_in
from tests.browser.test_enrolling import DESKTOP, PHONE, revoke_all
from tests.browser.test_page import wide
from tests.stack import Stack


@pytest.fixture
def two_at_most() -> Iterator[None]:
    Interface.objects.update(device_limit=2)
    yield
    Interface.objects.update(device_limit=1000)


def full(page: Page) -> tuple[Peer, Peer]:
    """Sign bob in, and give him two devices and no other."""
    sign_in(page, "bob")
    bob = User.objects.get(name="Bob Demo")
    revoke_all(bob)
    wg0 = Interface.objects.get(name="wg0")
    return rows.peer(bob, wg0, "Old laptop"), rows.peer(bob, wg0, "Tablet")


@pytest.mark.usefixtures("two_at_most")
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_at_the_limit_a_device_takes_the_place_of_one_that_is_chosen(*, page, stack, tmp_path, viewport):
    page.set_viewport_size(viewport)
    old, tablet = full(page)
    page.goto("/")
    expect(page.get_by_text("You have reached the limit: 2 devices.")).to_be_visible()
    page.locator("summary", has_text="Add a device").click()
    assert wide(page) == 0
    chosen = page.get_by_role("radio", name=re.compile("^Old laptop"))
    expect(page.get_by_role("radio")).to_have_count(2)
    page.get_by_label("Name").fill("New laptop")
    page.get_by_role("button", name="Replace it with this device").click()
    expect(page.get_by_role("heading", name="Your configuration")).to_be_hidden()  # none is chosen yet
    chosen.check()
    page.get_by_role("button", name="Replace it with this device").click()
    expect(page.get_by_role("heading", name="Your configuration")).to_be_visible()
    with stack.connect(download(page, tmp_path).read_text()) as client:
        assert client.ping("10.77.0.1", count=1).received == 1
    old.refresh_from_db()
    tablet.refresh_from_db()
    assert old.revoke_reason == "Replaced by New laptop."
    assert (old.revoked_at is not None, tablet.revoked_at) == (True, None)
    assert list(holding(old)) == ["New laptop", "Tablet"]


def holding(peer: Peer):
    peers = Peer.objects.filter(owner=peer.owner).holding(database_now())
    return peers.order_by("name").values_list("name", flat=True)


@pytest.mark.usefixtures("two_at_most")
def test_a_limit_that_is_reached_while_the_page_is_open_leads_to_the_choice(page: Page):
    old, tablet = full(page)
    services.revoke(actor=services.Actor(user=old.owner), peer=old, at=timezone.now())
    open_form(page)
    rows.peer(tablet.owner, tablet.interface, "Meanwhile")
    page.get_by_role("button", name="Enrol this device").click()
    expect(page.get_by_text("2 devices are the most you may have")).to_be_visible()
    page.get_by_role("link", name="Choose the device to replace").click()
    page.get_by_role("radio", name=re.compile("^Meanwhile")).check()
    page.get_by_role("button", name="Replace it with this device").click()
    expect(page.get_by_role("heading", name="Your configuration")).to_be_visible()
    assert "Meanwhile" not in holding(old)


@pytest.mark.usefixtures("two_at_most")
def test_a_replacement_whose_answer_is_lost_is_asked_for_again_and_replaces_one_device(page: Page):
    old, _ = full(page)
    open_form(page)
    page.get_by_label("Name").fill("Retried in its place")
    page.get_by_role("radio", name=re.compile("^Old laptop")).check()
    lost: list[int] = []

    def lose_the_first_answer(route):
        if lost:
            return route.continue_()
        lost.append(route.fetch().status)
        return route.abort("connectionreset")

    page.route("/", lose_the_first_answer)
    page.get_by_role("button", name="Replace it with this device").click()
    expect(page.get_by_text("The connection was lost")).to_be_visible()
    with page.expect_response("/") as second:
        page.get_by_role("button", name="Replace it with this device").click()
    expect(page.get_by_role("heading", name="Your configuration")).to_be_visible()
    assert (lost, second.value.status) == ([201], 200)
    assert list(holding(old)) == ["Retried in its place", "Tablet"]


@pytest.mark.usefixtures("two_at_most")
def test_without_javascript_a_pasted_key_takes_the_place_of_a_device(
    page: Page, chromium: Browser, stack: Stack
):
    old, _ = full(page)
    with chromium.new_context(
        base_url=stack.url, java_script_enabled=False, storage_state=page.context.storage_state()
    ) as context:
        plain = context.new_page()
        open_form(plain)
        expect(plain.locator("noscript .note", has_text="paste a public key")).to_be_visible()
        plain.get_by_label("Name").fill("Pasted in its place")
        plain.get_by_role("radio", name=re.compile("^Old laptop")).check()
        plain.locator("summary", has_text="Use my own key").click()
        plain.get_by_label("Public key", exact=True).fill(rows.public_key())
        plain.get_by_role("button", name="Replace it with this key").click()
        expect(plain.get_by_role("heading", name="Pasted in its place")).to_be_visible()
    assert list(holding(old)) == ["Pasted in its place", "Tablet"]
