"""Where a person is signed in: written down at each sign-in, shown to them alone, and ended by them alone."""

import re
from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, EnrolLink
from portal import break_glass, browsers
from portal.models import User
from tests import rows

pytestmark = pytest.mark.usefixtures("database")

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 "
    "Mobile/15E148 Safari/604.1"
)


@pytest.fixture
def alice():
    return rows.person("alice", is_staff=True, is_superuser=True)


def signed_in(person, user_agent=FIREFOX, address="192.0.2.1", browser=None, **headers):
    """Return a browser in which ``person`` has signed in, by a link."""
    browser = browser or Client(REMOTE_ADDR=address, headers={"user-agent": user_agent, **headers})
    token = break_glass.issue(person, at=timezone.now())
    assert browser.post(f"/break-glass/{token}").status_code == 302
    return browser


def is_signed_in(browser):
    return browser.get("/").status_code == 200


def page(browser):
    return browser.get("/accounts/sessions/").content.decode()


def words(browser):
    """Return what the page says of each session, without its marks."""
    found = re.findall(r'<li class="device">(.*?)</li>', page(browser), re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", " ", line).split()) for line in found]


def row_of(browser):
    return UserSession.objects.get(session_key=browser.session.session_key)


# --- What is written down ---


def test_signing_in_at_a_provider_is_written_down(doubles):
    browser = Client(REMOTE_ADDR="192.0.2.7", headers={"user-agent": FIREFOX})
    assert doubles[0].sign_in(browser).status_code == 302
    row = row_of(browser)
    assert (row.user, row.ip, row.user_agent) == (User.objects.get(), "192.0.2.7", FIREFOX)
    assert timezone.now() - row.created_at < timedelta(minutes=1)


def test_the_address_is_the_one_that_the_trusted_proxy_vouches_for(alice, settings):
    settings.LATCHKEY_TRUSTED_PROXY_HOPS = 1
    browser = signed_in(alice, **{"x-forwarded-for": "203.0.113.66, 198.51.100.7"})
    assert row_of(browser).ip == "198.51.100.7"


def test_a_sign_in_from_nowhere_known_is_one_all_the_same(alice):
    browser = signed_in(alice, address="")
    assert is_signed_in(browser)
    (line,) = words(browser)
    assert line.endswith("UTC")


@pytest.mark.parametrize("user_agent", ["x" * 5000, "Fire\x00fox\u202e\n", "", "\ud800"])
def test_a_hostile_user_agent_stops_no_sign_in_and_is_not_shown(alice, user_agent):
    browser = signed_in(alice, user_agent)
    assert is_signed_in(browser)
    assert len(row_of(browser).user_agent) <= 200
    assert row_of(browser).user_agent.isprintable()
    assert words(browser)[0].startswith("A browser that does not say what it is")


def test_signing_in_again_in_the_same_browser_is_one_session(alice):
    browser = signed_in(alice)
    signed_in(alice, browser=browser)
    assert UserSession.objects.count() == 1
    assert len(words(browser)) == 1


def test_another_person_in_the_same_browser_ends_the_first_ones_session(alice):
    browser = signed_in(alice)
    bob = rows.person("bob", is_superuser=True)
    signed_in(bob, browser=browser)
    assert [row.user for row in UserSession.objects.all()] == [bob]
    assert row_of(browser).user == bob


def test_rows_of_sessions_that_are_over_go_at_the_next_sign_in(alice):
    signed_in(alice).post("/accounts/logout/")
    signed_in(rows.person("bob", is_superuser=True))
    assert Session.objects.update(expire_date=timezone.now()) == 1
    last = signed_in(alice)
    assert [row.session_key for row in UserSession.objects.all()] == [last.session.session_key]


# --- What the page shows ---


def test_the_page_lists_this_browser_first_with_since_when_and_where(alice):
    browser = signed_in(alice)
    signed_in(alice, IPHONE, "2001:db8::7")
    here, there = words(browser)
    since = row_of(browser).created_at
    assert (
        here
        == f"Firefox on Linux This browser Signed in {since.day} {since:%B %Y, %H:%M} UTC, from 192.0.2.1"
    )
    assert there.startswith("Safari on iPhone End Signed in ")
    assert there.endswith("from 2001:db8::7")


def test_the_page_is_about_one_person(alice):
    signed_in(rows.person("bob", is_superuser=True), IPHONE)
    assert len(words(signed_in(alice))) == 1


def test_a_session_that_is_over_is_not_listed(alice):
    other, browser = signed_in(alice), signed_in(alice)
    Session.objects.filter(pk=other.session.session_key).update(expire_date=timezone.now())
    assert len(words(browser)) == 1


def test_there_is_nothing_to_end_where_there_is_no_other_session(alice):
    text = page(signed_in(alice))
    assert "/end" not in text
    assert "You are signed in nowhere else." in text


def test_the_key_of_no_session_is_on_the_page(alice):
    browser, other = signed_in(alice), signed_in(alice)
    assert browser.session.session_key not in page(browser)
    assert other.session.session_key not in page(browser)


def test_the_page_takes_as_many_queries_for_one_session_as_for_many(alice, django_assert_max_num_queries):
    browser = signed_in(alice)
    with django_assert_max_num_queries(10) as asked:
        page(browser)
        once = len(asked)
    for _ in range(5):
        signed_in(alice)
    with django_assert_max_num_queries(once):
        assert len(words(browser)) == 6


@pytest.mark.parametrize(
    ("user_agent", "said"),
    [
        (FIREFOX, "Firefox on Linux"),
        (IPHONE, "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Linux; Android 15) SamsungBrowser/28 Chrome/130.0 Safari/537.36", "Samsung Internet on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.5 Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) CriOS/140.0 Safari/604.1", "Chrome on iPad"),
        ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) Chrome/140.0 Safari/537.36", "Chrome on ChromeOS"),
        ("curl/8 (Windows)", "A browser on Windows"),
        ("Firefox/1", "Firefox"),
        ("<script>alert(1)</script>", "A browser that does not say what it is"),
    ],
)  # fmt: skip
def test_a_browser_is_told_in_words(user_agent, said):
    assert browsers.words(user_agent) == said


