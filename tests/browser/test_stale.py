"""A device whose settings an administrator has changed: flagged, and its old file rewritten in the page, never sent."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from peers import services
from peers.models import AuditEvent, Interface, Peer
from peers.wireguard import keys
from tests.browser.person import device_path, download, enrol
from tests.browser.qr import by_opencv, by_zbar, photograph
from tests.browser.recorder import Recorder, found_in
from tests.browser.test_page import drop, private_key_in, wide
from tests.browser.test_tunnel import GATEWAY, server_side
from tests.stack import ENDPOINT, Stack

FLAG = "This device still has old settings"
READY = "The new configuration is ready"
CHOOSE = "Choose the device's old .conf file, or drop it anywhere on this page"
BEFORE = {
    "endpoint": "198.51.100.1:51999",
    "dns": [],
    "client_allowed_ips": [],
    "persistent_keepalive": 25,
    "mtu": 1420,
}
AFTER = {
    "endpoint": ENDPOINT,
    "dns": ["10.77.0.1"],
    "client_allowed_ips": ["10.77.0.0/24", "192.168.77.0/24"],
    "persistent_keepalive": 15,
    "mtu": 1380,
}

WITHOUT_IMPORT = """
SubtleCrypto.prototype.importKey = async () => { throw new DOMException("X25519", "NotSupportedError"); };
"""


def change(**settings: object) -> None:
    """Change settings of wg0 as an administrator does."""
    wg0 = Interface.objects.get(name="wg0")
    for name, value in settings.items():
        setattr(wg0, name, value)
    services.save_interface(actor=services.Actor(), interface=wg0)


@pytest.fixture
def settings_change() -> Iterator[None]:
    """Start from settings with which nothing connects; put the stack's own back afterwards."""
    change(**BEFORE)
    yield
    change(**{**BEFORE, "endpoint": ENDPOINT})


pytestmark = pytest.mark.usefixtures("settings_change")


def flagged(page: Page, folder: Path, name: str) -> str:
    """Enrol a device, change the settings, open its page and return its old configuration."""
    enrol(page, name)
    old = download(page, folder).read_text()
    path = device_path(page)
    change(**AFTER)
    page.goto(path)
    expect(page.get_by_text(FLAG)).to_be_visible()
    return old


