"""Enrolling as an employee meets it: what is shown where, how much it asks of them, and how a full list makes room."""

import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from peers import services
from peers.models import Peer, PeerStatus
from portal.models import User
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.person import PATIENCE, device_path, download, enrol, open_form, sign_in
from tests.browser.qr import by_opencv, by_zbar, photograph
from tests.browser.recorder import found_in
from tests.browser.test_page import private_key_in, shown_text, wide
from tests.stack import Stack

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0"
LINUX = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
PIXEL = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile"
CHROMEBOOK = (
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"
)
IPAD = "Object.defineProperty(navigator, 'maxTouchPoints', { get: () => 5 });"
CLICKS = "addEventListener('click', (event) => event.isTrusted && clicked(), true);"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 760}


@pytest.fixture
def alices(chromium: Browser, stack: Stack, alice_signed_in: dict) -> Iterator:
    """Give a function that opens a page in which alice is signed in, in a browser of her choice."""
    opened: list[BrowserContext] = []

    def open_page(**options) -> Page:
        context = chromium.new_context(base_url=stack.url, storage_state=alice_signed_in, **options)
        context.set_default_timeout(10_000)
        opened.append(context)
        return context.new_page()

    yield open_page
    for context in opened:
        context.close()


def revoke_all(person: User) -> None:
    for peer in Peer.objects.filter(owner=person, revoked_at=None):
        services.revoke(actor=services.Actor(user=person), peer=peer, at=timezone.now())


def ways(page: Page) -> list[str]:
    """Return the headings of the ways in which the configuration is offered, in their order."""
    return [text.strip() for text in page.locator("[data-way]:visible h2").all_text_contents()]


# --- What fits the device ---


@pytest.mark.parametrize(
    ("agent", "heading", "steps"),
    [
        (WINDOWS, "On Windows", ["wireguard.com/install", "Import tunnel(s) from file", "Activate"]),
        (MAC, "On a Mac", ["App Store", "Import tunnel(s) from file…", "Allow", "Activate"]),
        (LINUX, "On Linux", ["sudo install -m 600", "sudo wg-quick up", "sudo wg show"]),
        (CHROMEBOOK, "On anything else", ["wireguard.com/install", "import"]),
    ],
)
def test_on_a_computer_the_file_comes_first_and_the_code_is_for_a_phone(alices, agent, heading, steps):
    page = alices(user_agent=agent)
    enrol(page, "My computer")
    assert ways(page) == ["This computer: download the file", "A phone instead: scan this code"]
    expect(page.locator(".qr svg")).to_be_visible()
    shown = page.locator("[data-way=file]")
    expect(shown.get_by_role("heading", name=heading)).to_be_visible()
    for step in steps:
        expect(shown).to_contain_text(step)
    assert page.locator("[data-instructions]:visible").count() == 1


@pytest.mark.parametrize(
    ("agent", "script", "heading", "steps"),
    [
        (IPHONE, "", "On an iPhone or iPad", ["App Store", "Files app", "Create from file or archive"]),
        (MAC, IPAD, "On an iPhone or iPad", ["App Store", "Files app", "Create from file or archive"]),
        (PIXEL, "", "On Android", ["Google Play", "Import from file or archive", "from Downloads"]),
    ],
    ids=["iphone", "ipad", "android"],
)
def test_on_a_phone_the_file_comes_first_and_the_code_waits_behind_a_word(
    *, alices, tmp_path, agent, script, heading, steps
):
    page = alices(user_agent=agent, viewport=PHONE)
    page.add_init_script(script)
    enrol(page, "My phone")
    assert ways(page) == ["This phone: download the file"]
    shown = page.locator("[data-way=file]")
    expect(shown.get_by_role("heading", name=heading)).to_be_visible()
    for step in steps:
        expect(shown).to_contain_text(step)
    expect(shown.get_by_text("QR code")).to_be_hidden()
    expect(page.locator(".qr")).to_be_hidden()
    page.locator("summary", has_text="Show it as a code").click()
    expect(page.get_by_text("A phone cannot scan its own screen")).to_be_visible()
    assert by_zbar(photograph(page, tmp_path / "code.png")) == download(page, tmp_path).read_text()
    assert wide(page) == 0


