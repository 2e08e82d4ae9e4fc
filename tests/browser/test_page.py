"""What the page itself promises: the key lives in it alone, nothing is sent that should stay, everybody can use it."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, expect

from peers.models import Interface, Peer
from peers.wireguard import keys
from tests import rows
from tests.browser.person import device_path, download, enrol, open_form
from tests.browser.qr import by_opencv, by_zbar, photograph
from tests.browser.recorder import Recorder, found_in
from tests.stack import INSECURE_HOST, Stack

TITLE = "Your configuration"


def shown_text(page: Page) -> str:
    page.locator("summary", has_text="Show the configuration").click()
    expect(page.locator("pre")).to_contain_text("[Peer]")
    return page.locator("pre").text_content()


def private_key_in(conf: str) -> str:
    return re.search(r"^PrivateKey = (\S{44})$", conf, re.MULTILINE)[1]


def wide(page: Page) -> int:
    """Return how many pixels the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture
def long_configurations() -> Iterator[None]:
    """Have configurations carry everything that they may: a preshared key, resolvers of both kinds, many networks."""
    long = {"use_preshared_keys": True, "dns": ["10.77.0.1", "fd00:77::1"]}
    routes = {
        "client_allowed_ips": [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.100.0/24",
            "fd00:77::/48",
            "2001:db8:1::/48",
        ]
    }
    Interface.objects.update(**long, **routes)
    yield
    Interface.objects.update(use_preshared_keys=False, dns=[], client_allowed_ips=[])


@pytest.mark.usefixtures("long_configurations")
@pytest.mark.parametrize(("scheme", "ratio"), [("light", 1), ("dark", 3)])
def test_enrolling_on_a_phone_of_360_pixels_shows_a_code_that_can_be_read(
    *, chromium, stack: Stack, alice_signed_in, tmp_path, scheme, ratio
):
    size = {"width": 360, "height": 760}
    with chromium.new_context(
        base_url=stack.url, viewport=size, color_scheme=scheme, device_scale_factor=ratio,
        storage_state=alice_signed_in,
    ) as context:  # fmt: skip
        page = context.new_page()
        enrol(page, f"Phone {scheme}")
        assert wide(page) == 0
        picture = photograph(page, tmp_path / "code.png")
        conf = download(page, tmp_path).read_text()
        assert by_zbar(picture) == conf
        assert by_opencv(picture) == conf
        side = page.locator(".qr svg").bounding_box()["width"]
        modules = int(page.locator(".qr svg").get_attribute("viewBox").split()[2])
        assert side / modules >= 4
        assert side / modules * ratio == pytest.approx(round(side / modules * ratio), abs=0.01)


def test_a_device_is_enrolled_with_the_keyboard_alone(alice: Page):
    open_form(alice)
    alice.get_by_label("Name").focus()
    for _ in range(10):
        alice.keyboard.press("Tab")
        if alice.evaluate("document.activeElement.hasAttribute('data-one-click')"):
            break
    alice.keyboard.press("Enter")
    expect(alice.get_by_role("heading", name=TITLE)).to_be_visible()
    alice.keyboard.press("Tab")  # the panel has the focus, and Download comes first
    with alice.expect_download():
        alice.keyboard.press("Enter")


def test_leaving_asks_until_the_configuration_is_kept(alice: Page, stack: Stack, tmp_path):
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    alice.on("dialog", stay)
    enrol(alice, "Asks")
    alice.evaluate("location.href = '/admin/'")
    alice.wait_for_timeout(300)
    assert asked == ["beforeunload"]
    expect(alice.get_by_role("heading", name=TITLE)).to_be_visible()
    download(alice, tmp_path)
    alice.goto("/")
    assert asked == ["beforeunload"]


def test_done_leads_to_the_device_without_asking(alice: Page, stack: Stack):
    alice.on("dialog", lambda dialog: pytest.fail("it asked"))
    enrol(alice, "Done")
    path = device_path(alice)
    alice.get_by_role("link", name="Done").click()
    expect(alice.get_by_role("heading", name="Done")).to_be_visible()
    assert device_path(alice) == path


def test_after_a_reload_or_a_step_back_there_is_no_key_in_the_page(alice: Page, stack: Stack):
    alice.on("dialog", lambda dialog: dialog.accept())
    enrol(alice, "Reloaded")
    private_key = private_key_in(shown_text(alice))
    alice.reload()
    expect(alice.get_by_role("heading", name="Reloaded")).to_be_visible()
    assert found_in(alice.content().encode(), private_key) == []
    enrol(alice, "Stepped back")
    private_key = private_key_in(shown_text(alice))
    alice.goto("/accounts/logout/")
    alice.go_back()
    expect(alice.get_by_role("heading", name="Stepped back")).to_be_visible()
    assert found_in(alice.content().encode(), private_key) == []


