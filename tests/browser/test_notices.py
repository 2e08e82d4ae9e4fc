"""What an owner is told once of a device that was not let in, in a real browser."""

import re
from collections.abc import Iterator

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from peers import services
from peers.models import Interface, Peer, RefusedHandshake
from portal.models import User
from tests import rows
from tests.stack import Stack

POLLED_TWICE = 4000  # ms
WORDS = re.compile(r"Laptop tried to connect on .+ and was not let in\. It is ready now: connect again\.")


@pytest.fixture
def device(alice_signed_in: dict, stack: Stack) -> Iterator[Peer]:
    made = rows.peer(User.objects.get(name="Alice Demo"), Interface.objects.get(), name="Laptop")
    stack.gateway.eventually(lambda: made.key.public_key in stack.gateway.on())
    stack.database.sql(
        f"""INSERT INTO peers_refusedhandshake (peer_id, count, first_at, latest_at)
            VALUES ('{made.pk}', 3, now() - interval '5 min', now() - interval '1 min')"""
    )
    yield made
    stack.database.sql("UPDATE peers_refusedhandshake SET told_at = now()")
    services.revoke(actor=services.Actor(), peer=made, at=timezone.now())


def test_it_stays_while_the_page_does_and_is_gone_with_the_next(alice: Page, device: Peer):
    alice.goto(device.get_absolute_url())
    expect(alice.locator(".told")).to_have_text(WORDS, use_inner_text=True)
    alice.wait_for_timeout(POLLED_TWICE)
    expect(alice.locator(".told")).to_be_visible()
    for path in (device.get_absolute_url(), "/"):
        alice.goto(path)
        expect(alice.locator("h1").first).to_be_visible()
        expect(alice.locator(".told")).to_have_count(0)


def test_a_page_that_stays_open_does_not_use_it_up(alice: Page, device: Peer, stack: Stack):
    alice.goto(device.get_absolute_url())
    stack.database.sql("UPDATE peers_refusedhandshake SET told_at = NULL")
    alice.wait_for_timeout(POLLED_TWICE)
    assert RefusedHandshake.objects.get(peer=device).told_at is None


def test_a_phone_without_javascript_shows_it_too(
    chromium: Browser, stack: Stack, alice_signed_in: dict, device: Peer
):
    with chromium.new_context(
        base_url=stack.url, storage_state=alice_signed_in, java_script_enabled=False,
        viewport={"width": 360, "height": 740},
    ) as context:  # fmt: skip
        page = context.new_page()
        page.goto("/")
        expect(page.locator(".told")).to_contain_text("UTC and was not let in.")
        page.goto("/")
        expect(page.locator(".told")).to_have_count(0)