@pytest.mark.parametrize(
    ("platform", "heading"), [("ios", "Create from QR code"), ("android", "Scan from QR code")]
)
def test_a_phone_that_is_enrolled_on_a_computer_scans_the_code_first(*, alices, tmp_path, platform, heading):
    page = alices(user_agent=WINDOWS)
    open_form(page)
    page.get_by_label("Name").fill("Phone")
    page.get_by_label("Kind of device").select_option(platform)
    page.get_by_role("button", name="Enrol this device").click()
    expect(page.get_by_role("heading", name="Your configuration")).to_be_visible()
    assert ways(page) == ["Your phone: scan this code", "Or download the file"]
    expect(page.locator("[data-way=code]")).to_contain_text(heading)
    expect(page.locator("[data-way=code]").get_by_text("from file or archive")).to_be_hidden()
    picture = photograph(page, tmp_path / "code.png")
    conf = download(page, tmp_path).read_text()
    assert by_zbar(picture) == by_opencv(picture) == conf


def test_the_commands_for_linux_name_the_file_that_was_downloaded(alices, tmp_path):
    page = alices(user_agent=LINUX)
    enrol(page, "Jo's Linux laptop at home")
    file = download(page, tmp_path)
    assert file.name == "Jo-s-Linux-lapt.conf"
    assert page.locator("[data-way=file] .command").all_text_contents() == [
        f"sudo install -m 600 {file.name} /etc/wireguard/{file.name}",
        f"sudo wg-quick up {file.stem}",
        f"sudo wg show {file.stem}",
    ]


def test_the_steps_for_every_other_device_are_one_click_away(alices):
    page = alices(user_agent=WINDOWS)
    enrol(page, "Asks")
    page.locator("summary", has_text="Another kind of device?").click()
    shown = page.locator("[data-instructions]:visible").evaluate_all(
        "all => all.map(one => one.dataset.instructions)"
    )
    assert shown == ["windows", "macos", "linux", "ios", "android", "other"]


def test_a_link_to_the_app_leaves_the_configuration_where_it_is(alices):
    page = alices(user_agent=WINDOWS)
    enrol(page, "Links")
    links = page.locator("[data-configuration] a[href^=http]")
    assert links.count() >= 6
    for link in links.all():
        assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noreferrer")
        assert "?" not in link.get_attribute("href").replace("?id=com.wireguard.android", "")


def test_the_title_says_how_many_devices_are_connected_and_follows(alices, stack: Stack, tmp_path):
    page = alices()
    enrol(page, "In the title")
    expect(page).to_have_title("Save your configuration · Latchkey")
    with stack.connect(download(page, tmp_path).read_text()) as client:
        assert client.ping("10.77.0.1", count=1).received == 1
        expect(page).to_have_title("Connected · Latchkey", timeout=PATIENCE)
        expect(page.get_by_text("Your device has reached the network")).to_be_visible()
        page.goto("/")
        connected = page.locator(".state[data-state=connected]:visible").count()
        assert connected >= 1
        expect(page).to_have_title(f"{connected} connected · My devices · Latchkey")
        peer = Peer.objects.filter(name="In the title").latest("enrolled_at")
        services.revoke(actor=services.Actor(user=peer.owner), peer=peer, at=timezone.now())
        fewer = (
            f"{connected - 1} connected · My devices · Latchkey" if connected > 1 else "My devices · Latchkey"
        )
        expect(page).to_have_title(fewer, timeout=PATIENCE)


# --- How much it asks of a person ---


def test_one_click_leads_from_the_sign_in_to_the_configuration(
    *, page: Page, context: BrowserContext, stack: Stack, tmp_path, capsys
):
    clicks: list[float] = []
    context.expose_binding("clicked", lambda _source: clicks.append(time.monotonic()))
    sign_in(page, "carol")
    revoke_all(User.objects.get(name="Carol Demo"))
    page.reload()
    page.evaluate(CLICKS)
    clicks.clear()
    started = time.monotonic()
    page.get_by_role("button", name="Enrol this device").click()
    expect(page.locator(".qr svg")).to_be_visible()
    shown, asked = time.monotonic(), len(clicks)
    assert asked <= 1
    with stack.connect(download(page, tmp_path).read_text()) as client:
        assert client.ping("10.77.0.1", count=1).received == 1
        expect(page.locator("[data-configuration] .state")).to_have_text("Connected", timeout=PATIENCE)
    connected = time.monotonic()
    with capsys.disabled():
        print(
            f"\n  signed in → configuration shown: {asked} click, {shown - started:.2f} s;"
            f" → Connected: {connected - started:.2f} s, of which the gateway's {gateways_share():.3f} s"
        )


