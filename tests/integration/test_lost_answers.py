"""An answer that is lost may have held the token that takes the place of the one that was asked with: what a refusal means then."""

import time
from datetime import timedelta

import pytest
from django.core.cache import cache

from peers.audit import Actor
from peers.models import AuditEvent
from portal.access import changes
from portal.access.questions import claim
from portal.access.revalidation import revalidate
from portal.models import RefreshToken, User
from tests import rows
from tests.integration import provider_double as double_
from tests.integration.conftest import free_port
from tests.integration.provider_double import TOKEN, USERINFO
from tests.integration.refreshing import BEYOND, entitled, now

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def wg0(database):
    return rows.interface()


@pytest.fixture
def alice(hire):
    return hire("alice")


@pytest.fixture
def right(idp, monkeypatch):
    monkeypatch.setattr("portal.oidc.http.BUDGET", 0.3)
    return idp.behave[TOKEN]


def hangs(handler):
    time.sleep(1)


def is_in_between(handler):
    handler.json({"error": "of a proxy"}, status=504)


def shows_a_portal_of_its_own(handler):
    handler.send(b"<h1>Welcome to the hotel</h1>", media_type="text/html")


def gives_what_cannot_be_kept(handler):
    handler.json({"access_token": "of-alice", "token_type": "Bearer", "refresh_token": "x" * 20_000})


def later(times):
    """Return a moment at which the next question is due, after so many in vain."""
    return now(2**times * BEYOND)


@pytest.mark.parametrize("loses", [hangs, is_in_between, shows_a_portal_of_its_own, double_.fails])
def test_a_refusal_after_an_answer_that_was_lost_is_no_word_on_the_person(idp, alice, right, loses):
    def rotates_and_loses_it(handler):
        idp.latest["alice"] += 1
        loses(handler)

    idp.behave[TOKEN] = rotates_and_loses_it
    assert revalidate(now()) == {"cannot_tell": 1}
    idp.behave[TOKEN] = right
    assert revalidate(later(1)) == {"cannot_tell": 1}
    assert entitled() == {"alice"}
    alice.refresh_from_db()
    assert not RefreshToken.objects.exists()
    left = alice.signed_in_at + alice.lease_limit - later(1)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)
    assert AuditEvent.objects.get(action="token_forgone").new == {"why": "answer_lost"}


@pytest.mark.parametrize(
    "meanwhile", [{"status": 503}, {"status": 429}, {"status": 401}], ids=["503", "429", "401"]
)
def test_the_doubt_outlives_whatever_comes_before_the_token_is_answered_to(idp, alice, right, meanwhile):
    def rotates_and_hangs(handler):
        idp.latest["alice"] += 1
        hangs(handler)

    for number, behaves in enumerate(
        (rotates_and_hangs, lambda handler: handler.json({}, **meanwhile), right)
    ):
        idp.behave[TOKEN] = behaves
        assert revalidate(later(number + 1)) == {"cannot_tell": 1}
    assert entitled() == {"alice"}
    assert not RefreshToken.objects.exists()


def test_a_token_that_cannot_be_kept_leaves_the_one_before_in_doubt(idp, alice, right):
    idp.behave[TOKEN] = gives_what_cannot_be_kept
    assert revalidate(now()) == {"fine": 1}
    idp.behave[TOKEN] = right
    idp.out.add("alice")
    assert revalidate(later(1)) == {"cannot_tell": 1}


def test_a_process_that_died_with_the_answer_leaves_it_in_doubt(idp, alice):
    assert len(claim(now(), 10)) == 1
    idp.out.add("alice")
    assert revalidate(now(timedelta(seconds=61))) == {"cannot_tell": 1}
    assert entitled() == {"alice"}


def test_an_answer_to_the_token_ends_the_doubt(idp, alice, right):
    idp.behave[TOKEN] = hangs
    assert revalidate(now()) == {"cannot_tell": 1}
    idp.behave[TOKEN] = right
    assert revalidate(later(1)) == {"fine": 1}
    idp.out.add("alice")
    assert revalidate(later(2)) == {"gone": 1}


@pytest.mark.parametrize("behaves", [hangs, double_.fails, double_.sends_garbage])
def test_what_goes_wrong_once_the_new_token_is_safe_leaves_no_doubt(idp, alice, right, behaves):
    asks, idp.behave[USERINFO] = idp.behave[USERINFO], behaves
    assert revalidate(now()) == {"cannot_tell": 1}
    idp.behave[USERINFO] = asks
    idp.out.add("alice")
    assert revalidate(later(1)) == {"gone": 1}
    assert entitled() == set()


def test_a_refusal_of_the_request_itself_leaves_no_doubt(idp, alice, right):
    idp.behave[TOKEN] = lambda handler: handler.json({"error": "temporarily_unavailable"}, status=429)
    assert revalidate(now()) == {"cannot_tell": 1}
    idp.behave[TOKEN] = right
    idp.out.add("alice")
    assert revalidate(later(1)) == {"gone": 1}


def test_a_process_that_died_with_the_new_token_safe_leaves_no_doubt(idp, alice, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(*_arguments, **_named):
        raise Killed

    monkeypatch.setattr("portal.access.questions.settle", dies)
    with pytest.raises(Killed):
        revalidate(now())
    monkeypatch.undo()
    idp.out.add("alice")
    assert revalidate(now(timedelta(seconds=61))) == {"gone": 1}


def test_a_provider_that_was_never_reached_leaves_no_doubt(idp, alice):
    revalidate(now())  # its description is known from here on
    right = idp.document["token_endpoint"]
    idp.document["token_endpoint"] = f"http://127.0.0.1:{free_port()}/token"
    cache.clear()
    assert revalidate(later(1)) == {"cannot_tell": 1}
    assert RefreshToken.objects.get().trouble == "unreachable"
    idp.document["token_endpoint"] = right
    cache.clear()
    idp.out.add("alice")
    assert revalidate(later(2)) == {"gone": 1}


@pytest.mark.parametrize("wrong_by", [timedelta(days=2), timedelta(days=-4000)], ids=["ahead", "behind"])
def test_a_token_is_given_up_whatever_the_clock_was_at_the_sign_in(idp, alice, wrong_by):
    User.objects.update(signed_in_at=now(wrong_by))
    changes.forgo_token(alice, why="signed_out", actor=Actor(), at=now())
    assert not RefreshToken.objects.exists()
