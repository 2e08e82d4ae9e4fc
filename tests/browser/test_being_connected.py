"""A device's page says what a person can act on, in every state, each of them really produced; it keeps itself true."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from peers import services
from peers.configuration import configuration
from peers.models import Interface, Peer, PeerStatus
from peers.wireguard import keys
from peers.wireguard.config import PLACEHOLDER
from portal.models import User
from tests import rows
from tests.browser.person import PATIENCE, at_the_provider
from tests.stack import Stack, gateway_holds_still

GATEWAY = "10.77.0.1"
WHILE_IT_LASTS = 40_000  # ms: the gateway is silent after 15 s


@pytest.fixture
def alice_row(alice: Page) -> User:
    return User.objects.get(name="Alice Demo")


@pytest.fixture
def device(alice_row: User, stack: Stack) -> Iterator[Peer]:
    private_key = keys.generate_private_key()
    made = rows.peer(
        alice_row, Interface.objects.get(), name="Laptop", public_key=keys.public_key_of(private_key)
    )
    made.conf = configuration(made).replace(PLACEHOLDER, private_key)
    yield made
    services.revoke(actor=services.Actor(), peer=made, at=timezone.now())


def read(page: Page, device: Peer) -> None:
    page.goto(device.get_absolute_url())


def expect_state(page: Page, label: str, sentence: str, within: int = PATIENCE) -> None:
    """Wait until the page, without a reload, says ``label`` in its badge and title, and ``sentence`` beside it."""
    expect(page.locator(".state-line .state")).to_have_text(label, timeout=within)
    expect(page.locator("[data-slot=explanation]")).to_contain_text(sentence)
    assert page.title().startswith(f"{label} · ")


def test_live_then_connected_with_since_when_and_how_much(alice: Page, device: Peer, stack: Stack):
    read(alice, device)
    expect_state(alice, "Live", "Switch its tunnel on")
    expect(alice.locator("[data-slot=seen]")).to_contain_text("never")
    expect(alice.get_by_text("Connected since")).to_be_hidden()
    with stack.connect(device.conf) as client:
        assert client.ping(GATEWAY, count=3).received == 3
        expect_state(alice, "Connected", "in use")
        expect(alice.get_by_text("Connected since")).to_be_visible()
        expect(alice.locator("[data-slot=seen]")).to_contain_text("ago")
    assert PeerStatus.objects.get(peer=device).connected_since is not None


def test_pending_and_then_unknown_while_the_gateway_is_silent(alice: Page, device: Peer, stack: Stack):
    stack.gateway.eventually(lambda: PeerStatus.objects.filter(peer=device, present=True))
    with gateway_holds_still(stack):
        late = rows.peer(device.owner, device.interface, name="Late")
        read(alice, late)
        expect_state(alice, "Pending", "has not taken this device in yet")
        expect_state(alice, "Unknown", "nobody can say", within=WHILE_IT_LASTS)
        read(alice, device)
        expect_state(alice, "Unknown", "nobody can say")
        expect(alice.get_by_text("Network last heard")).to_be_visible()
    expect_state(alice, "Live", "Switch its tunnel on")
    services.revoke(actor=services.Actor(), peer=late, at=timezone.now())


@pytest.mark.long
def test_a_page_that_hears_nothing_any_more_takes_back_what_it_says(alice: Page, device: Peer):
    read(alice, device)
    expect_state(alice, "Live", "Switch its tunnel on")
    alice.context.set_offline(True)
    expect_state(alice, "Unknown", "heard nothing for a while", within=WHILE_IT_LASTS)
    alice.context.set_offline(False)
    expect_state(alice, "Live", "Switch its tunnel on", within=WHILE_IT_LASTS)


def test_revoking_and_then_revoked_with_the_reason(alice: Page, device: Peer, stack: Stack):
    stack.gateway.eventually(lambda: PeerStatus.objects.filter(peer=device, present=True))
    read(alice, device)
    with gateway_holds_still(stack):
        services.revoke(actor=services.Actor(), peer=device, at=timezone.now(), reason="Lost on a train")
        expect_state(alice, "Revoking", "taking it off")
    expect_state(alice, "Revoked", "enrol it afresh")
    expect(alice.locator("[data-slot=receipt]")).to_contain_text("Revoked at ")
    read(alice, device)
    expect(alice.get_by_text("Lost on a train")).to_be_visible()
    expect(alice.get_by_role("button", name="Rename")).to_have_count(0)


def test_suspended_by_an_administrator_with_the_reason_and_then_back(alice: Page, device: Peer):
    read(alice, device)
    expect_state(alice, "Live", "Switch its tunnel on")
    services.suspend(actor=services.Actor(), peer=device, at=timezone.now(), reason="Asset audit <b>now</b>")
    expect_state(alice, "Suspended", "Asset audit <b>now</b>")
    services.restore(actor=services.Actor(), peer=device)
    expect_state(alice, "Live", "Switch its tunnel on")


def test_expired(alice: Page, device: Peer, stack: Stack):
    read(alice, device)
    stack.database.sql(f"UPDATE peers_peer SET expires_at = now() + interval '2 s' WHERE id = '{device.pk}'")
    expect_state(alice, "Expired", "Enrol the device again")


def test_signed_out_offers_to_sign_in_again_and_with_a_full_tunnel_says_how(
    alice: Page, device: Peer, alice_row: User
):
    wg0 = device.interface
    Interface.objects.update(client_allowed_ips=["0.0.0.0/0", "::/0"])
    ago = timezone.now() - wg0.lease - timedelta(minutes=1)
    try:
        read(alice, device)
        expect_state(alice, "Live", "Switch its tunnel on")
        warning = alice.locator(".ending")
        expect(warning).to_have_count(0)
        User.objects.filter(pk=alice_row.pk).update(signed_in_at=ago + timedelta(hours=1))
        alice.reload()
        expect(warning).to_contain_text("Sign in again to keep this device connected")
        expect(warning.get_by_role("button", name="Sign in again")).to_be_visible()
        User.objects.filter(pk=alice_row.pk).update(signed_in_at=ago)
        expect_state(alice, "Sign-in over", "Sign in again")
        expect(warning).to_be_hidden()
        offer = alice.locator("div[data-shown-while=signed_out]")
        expect(offer).to_contain_text("switch the tunnel off, sign in, switch it on again")
        offer.get_by_role("button", name="Sign in again").click()
        at_the_provider(alice, "alice")
        expect_state(alice, "Live", "Switch its tunnel on")
        expect(warning).to_have_count(0)
    finally:
        Interface.objects.update(client_allowed_ips=[])
        User.objects.filter(pk=alice_row.pk).update(signed_in_at=timezone.now())


def test_held_by_the_brake(alice: Page, device: Peer, stack: Stack):
    """Six rows of keys vanish, as a bad migration would have it, under peers that may no longer be on."""
    others = [rows.peer(device.owner, device.interface, name=f"Lost {number}") for number in range(6)]
    stack.gateway.eventually(lambda: PeerStatus.objects.filter(peer__in=others, present=True).count() == 6)
    ids = ", ".join(f"'{peer.pk}'" for peer in others)
    stack.database.sql(
        "BEGIN; SET LOCAL session_replication_role = replica;"
        f" CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM peers_peerkey WHERE peer_id IN ({ids});"
        f" DELETE FROM peers_peerkey WHERE peer_id IN ({ids});"
        f" UPDATE peers_peer SET suspended_at = now() WHERE id IN ({ids}); COMMIT"
    )
    try:
        read(alice, others[0])
        expect_state(alice, "Held", "an administrator has to confirm")
    finally:
        stack.database.sql("INSERT INTO peers_peerkey SELECT * FROM kept; DROP TABLE kept")
        for peer in others:
            services.revoke(actor=services.Actor(), peer=peer, at=timezone.now())
        services.release_brake(actor=services.Actor(), interface=device.interface)
    expect_state(alice, "Revoked", "enrol it afresh")


def test_invalid_when_the_gateway_puts_its_row_aside(alice: Page, device: Peer, stack: Stack):
    read(alice, device)
    stack.database.sql(f"UPDATE peers_peer SET preshared_key = 'nonsense' WHERE id = '{device.pk}'")
    expect_state(alice, "Invalid", "Ask your administrator")
    stack.database.sql(f"UPDATE peers_peer SET preshared_key = '' WHERE id = '{device.pk}'")
    expect_state(alice, "Live", "Switch its tunnel on")


def test_ready_while_an_interface_on_demand_has_not_loaded_it(alice: Page, device: Peer, stack: Stack):
    stack.gateway.eventually(lambda: PeerStatus.objects.filter(peer=device, present=True))
    with gateway_holds_still(stack):
        Interface.objects.update(mode=Interface.Mode.ON_DEMAND)
        late = rows.peer(device.owner, device.interface, name="Late")
        read(alice, late)
        expect_state(alice, "Ready", "connects when you switch its tunnel on")
        Interface.objects.update(mode=Interface.Mode.PUSH)
    services.revoke(actor=services.Actor(), peer=late, at=timezone.now())


def test_the_page_keeps_the_place_and_what_is_being_typed(alice: Page, device: Peer):
    alice.set_viewport_size({"width": 360, "height": 400})
    read(alice, device)
    expect_state(alice, "Live", "Switch its tunnel on")
    name = alice.get_by_label("Name")
    name.fill("Half a na")
    name.evaluate("field => field.setSelectionRange(2, 4)")
    before = name.bounding_box()["y"]
    services.suspend(actor=services.Actor(), peer=device, at=timezone.now(), reason="Audit")
    expect_state(alice, "Suspended", "Audit")
    assert alice.evaluate("[document.activeElement.id, document.activeElement.selectionStart]") == ["name", 2]
    assert (name.input_value(), name.bounding_box()["y"]) == ("Half a na", pytest.approx(before, abs=1))


def test_a_hidden_page_asks_nothing_and_one_that_is_looked_at_again_asks_at_once(alice: Page, device: Peer):
    asked: list[float] = []
    alice.on("request", lambda request: asked.append(time.monotonic()) if "/status" in request.url else None)
    read(alice, device)
    alice.wait_for_timeout(2000)
    assert asked
    hide = """hidden => { Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange")); }"""
    alice.evaluate(hide, arg=True)
    alice.wait_for_timeout(500)  # an answer may be on its way
    before = len(asked)
    alice.wait_for_timeout(5000)
    assert len(asked) == before
    alice.evaluate(hide, arg=False)
    alice.wait_for_timeout(300)
    assert len(asked) == before + 1


def test_a_page_whose_sign_in_has_ended_says_so(alice: Page, device: Peer):
    read(alice, device)
    alice.context.clear_cookies()
    expect(alice.get_by_text("Your sign-in to this page has ended")).to_be_visible(timeout=PATIENCE)