def gateways_share() -> float:
    """Return how long the newest peer took from its row to the interface, in seconds."""
    peer = Peer.objects.latest("enrolled_at")
    since: datetime = PeerStatus.objects.get(peer=peer).since
    return (since - peer.enrolled_at).total_seconds()


# --- The keyboard alone ---


def press_until(page: Page, key: str, found: str) -> None:
    """Press ``key`` until the element with the focus matches ``found``."""
    for _ in range(300):  # a list of devices has many stops
        page.keyboard.press(key)
        if page.evaluate("found => document.activeElement.matches(found)", found):
            return
    pytest.fail(f"{key} leads to no {found}")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_device_is_enrolled_saved_and_left_by_keyboard_from_the_top_of_the_page(*, alices, viewport):
    page = alices(viewport=viewport)
    page.goto("/")
    press_until(page, "Tab", "a.skip")
    page.keyboard.press("Enter")
    if page.locator(".add").count():
        press_until(page, "Tab", ".add > summary")
        page.keyboard.press("Enter")
    press_until(page, "Tab", "#name")
    page.keyboard.press("Control+A")
    page.keyboard.type("By keyboard")
    press_until(page, "Tab", "[data-one-click]")
    page.keyboard.press("Space")
    expect(page.get_by_role("heading", name="Your configuration")).to_be_visible()
    press_until(page, "Tab", "[data-slot=download]")
    with page.expect_download():
        page.keyboard.press("Enter")
    expect(page.get_by_text("Downloaded.")).to_be_visible()
    press_until(page, "Tab", "[data-slot=done]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="By keyboard")).to_be_visible()


# --- A key replaced, and a key gone ---


def test_a_replaced_key_comes_with_the_steps_for_that_device_and_is_shown_once(alices, stack: Stack):
    page = alices(user_agent=WINDOWS)
    page.on("dialog", lambda dialog: dialog.accept())
    open_form(page)
    page.get_by_label("Name").fill("Lost its file")
    page.get_by_label("Kind of device").select_option("android")
    page.get_by_role("button", name="Enrol this device").click()
    expect(page.get_by_role("heading", name="Your configuration")).to_be_visible()
    path = device_path(page)
    page.goto(f"{path}replace-key")
    page.get_by_role("button", name="Make a new key").click()
    expect(page.get_by_role("heading", name="Your configuration")).to_be_visible()
    assert ways(page)[0] == "Your phone: scan this code"
    expect(page.locator("[data-way=code]")).to_contain_text("Scan from QR code")
    private_key = private_key_in(shown_text(page))
    page.reload()
    assert device_path(page) == path
    expect(page.get_by_role("heading", name="Lost its file")).to_be_visible()
    assert found_in(page.content().encode(), private_key) == []


def test_a_browser_that_ends_and_restores_its_tabs_has_no_key_on_the_page_or_in_its_files(
    *, chromium: Browser, stack: Stack, alice_signed_in, tmp_path
):
    profile = tmp_path / "profile"
    page, context = restored(chromium, profile, stack)
    context.add_cookies(alice_signed_in["cookies"])
    enrol(page, "Restored")
    conf = shown_text(page)
    path = device_path(page)
    context.close()
    assert found_in(files_of(profile), private_key_in(conf)) == []
    page, context = restored(chromium, profile, stack, "--restore-last-session")
    again = next(page for page in context.pages if path in page.url)
    expect(again.get_by_role("heading", name="Restored")).to_be_visible()
    assert found_in(again.content().encode(), private_key_in(conf)) == []
    context.close()
    assert found_in(files_of(profile), private_key_in(conf)) == []


def restored(chromium: Browser, profile: Path, stack: Stack, *flags: str) -> tuple[Page, BrowserContext]:
    """Start a browser of its own on ``profile``, as a person does who starts theirs again."""
    start = partial(
        chromium.browser_type.launch_persistent_context,
        profile, executable_path=CHROMIUM, args=[*FLAGS, *flags], base_url=stack.url, timeout=20_000,
    )  # fmt: skip
    try:
        context = start()
    except PlaywrightTimeout:  # which rarely misses the first page of a browser that restores others
        context = start()
    context.set_default_timeout(10_000)
    return context.pages[0], context


def files_of(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
