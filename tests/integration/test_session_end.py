"""A session ends when it is too old or unused, whoever asks finds out, and nothing brings it back."""

import re
from datetime import datetime, timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from peers import services
from peers.models import EnrolLink
from portal import break_glass, sessions
from portal.models import User
from tests import rows
from tests.integration.pages import signed_in

pytestmark = pytest.mark.usefixtures("database")

IDLE = "You were signed out after an hour without use. Your devices stay connected."
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
LOGIN = "/accounts/login/"


def aged(browser, *, began=HOUR, idle=timedelta(0)):
    """Let the browser's session have begun, and its person have done something, so long ago."""
    session, now = browser.session, timezone.now()
    session["began_at"], session["last_act_at"] = (now - began).isoformat(), (now - idle).isoformat()
    session.save()
    times = {"created_at": now - began, "last_seen_at": now - idle}
    UserSession.objects.filter(session_key=session.session_key).update(**times)
    return browser


def by_link(person, browser=None):
    """Return a browser that is signed in by a link, and so with everything that a sign-in writes."""
    browser = browser or Client()
    assert browser.post(f"/break-glass/{break_glass.issue(person, at=timezone.now())}").status_code == 302
    return browser


def link_of(browser, person, wg0):
    key = browser.session.session_key
    return services.make_link(
        actor=services.Actor(user=person), owner=person, interface=wg0, session_key=key, at=timezone.now()
    )[0]


def last_act(browser):
    return datetime.fromisoformat(browser.session["last_act_at"])


def is_signed_in(browser):
    return browser.get("/").status_code == 200


def test_a_session_without_use_is_over_and_its_person_is_told_once_why(alice, wg0):
    browser = signed_in(alice)
    link_of(browser, alice, wg0)
    aged(browser, began=2 * HOUR, idle=HOUR)
    answer = browser.get("/?interface=wg0")
    assert (answer.status_code, answer["Location"]) == (302, f"{LOGIN}?next=/%3Finterface%3Dwg0")
    assert not Session.objects.exists()
    assert not EnrolLink.objects.exists()
    assert IDLE in browser.get(answer["Location"]).content.decode()
    assert IDLE not in browser.get(answer["Location"]).content.decode()


def test_each_limit_holds_for_each_kind_of_person(alice, root, subtests):
    for person, began, idle, lasts in (
        (alice, 12 * HOUR - MINUTE, HOUR - MINUTE, True),
        (alice, 12 * HOUR, MINUTE, False),
        (alice, HOUR, HOUR, False),
        (root, 8 * HOUR - MINUTE, 14 * MINUTE, True),
        (root, 8 * HOUR, MINUTE, False),
        (root, HOUR, 15 * MINUTE, False),
    ):
        with subtests.test(person=str(person), began=began, idle=idle):
            assert is_signed_in(aged(signed_in(person), began=began, idle=idle)) is lasts


def test_a_break_glass_session_ends_like_any_other_with_its_row(root):
    browser = aged(by_link(root), began=8 * HOUR)
    assert not is_signed_in(browser)
    assert not UserSession.objects.exists()


def test_what_a_person_does_is_noted_once_a_minute(root):
    browser = aged(by_link(root), idle=59 * SECOND)
    before = Session.objects.get().session_data
    assert is_signed_in(browser)
    assert Session.objects.get().session_data == before
    aged(browser, idle=MINUTE)
    assert is_signed_in(browser)
    assert timezone.now() - last_act(browser) < MINUTE
    assert timezone.now() - UserSession.objects.get().last_seen_at < MINUTE


def test_an_open_page_that_asks_by_itself_does_not_keep_a_session_alive(alice, wg0, laptop):
    browser = signed_in(alice)
    polls = (f"/devices/{laptop.pk}/status", f"/devices/link/{link_of(browser, alice, wg0).pk}/status")
    aged(browser, idle=30 * MINUTE)
    for path in polls:
        assert browser.get(path).status_code == 200
    assert timezone.now() - last_act(browser) > 29 * MINUTE
    browser.get(laptop.get_absolute_url())
    assert timezone.now() - last_act(browser) < MINUTE


def test_an_open_page_is_told_that_its_session_is_over_and_the_sign_in_says_why(alice, wg0, laptop):
    for name in ("device", "link"):
        browser = signed_in(alice)
        link = link_of(browser, alice, wg0)
        path = f"/devices/link/{link.pk}/status" if name == "link" else f"/devices/{laptop.pk}/status"
        answer = aged(browser, idle=HOUR).get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
        assert not Session.objects.exists()
        assert IDLE in browser.get(LOGIN).content.decode()


def test_a_session_that_is_over_is_listed_nowhere(root):
    other, browser = by_link(root), by_link(root)
    for times, listed in (({"idle": 15 * MINUTE}, 0), ({"began": 8 * HOUR}, 0), ({}, 1)):
        aged(other, **times)
        page = browser.get("/accounts/sessions/").content.decode()
        assert len(re.findall(r"/accounts/sessions/\d+/end", page)) == listed


def test_a_new_sign_in_begins_anew(doubles):
    browser = Client()
    doubles[0].sign_in(browser)
    aged(browser, began=12 * HOUR - SECOND, idle=HOUR - SECOND)
    doubles[0].sign_in(browser)
    assert timezone.now() - datetime.fromisoformat(browser.session["began_at"]) < MINUTE
    assert timezone.now() - last_act(browser) < MINUTE


def test_a_session_from_before_there_were_limits_begins_when_it_is_first_seen(alice):
    browser = Client()
    browser.force_login(alice)
    assert is_signed_in(browser)
    assert is_signed_in(aged(browser))
    assert not is_signed_in(aged(browser, began=12 * HOUR))


# --- People who are out ---


def suspend(person, by):
    actor = services.Actor(user=by)
    services.suspend_person(actor=actor, person=person, at=timezone.now(), reason="left us")


def test_whoever_is_suspended_loses_their_sessions_for_good(alice, root, wg0, subtests):
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    alice.refresh_from_db()
    listed, unlisted = by_link(alice), signed_in(alice)
    link_of(listed, alice, wg0)
    bystander = signed_in(root)
    suspend(alice, by=root)
    assert not UserSession.objects.filter(user=alice).exists()
    assert not EnrolLink.objects.exists()
    # As a restoration would that forgets to end sessions.
    User.objects.filter(pk=alice.pk).update(is_active=True, suspended_at=None, suspend_reason="")
    for name, browser in {"with a row": listed, "without a row": unlisted}.items():
        with subtests.test(name):
            assert not is_signed_in(browser)
    assert is_signed_in(bystander)
    assert is_signed_in(by_link(User.objects.get(pk=alice.pk)))


def test_sessions_that_a_suspension_left_alone_end_with_the_restoration(alice, root):
    browser = signed_in(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)  # as by an earlier release
    services.restore_person(actor=services.Actor(user=root), person=alice, at=timezone.now())
    assert not is_signed_in(browser)


def test_a_sign_in_that_was_let_in_just_before_ends_with_the_others(alice):
    seen = User.objects.get(pk=alice.pk)  # as a sign-in reads the row, before its session begins
    sessions.forget(alice)
    browser = Client()
    browser.force_login(seen)
    assert not is_signed_in(browser)


def test_forgetting_ends_every_session_of_the_persons_and_nobody_elses(root):
    mine, theirs = [by_link(root), by_link(root)], by_link(rows.person("boss", is_superuser=True))
    sessions.forget(root)
    assert [is_signed_in(browser) for browser in (*mine, theirs)] == [False, False, True]
