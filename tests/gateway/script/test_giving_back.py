"""`down`: revoked, and forgotten."""

import pytest

from tests.gateway.portal_double import PEER
from tests.gateway.script.calling import ON_DASH


def test_down_revokes_and_forgets_and_needs_nothing_the_second_time(script, portal):
    script.run("enrol")
    assert script.run("down", "--json")["revoked"] is True
    assert (portal.asked[-1].method, portal.asked[-1].path) == ("DELETE", f"/api/v1/peers/{PEER['id']}")
    assert script.files() == {}
    script.token.unlink()
    assert script.run("down", "--json")["revoked"] is False


def test_what_the_portal_knows_no_more_is_forgotten_too(script, portal):
    script.run("enrol")
    portal.will_refuse(404, "not_found")
    assert script.run("down", "--json")["revoked"] is True
    assert script.files() == {}


@pytest.mark.parametrize(
    ("status", "word", "code"),
    [(403, "scope_missing", 3), (404, "interface_unknown", 3), (503, "unavailable", 4)],
)
def test_what_could_not_be_revoked_is_not_forgotten(script, portal, status, word, code):
    script.run("enrol")
    before = script.files()
    portal.will_refuse(status, word)
    script.run("down", code=code)
    assert script.files() == before


@ON_DASH
@pytest.mark.parametrize(
    ("status", "word", "code"),
    [
        (409, "key_revoked", 0),
        (409, "peer_limit", 0),
        (409, "pool_exhausted", 0),
        (409, "key_in_use", 3),
        (403, "x", 3),
    ],
)
def test_down_after_a_lost_answer_forgets_only_a_key_that_has_no_place(script, portal, status, word, code):
    script.run("enrol")
    script.peer.unlink()
    portal.will_refuse(status, word)
    script.run("down", code=code)
    assert script.key.exists() == bool(code)


def test_down_after_a_lost_answer_finds_the_peer_by_its_key(script, portal):
    script.run("enrol")
    script.peer.unlink()
    script.run("down")
    assert [asked.method for asked in portal.asked] == ["POST", "POST", "DELETE"]
    assert script.files() == {}