def test_the_text_is_in_the_page_only_while_it_is_shown(alice: Page):
    enrol(alice, "Shown")
    conf = shown_text(alice)
    private_key = private_key_in(conf)
    alice.locator("summary", has_text="Show the configuration").click()
    expect(alice.locator("pre")).to_have_text("")
    assert found_in(alice.content().encode(), private_key) == []


def test_copy_puts_the_whole_configuration_on_the_clipboard(alice: Page, context: BrowserContext):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    enrol(alice, "Copied")
    alice.get_by_role("button", name="Copy").click()
    expect(alice.get_by_text("Clear the clipboard")).to_be_visible()
    assert alice.evaluate("navigator.clipboard.readText()") == shown_text(alice)


def drop(page: Page, name: str, content: str) -> None:
    """Drop a file on the page, as a browser does when one is dragged in."""
    page.evaluate(
        """([name, content]) => {
            const data = new DataTransfer();
            data.items.add(new File([content], name));
            document.querySelector("main").dispatchEvent(
                new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
        }""",
        [name, content],
    )


def whole_conf(private_key: str) -> str:
    return f"[Interface]\nPrivateKey = {private_key}\n[Peer]\nPublicKey = {rows.public_key()}\n"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("wg0.conf", whole_conf, "This holds a private key"),
        ("privatekey", lambda key: key, "This holds a private key"),
        ("peer.conf", lambda key: f"[Peer]\nPublicKey = {rows.public_key()}\n", "a whole configuration"),
        ("notes.txt", lambda key: "nothing", "There is no public key here"),
    ],
)
def test_a_dropped_file_that_is_not_a_public_key_is_refused_and_never_sent(
    alice: Page, recorder: Recorder, name, content, sentence
):
    private_key = keys.generate_private_key()
    open_form(alice)
    before = len(recorder.posts)
    drop(alice, name, content(private_key))
    expect(alice.locator("#public_key-error")).to_contain_text(sentence)
    expect(alice.get_by_label("Public key", exact=True)).to_have_value("")
    assert len(recorder.posts) == before
    assert found_in(recorder.everything(alice) + alice.content().encode(), private_key) == []


def test_a_pasted_configuration_is_refused_before_it_is_sent(
    alice: Page, context: BrowserContext, recorder: Recorder
):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    private_key = keys.generate_private_key()
    open_form(alice)
    alice.locator("summary", has_text="Use my own key").click()
    field = alice.get_by_label("Public key", exact=True)
    alice.evaluate("text => navigator.clipboard.writeText(text)", whole_conf(private_key))
    field.press("Control+V")
    expect(alice.locator("#public_key-error")).to_contain_text("This holds a private key")
    expect(field).to_have_value("")
    field.fill(f"PrivateKey = {private_key}")  # typed, which no paste event tells of
    alice.get_by_role("button", name="Enrol with this key").click()
    expect(alice.locator("#public_key-error")).to_contain_text("This holds a private key")
    expect(field).to_have_value("")
    assert recorder.posts == []
    assert found_in(recorder.everything(alice), private_key) == []


@pytest.mark.parametrize("text", ["{}\n", "PublicKey = {}\n", "# my key\npublic key: {}\r\n"])
def test_a_dropped_public_key_is_filled_in_and_enrolled_by_enter(alice: Page, text):
    key = rows.public_key()
    open_form(alice)
    alice.get_by_label("Name").fill("Dropped")
    drop(alice, "key.txt", text.format(key))
    field = alice.get_by_label("Public key", exact=True)
    alice.locator("summary", has_text="Use my own key").click()
    expect(field).to_have_value(key)
    field.press("Enter")
    expect(alice.get_by_role("link", name="Download configuration")).to_be_visible()
    assert Peer.objects.filter(keys__public_key=key).count() == 1