# --- Ending them ---


def test_ending_a_session_signs_that_browser_out_and_no_other(alice):
    browser, lost, third = signed_in(alice), signed_in(alice, IPHONE), signed_in(alice)
    answer = browser.post(f"/accounts/sessions/{row_of(lost).pk}/end")
    assert (answer.status_code, answer["Location"]) == (303, "/accounts/sessions/")
    assert [is_signed_in(one) for one in (browser, lost, third)] == [True, False, True]
    assert len(words(browser)) == 2


def test_signing_out_everywhere_else_leaves_this_browser_and_other_people(alice):
    browser, others = signed_in(alice), [signed_in(alice) for _ in range(3)]
    bob = signed_in(rows.person("bob", is_superuser=True))
    answer = browser.post("/accounts/sessions/end")
    assert (answer.status_code, answer["Location"]) == (303, "/accounts/sessions/")
    assert [is_signed_in(one) for one in (browser, bob, *others)] == [True, True, False, False, False]
    assert UserSession.objects.count() == 2


def test_the_buttons_on_the_page_do_it_without_a_script(alice):
    browser, other, third = signed_in(alice), signed_in(alice), signed_in(alice)
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser.cookies
    for left in (2, 1):
        shown = page(strict)
        action = re.findall(r'<form method="post" action="(/accounts/sessions/[^"]*end)"', shown)[-left]
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', shown)[1]
        assert strict.post(action, {"csrfmiddlewaretoken": token}).status_code == 303
        assert len(words(strict)) == left
    assert not is_signed_in(other)
    assert not is_signed_in(third)


def test_another_persons_session_is_not_found(alice):
    bob = signed_in(rows.person("bob", is_superuser=True))
    before = AuditEvent.objects.count()
    browser = signed_in(alice)
    for number in (row_of(bob).pk, row_of(browser).pk, 0, 10**30):
        assert browser.post(f"/accounts/sessions/{number}/end").status_code == 404
    assert is_signed_in(bob)
    assert is_signed_in(browser)
    assert AuditEvent.objects.count() == before + 2  # alice's own link


