"""No private key of a thousand that browsers make is anywhere but in their pages; ENROLMENTS changes the number."""

import os
import re

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS, real_interfaces  # noqa: F401
from tests.browser.person import enrol, sign_in
from tests.browser.recorder import Recorder, forms_of
from tests.conftest import Database

ENROLMENTS = int(os.environ.get("ENROLMENTS", "1000"))


@pytest.mark.usefixtures("real_interfaces")
def test_no_private_key_leaves_the_page_that_made_it(cluster, template, tmp_path, capsys):
    from tests.browser.test_tunnel import server_side
    from tests.stack import Stack

    made = Database(cluster, "latchkey_thousand")
    cluster.sql(f"CREATE DATABASE {made.name} TEMPLATE {template}")
    cluster.grant_connect(made.name)
    recorder, keys = Recorder(), []
    with Stack(made, tmp_path, "--ipv4-pool=10.77.0.0/20") as stack, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(base_url=stack.url)
        recorder.watch(context)
        page = context.new_page()
        page.on("dialog", lambda dialog: dialog.accept())
        sign_in(page, "alice")
        for number in range(ENROLMENTS):
            enrol(page, f"Device {number}")
            keys.append(private_key_shown(page))
            if number % 50 == 49:
                with capsys.disabled():
                    print(f"  {number + 1} enrolled", flush=True)
        seen = recorder.everything(page) + server_side(stack)
        assert made.sql("SELECT count(*) FROM peers_peer") == str(ENROLMENTS)
        browser.close()
    assert len(set(keys)) == ENROLMENTS
    assert [key[:4] for key in keys if any(form in seen for form in forms_of(key))] == []


def private_key_shown(page) -> str:
    page.locator("summary", has_text="Show the configuration").click()
    text = page.locator("pre[data-slot=text]")
    expect(text).to_contain_text("PrivateKey = ")
    return re.search(r"^PrivateKey = (\S{44})$", text.text_content(), re.MULTILINE)[1]
