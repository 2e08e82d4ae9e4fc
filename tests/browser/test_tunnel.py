"""From the sign-in to packets through the tunnel and to their end, with every part real."""

import base64
import re
import subprocess
import time

from playwright.sync_api import Page, expect

from deploy.demo.client import Client
from deploy.demo.netns import end
from peers.models import Peer
from tests.browser.person import PATIENCE, device_path, download, enrol, open_form, sign_in
from tests.browser.qr import by_opencv, by_zbar, photograph
from tests.browser.recorder import Recorder, found_in
from tests.stack import Stack

GATEWAY = "10.77.0.1"


def dump(stack: Stack) -> bytes:
    """Return all that the database holds, as text."""
    cluster = stack.database.cluster
    binary = str(cluster.binaries / "pg_dump")
    command = [binary, "-h", str(cluster.socket), "-U", "latchkey_owner", stack.database.name]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def server_side(stack: Stack) -> bytes:
    """Return every log and database of the portal, the gateway and the provider."""
    files = [stack.portal_log, stack.gateway.log, *stack.provider.directory.iterdir()]
    return b"\n".join([dump(stack), *(path.read_bytes() for path in files if path.is_file())])


def private_key_in(conf: str) -> str:
    return re.search(r"^PrivateKey = (\S{44})$", conf, re.MULTILINE)[1]


def last_reply(ping: "subprocess.Popen[str]") -> float:
    """Wait until there was no reply for a second, and return when the last one came, in seconds since the epoch."""
    give_up = time.monotonic() + 15
    while time.monotonic() < give_up:
        stamps = re.findall(r"^\[(\d+\.\d+)\] \d+ bytes from", ping.log.read_text(), re.MULTILINE)
        if time.time() - float(stamps[-1]) > 1:
            break
        time.sleep(0.1)
    return float(stamps[-1])


def start_ping(client: Client, log) -> "subprocess.Popen[str]":
    with log.open("wb") as output:
        process = client.namespace.popen(
            "ping", "-D", "-n", "-i", "0.01", GATEWAY, stdout=output, stderr=output
        )
    process.log = log
    return process


def test_a_laptop_is_enrolled_by_one_click_connects_and_is_cut_off_when_an_admin_revokes_it(
    *, page: Page, stack: Stack, recorder: Recorder, chromium, tmp_path, capsys
):
    sign_in(page, "alice")
    enrol(page, "Alice's laptop")
    picture = photograph(page, tmp_path / "code.png")
    file = download(page, tmp_path)
    conf = file.read_text()
    assert file.name == "Alice-s-laptop.conf"
    assert by_zbar(picture) == conf
    assert by_opencv(picture) == conf

    private_key = private_key_in(conf)
    first, *_, last = base64.b64decode(private_key)
    assert (first & 7, last & 0xC0) == (0, 0x40)  # clamped, as by wg genkey
    assert len(recorder.posts) >= 2  # the sign-in's and the enrolment's: the recorder sees bodies
    assert b'name="public_key"' in recorder.posts[-1][1]
    assert found_in(recorder.everything(page), private_key) == []

    path = device_path(page)
    expect(page.get_by_text("Waiting for the first connection")).to_be_visible()
    expect(page.locator("[data-configuration] .state")).to_have_text("Live", timeout=PATIENCE)
    with stack.connect(conf) as client:
        assert client.ping(GATEWAY, count=3).received == 3
        expect(page.locator("[data-configuration] .state")).to_have_text("Connected", timeout=PATIENCE)
        ping = start_ping(client, tmp_path / "ping.log")
        answered_at = revoke_as_carol(chromium, stack, path)
        seconds = last_reply(ping) - answered_at  # below zero: it was off before the answer came
        end(ping)
        assert client.ping(GATEWAY, count=2, timeout=1).received == 0
    with capsys.disabled():
        print(f"\n  revoked in the admin → last packet accepted: {seconds * 1000:+.0f} ms")
    assert seconds <= 5
    page.goto(path)
    expect(page.locator(".state").first).to_have_text("Revoked", timeout=PATIENCE)
    assert found_in(recorder.everything(page) + server_side(stack), private_key) == []
    assert recorder.said_by(stack.url) == []


def revoke_as_carol(chromium, stack: Stack, path: str) -> float:
    """Revoke the device in the admin and return when the answer came, in seconds since the epoch."""
    with chromium.new_context(base_url=stack.url) as context:
        page = context.new_page()
        sign_in(page, "carol")
        page.goto(f"/admin/peers/peer/{path.split('/')[2]}/revoke/")
        page.locator("[name=reason]").fill("The laptop was lost")
        with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
            page.locator("form:has([name=reason]) [type=submit]").click()
        assert answer.value.status == 302
        timing = answer.value.request.timing
        return (timing["startTime"] + timing["responseStart"]) / 1000


def test_a_device_with_a_key_of_its_own_connects_and_its_private_key_is_seen_nowhere(
    alice: Page, stack: Stack, recorder: Recorder, tmp_path
):
    private_key = run("wg", "genkey")
    public_key = run("wg", "pubkey", given=private_key)
    open_form(alice)
    alice.get_by_label("Name").fill("Server")
    alice.locator("summary", has_text="Use my own key").click()
    alice.get_by_label("Public key", exact=True).fill(public_key)
    alice.get_by_role("button", name="Enrol with this key").click()
    expect(alice.get_by_role("heading", name="Server")).to_be_visible()
    with alice.expect_download() as waiting:
        alice.get_by_role("link", name="Download configuration").click()
    text = waiting.value.path().read_text()
    assert waiting.value.suggested_filename == "Server.conf"
    assert text.count("REPLACE_WITH_YOUR_PRIVATE_KEY") == 1
    expect(alice.locator(".state").first).to_have_text("Live", timeout=PATIENCE)
    with stack.connect(text.replace("REPLACE_WITH_YOUR_PRIVATE_KEY", private_key)) as client:
        assert client.ping(GATEWAY, count=3).received == 3
        expect(alice.locator(".state").first).to_have_text("Connected", timeout=PATIENCE)
    assert found_in(recorder.everything(alice) + server_side(stack), private_key) == []
    assert Peer.objects.get(name="Server").key.public_key == public_key


def run(*command: str, given: str = "") -> str:
    return subprocess.run(
        command, input=given, capture_output=True, text=True, check=True, timeout=5
    ).stdout.strip()


def test_a_key_replaced_in_the_browser_keeps_the_address_and_ends_the_old_key(
    alice: Page, stack: Stack, recorder: Recorder, tmp_path
):
    enrol(alice, "Tablet")
    old = download(alice, tmp_path).read_text()
    path = device_path(alice)
    alice.goto(path)
    alice.get_by_role("link", name="Replace the key").click()
    alice.get_by_role("button", name="Make a new key").click()
    expect(alice.get_by_role("heading", name="Your configuration")).to_be_visible()
    new = download(alice, tmp_path).read_text()
    assert address_in(new) == address_in(old)
    assert private_key_in(new) != private_key_in(old)
    assert device_path(alice) == path
    with stack.connect(new) as client:
        assert client.ping(GATEWAY, count=2).received == 2
    with stack.connect(old) as client:
        assert client.ping(GATEWAY, count=2, timeout=1).received == 0
    for conf in (old, new):
        assert found_in(recorder.everything(alice) + dump(stack), private_key_in(conf)) == []


def address_in(conf: str) -> str:
    return re.search(r"^Address = (.+)$", conf, re.MULTILINE)[1]