def test_a_session_is_not_ended_by_following_a_link(alice):
    browser, other = signed_in(alice), signed_in(alice)
    assert browser.get("/accounts/sessions/end").status_code == 405
    assert browser.get(f"/accounts/sessions/{row_of(other).pk}/end").status_code == 405
    assert is_signed_in(other)


def test_ending_is_on_record_with_what_was_ended_and_no_key(alice):
    browser, other = signed_in(alice), signed_in(alice, address="192.0.2.9")
    since, key = row_of(other).created_at, other.session.session_key
    browser.post("/accounts/sessions/end")
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor, event.person, event.source) == (
        "end_session",
        alice,
        alice,
        "192.0.2.1",
    )
    assert event.old == {"sessions": [{"signed_in_at": since.isoformat(), "source": "192.0.2.9"}]}
    assert key not in repr(event.__dict__)


def test_ending_nothing_is_not_on_record(alice):
    browser = signed_in(alice)
    before = AuditEvent.objects.count()
    assert browser.post("/accounts/sessions/end").status_code == 303
    assert AuditEvent.objects.count() == before


def test_an_enrolment_link_dies_with_the_session_that_made_it(alice):
    browser, other = signed_in(alice), signed_in(alice)
    wg0, actor = rows.interface(), services.Actor(user=alice)
    for one in (browser, other):
        services.make_link(
            actor=actor, owner=alice, interface=wg0, session_key=one.session.session_key, at=timezone.now()
        )
    browser.post("/accounts/sessions/end")
    assert [link.session_id for link in EnrolLink.objects.all()] == [browser.session.session_key]


def test_a_request_under_way_does_not_bring_an_ended_session_back(alice):
    browser, other = signed_in(alice), signed_in(alice)
    under_way = other.session
    assert "_auth_user_id" in under_way  # read, as its request would
    browser.post("/accounts/sessions/end")
    under_way["seen"] = True
    with pytest.raises(UpdateError):
        under_way.save()
    assert not is_signed_in(other)


def test_either_all_of_it_happens_or_nothing(alice, database):
    browser, other = signed_in(alice), signed_in(alice)
    database.sql("ALTER TABLE peers_auditevent ADD CONSTRAINT nothing_goes CHECK (action <> 'end_session')")
    with pytest.raises(Exception, match="nothing_goes"):
        browser.post("/accounts/sessions/end")
    assert is_signed_in(other)
    assert UserSession.objects.count() == 2


# --- Signing out, and the way back in ---


def test_signing_out_says_so_once_and_that_devices_stay(alice):
    browser = signed_in(alice)
    shown = browser.post("/accounts/logout/", follow=True).content.decode()
    assert "You are signed out. Your devices stay connected." in shown
    assert "You are signed out" not in browser.get("/accounts/login/").content.decode()


def test_a_suspended_persons_sessions_are_dead_by_the_row(alice):
    browser = signed_in(alice)
    User.objects.update(is_active=False)
    assert not is_signed_in(browser)


def test_who_is_restored_has_to_sign_in_again_and_a_link_from_before_is_dead(alice):
    boss, bob = rows.person("boss"), rows.person("bob", is_staff=True, is_superuser=True)
    browser, other = signed_in(alice), signed_in(bob)
    services.make_link(
        actor=services.Actor(user=alice), owner=alice, interface=rows.interface(),
        session_key=browser.session.session_key, at=timezone.now(),
    )  # fmt: skip
    by = services.Actor(user=boss)
    services.suspend_person(actor=by, person=alice, at=timezone.now(), reason="her laptop was stolen")
    services.restore_person(actor=by, person=alice, at=timezone.now())
    assert not is_signed_in(browser)
    assert not EnrolLink.objects.exists()
    assert not UserSession.objects.filter(user=alice).exists()
    assert is_signed_in(other)
    assert is_signed_in(signed_in(alice))


def test_the_first_of_several_providers_is_the_primary_button(doubles):
    shown = Client().get("/accounts/login/?next=/devices/").content.decode()
    buttons = re.findall(r'class="(button[^"]*)">(Continue with [^<]*)<', shown)
    assert buttons == [("button primary", "Continue with First"), ("button", "Continue with Second")]
    assert shown.count('name="next" value="/devices/"') == 2