def new_file(page: Page, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the new file").click()
    path = folder / f"new-{waiting.value.suggested_filename}"
    waiting.value.save_as(path)
    return path


def test_an_old_file_is_rewritten_in_the_page_and_the_new_one_connects(
    *, alice: Page, stack: Stack, recorder: Recorder, tmp_path: Path
):
    old = flagged(alice, tmp_path, "Stale")
    for words in ("the server's address", "(DNS)", "the networks that the tunnel leads to", "(MTU)"):
        expect(alice.locator("section[data-stale]")).to_contain_text(words)
    with stack.connect(old) as client:
        assert client.ping(GATEWAY, count=2, timeout=1).received == 0
    sent = len(recorder.posts)
    alice.get_by_label(CHOOSE).set_input_files(tmp_path / "Stale.conf")
    expect(alice.get_by_text(READY)).to_be_visible()
    assert len(recorder.posts) == sent
    assert not AuditEvent.objects.filter(action="configure", peer__name="Stale").exists()

    picture = photograph(alice, tmp_path / "new.png")
    file = new_file(alice, tmp_path)
    new = file.read_text()
    assert file.name == "new-Stale.conf"
    assert (by_zbar(picture), by_opencv(picture)) == (new, new)
    assert private_key_in(new) == private_key_in(old)
    assert set(re.findall(r"^(\w+) = ", new, re.MULTILINE)) == {
        "PrivateKey", "Address", "DNS", "MTU", "PublicKey", "AllowedIPs", "Endpoint", "PersistentKeepalive",
    }  # fmt: skip
    assert f"Endpoint = {ENDPOINT}\n" in new
    expect(alice.get_by_text("as soon as you import this file")).to_be_visible()
    with stack.connect(new) as client:
        assert client.ping(GATEWAY, count=3).received == 3

    ((url, body),) = recorder.posts[sent:]
    assert url.endswith(f"{Peer.objects.get(name='Stale').pk}/configured")
    assert set(re.findall(rb'name="(\w+)"', body)) == {b"csrfmiddlewaretoken", b"settings"}
    alice.reload()
    expect(alice.get_by_role("heading", name="Stale")).to_be_visible()
    expect(alice.get_by_text(FLAG)).to_have_count(0)
    assert found_in(recorder.everything(alice) + server_side(stack), private_key_in(old)) == []
    assert recorder.said_by(stack.url) == []


def commented(conf: str) -> str:
    return "# mine\n" + conf.replace("\nAddress", " # not for others\n\n  Address").replace(
        "[Peer]", "[Peer] # theirs"
    )


def reordered(conf: str) -> str:
    interface, peer = conf.split("\n\n")
    head, *fields = interface.split("\n")
    return "\n".join(
        [peer.rstrip(), "", head, "PostUp = iptables -A FORWARD -i %i -j ACCEPT", *reversed(fields), ""]
    )


def lower_case(conf: str) -> str:
    return conf.replace("PrivateKey = ", "  privatekey=").replace("[Interface]", "[interface]")


@pytest.mark.parametrize(
    "written", [lambda conf: conf.replace("\n", "\r\n"), lambda conf: "\ufeff" + conf, commented, reordered, lower_case],
    ids=["Windows line ends", "byte order mark", "comments", "another order", "lower case"],
)  # fmt: skip
def test_a_file_that_was_edited_since_is_read_all_the_same(alice: Page, tmp_path: Path, written):
    old = flagged(alice, tmp_path, "Edited")
    drop(alice, "old.conf", written(old))
    expect(alice.get_by_text(READY)).to_be_visible()
    new = new_file(alice, tmp_path).read_text()
    assert private_key_in(new) == private_key_in(old)
    assert "PostUp" not in new
    assert "#" not in new


def other_device(conf: str) -> str:
    return conf.replace(private_key_in(conf), keys.generate_private_key())


def two_keys(conf: str) -> str:
    return conf.replace("Address", f"PrivateKey = {private_key_in(conf)}\nAddress")


def without_key(conf: str) -> str:
    return re.sub(r"PrivateKey = .*\n", "", conf)


def placeholder(conf: str) -> str:
    return conf.replace(private_key_in(conf), "REPLACE_WITH_YOUR_PRIVATE_KEY")


def under_peer(conf: str) -> str:
    return f"{without_key(conf)}PrivateKey = {private_key_in(conf)}\n"


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (other_device, "This file belongs to another device"),
        (two_keys, "more than one private key"),
        (without_key, "There is no private key in this file"),
        (placeholder, "There is no private key in this file"),
        (under_peer, "There is no private key in this file"),
        (lambda conf: "", "This is not a WireGuard configuration"),
        (lambda conf: f"shopping list: eggs\n{conf}", "This is not a WireGuard configuration"),
        (lambda conf: f"PrivateKey = {private_key_in(conf)}\n", "This is not a WireGuard configuration"),
        (lambda conf: conf + "#" * 64 * 1024, "This file is too big"),
    ],
)
def test_a_file_that_is_not_this_devices_is_refused_in_a_sentence_and_nothing_is_sent(
    *, alice: Page, recorder: Recorder, tmp_path: Path, written, sentence: str
):
    old = flagged(alice, tmp_path, "Refusing")
    before = len(recorder.posts)
    configs = [request for request in recorder.requests if b"/config\n" in request]
    drop(alice, "old.conf", written(old))
    expect(alice.locator("[data-slot=stale-error]")).to_contain_text(sentence)
    expect(alice.locator("[data-slot=stale-error]")).to_contain_text("sent")
    expect(alice.get_by_text(READY)).to_have_count(0)
    assert len(recorder.posts) == before
    assert [request for request in recorder.requests if b"/config\n" in request] == configs
    assert found_in(recorder.everything(alice) + alice.content().encode(), private_key_in(old)) == []


