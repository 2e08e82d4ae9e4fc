"""`renew`: once, and again and again."""

import threading

import pytest

from tests.gateway.portal_double import PEER
from tests.gateway.script.calling import ON_DASH, Renewing, eventually


def test_renewing_asks_for_what_enrolling_asked_for(script, portal):
    script.run("enrol", "--ttl=300")
    portal.will_say(200, expires_at="2026-11-26T09:00:00.000Z")
    said = script.run("renew", "--json")
    assert said["expires_at"] == "2026-11-26T09:00:00.000Z"
    assert (portal.asked[-1].path, portal.asked[-1].body) == (
        f"/api/v1/peers/{PEER['id']}/renew",
        {"ttl": 300},
    )
    script.run("renew", "--ttl=400")
    assert portal.asked[-1].body == {"ttl": 400}


@pytest.mark.parametrize(("status", "word"), [(409, "expired"), (404, "not_found")])
def test_what_has_ended_meanwhile_is_enrolled_again_with_its_key(script, portal, status, word):
    script.run("enrol", "--ttl=300", "--interface=wg0")
    portal.will_refuse(status, word)
    script.run("renew")
    assert portal.asked[-1].path.startswith("/api/v1/peers?")
    assert portal.asked[-1].body == portal.asked[0].body


@pytest.mark.parametrize("words", [[], ["--interface=wg0"]])
def test_a_key_stays_on_its_interface_whatever_the_usual_one_is_by_then(script, portal, words):
    script.run("enrol", *words)
    script.run("enrol")
    assert portal.asked[-1].body["interface"] == PEER["interface"]
    portal.will_refuse(404, "not_found")
    script.run("renew")
    assert portal.asked[-1].body["interface"] == PEER["interface"]
    portal.will_refuse(409, "key_revoked")
    script.run("enrol", "--new-key")
    assert portal.asked[-1].body["interface"] == PEER["interface"]


def test_after_a_lost_answer_the_same_key_is_enrolled(script, portal):
    portal.headers = {"Content-Length": "100000"}
    script.run("enrol", code=4)
    portal.headers = {}
    script.run("renew")
    assert len({asked.body["public_key"] for asked in portal.asked}) == 1
    assert script.conf.exists()


def test_renewing_is_refused_before_enrolling_and_after_a_revocation(script, portal):
    assert script.run("renew", "--json", code=6)["error"]["code"] == "not_enrolled"
    assert script.run("up", "--json", code=6)["error"]["code"] == "not_enrolled"
    script.run("enrol")
    portal.will_refuse(409, "not_active")
    script.run("renew", code=3)


def test_renewing_goes_on_through_an_outage_and_ends_when_it_is_told_to(script, portal):
    script.run("enrol")
    portal.will_refuse(503, "unavailable")
    portal.will_say(202, server_endpoint="")
    with Renewing(script) as process:
        eventually(lambda: len(portal.asked) >= 5)
        process.terminate()
        assert process.wait(10) == 0
    assert script.conf.exists()


@ON_DASH
@pytest.mark.parametrize("words", [[], ["--down"]])
def test_renewing_ends_at_once_even_while_the_portal_is_silent(script, portal, words):
    script.run("enrol")
    silent, answer = threading.Event(), portal.answer
    portal.answer = lambda asked: (
        answer(asked) if asked.method == "DELETE" else silent.wait(20) and (204, b"")
    )
    with Renewing(script, *words) as process:
        eventually(lambda: len(portal.asked) == 2)
        process.terminate()
        assert process.wait(2) == 0
    silent.set()
    assert (portal.asked[-1].method == "DELETE") == (script.files() == {}) == bool(words)


@ON_DASH
def test_renewing_reads_its_token_each_time(script, portal):
    script.run("enrol")
    with Renewing(script) as process:
        eventually(lambda: len(portal.asked) >= 2)
        script.token.write_text("")  # a new one is being written
        assert "no token" in process.stderr.readline()
        script.token.write_text("another")
        eventually(lambda: portal.asked[-1].token == "another")


def test_a_preshared_key_is_kept_when_nothing_else_has_changed(script, portal):
    portal.will_say(preshared_key=PEER["server_public_key"])
    script.run("enrol")
    before = script.files()
    script.run("renew")
    assert [asked.path for asked in portal.asked[1:]] == [f"/api/v1/peers/{PEER['id']}/renew"]
    assert script.files() == before


def test_renewing_ends_when_it_is_refused_and_when_the_machine_was_given_back(script, portal):
    script.run("enrol")
    portal.will_refuse(403, "not_entitled")
    with Renewing(script) as process:
        assert process.wait(20) == 3
    with Renewing(script) as process:
        eventually(lambda: len(portal.asked) >= 4)
        script.run("down")
        assert process.wait(20) == 0
    assert script.files() == {}
