"""A phone that enrols by a link from the computer: a second browser without a session, 360 pixels wide."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from peers.models import EnrolLink, Peer
from tests.browser.person import PATIENCE, device_path, download, open_form
from tests.browser.qr import by_opencv, by_zbar, photograph
from tests.browser.recorder import Recorder, found_in
from tests.browser.test_keypair import CONSTANT, WITHOUT_X25519
from tests.browser.test_page import private_key_in, wide
from tests.browser.test_tunnel import GATEWAY, dump, server_side
from tests.stack import INSECURE_HOST, Stack

ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Mobile Safari/537.36"
TITLE = "Your configuration"
INVALID = "This link is no longer valid"

Phones = Callable[..., Page]


@pytest.fixture
def phones(chromium: Browser, stack: Stack) -> Iterator[Phones]:
    """Give a function that returns a page of a new phone: a browser profile of its own."""
    with ExitStack() as contexts:

        def new_phone(**options: object) -> Page:
            wanted = {
                "viewport": {"width": 360, "height": 760},
                "user_agent": ANDROID,
                "has_touch": True,
                **options,
            }
            context: BrowserContext = contexts.enter_context(
                chromium.new_context(base_url=stack.url, **wanted)
            )
            context.set_default_timeout(10_000)
            return context.new_page()

        yield new_phone


@pytest.fixture
def phone(phones: Phones, recorder: Recorder) -> Page:
    page = phones()
    recorder.watch(page.context)
    return page


def make_link(page: Page) -> str:
    """Ask for a link on the computer and return its address, as the page shows it."""
    open_form(page)
    page.get_by_role("button", name="Enrol on the phone itself").click()
    expect(page.get_by_role("heading", name="Scan this with the phone")).to_be_visible()
    return page.get_by_label("Or send yourself the link").input_value()


def press(phone: Page) -> None:
    phone.get_by_role("button", name="Enrol this phone").click()


def enrol_by(phone: Page, url: str, name: str) -> None:
    phone.goto(url)
    phone.get_by_label("Name").fill(name)
    press(phone)
    expect(phone.get_by_role("heading", name=TITLE)).to_be_visible()


def token_of(url: str) -> bytes:
    return url.partition("#")[2].encode()


def test_a_phone_enrols_by_the_code_without_a_session_and_the_computer_turns_to_the_device(
    *, alice: Page, phone: Page, stack: Stack, recorder: Recorder, tmp_path: Path
):
    url = make_link(alice)
    assert urlsplit(url)._replace(fragment="").geturl() == f"{stack.url}/enrol/"
    picture = photograph(alice, tmp_path / "link.png")
    assert by_zbar(picture) == url
    assert by_opencv(picture) == url
    expect(alice.get_by_text("Waiting for the phone…")).to_be_visible()

    phone.goto(url)
    assert phone.url == f"{stack.url}/enrol/"
    expect(phone.get_by_label("Name")).to_have_value("Android phone")
    assert wide(phone) == 0
    phone.get_by_label("Name").fill("Alice's phone")
    press(phone)
    expect(phone.get_by_role("heading", name=TITLE)).to_be_visible()
    assert wide(phone) == 0
    conf = download(phone, tmp_path).read_text()
    assert [cookie["name"] for cookie in phone.context.cookies()] == ["latchkey-csrf"]

    alice.wait_for_url("**/devices/*/", timeout=PATIENCE)
    expect(alice.get_by_role("heading", name="Alice's phone")).to_be_visible()
    assert device_path(alice) == Peer.objects.get(name="Alice's phone").get_absolute_url()
    expect(alice.locator(".state").first).to_have_text("Live", timeout=PATIENCE)
    with stack.connect(conf) as client:
        assert client.ping(GATEWAY, count=3).received == 3

    private_key, token = private_key_in(conf), token_of(url)
    seen = recorder.everything(phone) + recorder.everything(alice) + server_side(stack)
    assert found_in(seen, private_key) == []
    assert token not in server_side(stack)
    assert token not in recorder.kept(phone)
    sent = [request for request in recorder.requests if token in request]
    assert len(sent) == 1
    assert sent[0].startswith(f"POST {stack.url}/enrol/\n".encode())
    assert token not in sent[0].partition(b"\n\n")[0].split(b"\n--")[0]
    assert recorder.said_by(stack.url) == []


def test_the_file_comes_first_on_the_phone_and_nothing_there_needs_a_sign_in(alice: Page, phone: Page):
    enrol_by(phone, make_link(alice), "File first")
    expect(phone.get_by_role("heading", name="This phone: download the file")).to_be_visible()
    expect(phone.get_by_role("link", name="Done")).to_be_hidden()
    expect(phone.get_by_text("Waiting for the first connection")).to_be_hidden()
    expect(phone.get_by_role("button", name="Enrol this phone")).to_have_count(0)


def test_a_link_works_once(alice: Page, phone: Page, phones: Phones):
    url = make_link(alice)
    enrol_by(phone, url, "The first")
    second = phones()
    second.goto(url)
    press(second)
    expect(second.get_by_role("heading", name=INVALID)).to_be_visible()
    expect(second.get_by_text("Make a new one in the portal.")).to_be_visible()
    expect(second.get_by_role("button", name="Enrol this phone")).to_be_hidden()
    assert EnrolLink.objects.get(peer__name="The first").used_at


@pytest.mark.parametrize("path", ["/enrol/", "/enrol/#never-made"])
def test_an_address_without_a_link_that_holds_says_the_same(phone: Page, path: str):
    phone.goto(path)
    if "#" in path:
        press(phone)
    expect(phone.get_by_role("heading", name=INVALID)).to_be_visible()
    expect(phone.get_by_text("Make a new one in the portal.")).to_be_visible()


def test_the_link_ends_with_the_sign_in_that_made_it_on_both_screens(alice: Page, phone: Page, stack: Stack):
    url = make_link(alice)
    session = next(c for c in alice.context.cookies() if c["name"] == "latchkey")["value"]
    phone.goto(url)
    saved = stack.database.sql(f"SELECT session_data FROM django_session WHERE session_key = '{session}'")
    stack.database.sql(
        f"UPDATE django_session SET expire_date = now() - interval '1 s' WHERE session_key = '{session}'"
    )
    try:
        press(phone)
        expect(phone.get_by_role("heading", name=INVALID)).to_be_visible()
        expect(alice.get_by_role("heading", name=INVALID)).to_be_visible(timeout=PATIENCE)
        expect(alice.locator("#link-url")).to_have_count(0)
    finally:
        assert saved
        stack.database.sql(
            f"UPDATE django_session SET expire_date = now() + interval '1 h' WHERE session_key = '{session}'"
        )


def test_a_second_link_ends_the_first_which_its_page_says_and_then_asks_no_more(
    alice: Page, recorder: Recorder
):
    make_link(alice)
    second = alice.context.new_page()
    make_link(second)
    expect(alice.get_by_role("heading", name=INVALID)).to_be_visible(timeout=PATIENCE)
    asked = len(recorder.requests)
    second.close()
    alice.wait_for_timeout(3500)  # twice as long as between two questions
    assert len(recorder.requests) == asked
    alice.get_by_role("button", name="Make a new link").click()
    expect(alice.get_by_role("heading", name="Scan this with the phone")).to_be_visible()


def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_key(alice: Page, phone: Page):
    answers: list[int] = []

    def lose_the_first_answer(route: Route) -> None:
        if route.request.method != "POST" or answers:
            return route.continue_()
        answers.append(route.fetch().status)
        return route.abort("connectionreset")

    url = make_link(alice)
    phone.route("**/enrol/", lose_the_first_answer)
    phone.goto(url)
    phone.get_by_label("Name").fill("Lost and found")
    press(phone)
    expect(phone.get_by_text("The connection was lost")).to_be_visible()
    with phone.expect_response("**/enrol/") as second:
        press(phone)
    expect(phone.get_by_role("heading", name=TITLE)).to_be_visible()
    assert (answers, second.value.status) == ([201], 200)
    assert Peer.objects.filter(name="Lost and found").count() == 1


def test_a_double_tap_enrols_once(alice: Page, phone: Page, recorder: Recorder):
    phone.goto(make_link(alice))
    phone.get_by_label("Name").fill("Tapped twice")
    phone.get_by_role("button", name="Enrol this phone").dblclick()
    expect(phone.get_by_role("heading", name=TITLE)).to_be_visible()
    assert len([url for url, _ in recorder.posts if url.endswith("/enrol/")]) == 1


def test_a_refused_name_is_said_beside_it_and_the_link_still_works(alice: Page, phone: Page):
    phone.goto(make_link(alice))
    phone.get_by_label("Name").fill("a/b")
    press(phone)
    expect(phone.locator("#name-error")).to_contain_text("A name is made of")
    expect(phone.get_by_label("Name")).to_be_focused()
    phone.get_by_label("Name").fill("A name")
    press(phone)
    expect(phone.get_by_role("heading", name=TITLE)).to_be_visible()


def test_another_link_in_the_same_tab_is_the_one_that_counts(alice: Page, phone: Page):
    first = make_link(alice)
    second = make_link(alice)
    phone.goto(first)
    press(phone)
    expect(phone.get_by_role("heading", name=INVALID)).to_be_visible()
    enrol_by(phone, second, "The second link")
    assert urlsplit(phone.url).fragment == ""


def test_a_phone_whose_browser_lacks_x25519_enrols_too(alice: Page, phone: Page):
    phone.add_init_script(WITHOUT_X25519)
    enrol_by(phone, make_link(alice), "An older phone")


def test_weak_randomness_is_said_and_nothing_is_sent(alice: Page, phone: Page, recorder: Recorder):
    url = make_link(alice)
    before = len(recorder.posts)
    phone.add_init_script(CONSTANT)
    phone.goto(url)
    press(phone)
    expect(phone.get_by_text("random numbers cannot be trusted")).to_be_visible()
    assert len(recorder.posts) == before


def test_without_a_secure_context_the_phone_is_told_so(phone: Page, stack: Stack):
    phone.goto(f"http://{INSECURE_HOST}:{urlsplit(stack.url).port}/enrol/#some-token")
    press(phone)
    expect(phone.get_by_text("This browser cannot make WireGuard keys")).to_be_visible()


def test_without_javascript_the_phone_is_led_to_the_sign_in(alice: Page, phones: Phones):
    plain = phones(java_script_enabled=False)
    plain.goto(make_link(alice))
    said = plain.locator("noscript section")  # by its tag: Playwright's other ways leave <noscript> out
    expect(said).to_be_visible()
    expect(said).to_contain_text("This link needs JavaScript")
    expect(plain.get_by_role("button", name="Enrol this phone")).to_be_hidden()
    said.locator("a").click()
    expect(plain.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_code_can_be_read_in_both_colour_schemes_on_a_narrow_page(
    *, chromium: Browser, stack: Stack, alice_signed_in: dict, tmp_path: Path, scheme: str
):
    with chromium.new_context(
        base_url=stack.url,
        viewport={"width": 360, "height": 760},
        color_scheme=scheme,
        storage_state=alice_signed_in,
    ) as context:
        page = context.new_page()
        url = make_link(page)
        assert wide(page) == 0
        picture = photograph(page, tmp_path / "link.png")
        assert (by_zbar(picture), by_opencv(picture)) == (url, url)


def test_the_link_is_in_no_row_of_the_database(alice: Page, phone: Page, stack: Stack):
    url = make_link(alice)
    kept = dump(stack)
    assert token_of(url) not in kept
    assert re.search(rb"[0-9a-f]{64}", kept)  # its hash is