def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_key(alice: Page, recorder: Recorder):
    open_form(alice)
    alice.get_by_label("Name").fill("Retried")

    answers: list[int] = []

    def lose_the_first_answer(route):
        if answers:
            return route.continue_()
        answers.append(route.fetch().status)
        return route.abort("connectionreset")

    alice.route("/", lose_the_first_answer)
    alice.get_by_role("button", name="Enrol this device").click()
    expect(alice.get_by_text("The connection was lost")).to_be_visible()
    with alice.expect_response("/") as second:
        alice.get_by_role("button", name="Enrol this device").click()
    expect(alice.get_by_role("heading", name=TITLE)).to_be_visible()
    assert (answers, second.value.status) == ([201], 200)
    assert Peer.objects.filter(name="Retried").count() == 1


def test_a_double_click_enrols_once(alice: Page, recorder: Recorder):
    open_form(alice)
    alice.get_by_label("Name").fill("Twice")
    alice.get_by_role("button", name="Enrol this device").dblclick()
    expect(alice.get_by_role("heading", name=TITLE)).to_be_visible()
    assert len(recorder.posts) == 1
    assert Peer.objects.filter(name="Twice").count() == 1


def test_only_five_fields_are_sent_to_enrol(alice: Page, recorder: Recorder):
    enrol(alice, "Fields")
    ((_, body),) = recorder.posts
    assert set(re.findall(rb'name="(\w+)"', body)) == {
        b"csrfmiddlewaretoken", b"name", b"platform", b"public_key",
    }  # fmt: skip


def test_a_refusal_of_the_server_is_said_beside_its_field(alice: Page):
    open_form(alice)
    alice.get_by_label("Name").fill("a/b")
    alice.get_by_role("button", name="Enrol this device").click()
    expect(alice.locator("#name-error")).to_contain_text("A name is made of")
    expect(alice.get_by_label("Name")).to_be_focused()


def test_a_sign_in_that_has_ended_is_said_in_a_sentence(alice: Page, context: BrowserContext):
    open_form(alice)
    context.clear_cookies(name="latchkey")
    alice.get_by_role("button", name="Enrol this device").click()
    expect(alice.get_by_text("Your sign-in has ended")).to_be_visible()


def test_a_browser_without_webcrypto_is_pointed_to_a_key_of_its_own(
    context: BrowserContext, stack: Stack, alice_signed_in
):
    cookies = [{**cookie, "domain": INSECURE_HOST} for cookie in alice_signed_in["cookies"]]
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(f"http://{INSECURE_HOST}:{urlsplit(stack.url).port}/")
    if (more := page.locator("summary", has_text="Add a device")).count():
        more.click()
    page.get_by_role("button", name="Enrol this device").click()
    expect(page.get_by_text("This browser cannot make WireGuard keys")).to_be_visible()
    expect(page.get_by_label("Public key", exact=True)).to_be_visible()


def test_without_javascript_a_pasted_key_enrols_a_device_which_is_renamed_and_revoked(
    chromium, stack: Stack, alice_signed_in
):
    with chromium.new_context(
        base_url=stack.url, java_script_enabled=False, storage_state=alice_signed_in
    ) as context:
        page = context.new_page()
        open_form(page)
        expect(page.get_by_role("button", name="Enrol this device")).to_be_hidden()
        page.get_by_label("Name").fill("Plain")
        page.locator("summary", has_text="Use my own key").click()
        page.get_by_label("Public key", exact=True).fill(rows.public_key())
        page.get_by_role("button", name="Enrol with this key").click()
        expect(page.get_by_role("link", name="Download configuration")).to_be_visible()
        page.get_by_label("Name").fill("Plain again")
        page.get_by_role("button", name="Rename").click()
        expect(page.get_by_role("heading", name="Plain again")).to_be_visible()
        page.get_by_role("link", name="Revoke this device").click()
        page.get_by_role("button", name="Revoke this device").click()
        expect(page.get_by_role("heading", name="Plain again")).to_be_visible()
        assert Peer.objects.get(name="Plain again").revoked_at


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_scrolls_sideways_or_breaks_its_own_rules(
    *, chromium, stack: Stack, alice_signed_in, recorder: Recorder, width, scheme
):
    with chromium.new_context(
        base_url=stack.url, viewport={"width": width, "height": 800}, color_scheme=scheme,
        storage_state=alice_signed_in,
    ) as context:  # fmt: skip
        recorder.watch(context)
        page = context.new_page()
        enrol(page, "A device with a rather long name as some people give")
        path = device_path(page)
        page.get_by_role("link", name="Done").click()
        for address in ("/", path, f"{path}replace-key", f"{path}revoke"):
            page.goto(address)
            assert wide(page) == 0, address
            expect(page.locator("h1").first).to_be_visible()
        assert recorder.said_by(stack.url) == []