def test_bytes_that_are_no_text_are_refused(alice: Page, tmp_path: Path):
    flagged(alice, tmp_path, "Binary")
    (tmp_path / "wg.conf").write_bytes(b"[Interface]\nPrivateKey = \xff\xfe\n")
    alice.get_by_label(CHOOSE).set_input_files(tmp_path / "wg.conf")
    expect(alice.get_by_text("This is not a WireGuard configuration")).to_be_visible()


def test_after_a_refusal_the_right_file_is_taken(alice: Page, tmp_path: Path):
    old = flagged(alice, tmp_path, "Second try")
    drop(alice, "old.conf", other_device(old))
    expect(alice.get_by_text("This file belongs to another device")).to_be_visible()
    drop(alice, "old.conf", old)
    expect(alice.get_by_text(READY)).to_be_visible()
    expect(alice.locator("[data-slot=stale-error]")).to_have_text("")


def test_a_browser_without_x25519_checks_the_file_with_the_vendored_module(alice: Page, tmp_path: Path):
    alice.add_init_script(WITHOUT_IMPORT)
    old = flagged(alice, tmp_path, "Older browser")
    drop(alice, "old.conf", other_device(old))
    expect(alice.get_by_text("This file belongs to another device")).to_be_visible()
    drop(alice, "old.conf", old)
    expect(alice.get_by_text(READY)).to_be_visible()


def test_settings_that_change_again_before_the_download_stay_flagged(alice: Page, tmp_path: Path):
    old = flagged(alice, tmp_path, "Changed twice")
    drop(alice, "old.conf", old)
    expect(alice.get_by_text(READY)).to_be_visible()
    change(mtu=1300)
    new_file(alice, tmp_path)
    expect(alice.get_by_text("the server did not take note")).to_be_visible()
    alice.reload()
    expect(alice.get_by_text(FLAG)).to_be_visible()


def test_the_key_is_gone_from_the_page_once_it_is_left(alice: Page, tmp_path: Path):
    old = flagged(alice, tmp_path, "Left")
    drop(alice, "old.conf", old)
    expect(alice.get_by_text(READY)).to_be_visible()
    # What a browser that keeps the page for a step back sends; this one loads it afresh, so it would prove nothing.
    alice.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    expect(alice.get_by_role("button", name="Download the new file")).to_be_hidden()
    expect(alice.locator("[data-slot=stale-qr] svg")).to_have_count(0)


def test_a_device_with_its_own_key_is_given_the_settings_without_javascript(
    *, chromium: Browser, stack: Stack, alice: Page, alice_signed_in: dict, tmp_path: Path
):
    flagged(alice, tmp_path, "Own key")
    path = Peer.objects.get(name="Own key").get_absolute_url()
    with chromium.new_context(
        base_url=stack.url, java_script_enabled=False, storage_state=alice_signed_in, accept_downloads=True
    ) as context:
        page = context.new_page()
        page.goto(path)
        expect(page.get_by_label(CHOOSE)).to_be_hidden()
        page.locator("summary", has_text="The device made its own key").click()
        with page.expect_download() as waiting:
            page.get_by_role("link", name="Download the new configuration").click()
        assert "PrivateKey = REPLACE_WITH_YOUR_PRIVATE_KEY\n" in waiting.value.path().read_text()
        page.get_by_role("button", name="This device has the new settings").click()
        expect(page.get_by_role("heading", name="Own key")).to_be_visible()
        expect(page.get_by_text(FLAG)).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_narrow_page_nothing_scrolls_sideways_and_the_code_can_be_read(
    *, chromium: Browser, stack: Stack, alice_signed_in: dict, tmp_path: Path, scheme: str
):
    with chromium.new_context(
        base_url=stack.url,
        viewport={"width": 360, "height": 760},
        color_scheme=scheme,
        storage_state=alice_signed_in,
    ) as context:
        page = context.new_page()
        old = flagged(page, tmp_path, f"Narrow {scheme}")
        assert wide(page) == 0
        drop(page, "old.conf", old)
        expect(page.get_by_text(READY)).to_be_visible()
        assert wide(page) == 0
        picture = photograph(page, tmp_path / "new.png")
        new = new_file(page, tmp_path).read_text()
        assert (by_zbar(picture), by_opencv(picture)) == (new, new)
