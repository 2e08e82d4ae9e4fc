"""The administrator's pages about access: what the identity brake holds, what a provider answered, and who it is asked about."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers.models import AuditEvent, Interface, Peer
from peers.states import State, standing
from portal.models import HeldLoss, RefreshToken, User
from tests import rows
from tests.integration.conftest import use_providers
from tests.integration.pages import ADMINS_ADDRESS, cells, staff
from tests.integration.provider_double import Double

pytestmark = pytest.mark.usefixtures("database")

HELD = "/admin/portal/user/held/"


@pytest.fixture
def held(wg0, gateway, status):
    """Give two people whose loss of access is held: one of everything, one of a group that wg0 asks for."""
    Interface.objects.update(enrol_groups=["employees"])
    gateway()
    made = [rows.person("gone"), rows.person("moved")]
    for person, groups in zip(made, (None, ["guests"]), strict=True):
        peer = rows.peer(person, wg0, f"{person.sub}'s laptop")
        status(peer)
        reason = "refused" if groups is None else "group_lost"
        HeldLoss.objects.create(person=person, reason=reason, groups=groups, found_at=timezone.now())
    return made


def seen(admin):
    """Return until when the page shows what is held, which its forms send back."""
    return re.search(r'name="seen" value="([^"]+)"', text(admin.get(HELD)))[1]


def text(answer):
    return answer.content.decode()


def moment(at):
    return f"{at:%Y-%m-%d %H:%M:%S}"


def queries(browser, path):
    with CaptureQueriesContext(connection) as seen:
        assert browser.get(path).status_code == 200
    return len(seen)


def test_what_is_held_is_shown_with_why(admin, held):
    page = text(admin.get(HELD))
    assert "The identity provider no longer renews their sign-in." in page
    overview = text(admin.get("/admin/"))
    assert "access of 2 people held" in overview
    assert f'href="{HELD}"' in overview
    assert {standing(peer, timezone.now()).state for peer in Peer.objects.all()} == {State.HELD}


def test_each_person_is_shown_with_the_groups_and_the_devices_that_would_go(admin, held, wg0, settings):
    provider = Double().provider(issuer=held[0].issuer, group_names={"vpn-id": "VPN users"})
    use_providers(settings, (provider,))
    User.objects.filter(sub="moved").update(groups_claim=["employees", "guests", "vpn-id"])
    for name in ("d", "c", "b"):
        rows.peer(held[0], wg0, name)
    rows.peer(held[1], wg0, "suspended", at=timezone.now())
    Peer.objects.filter(name="suspended").update(suspended_at=timezone.now())
    rows.peer(held[1], rows.interface("open"), "on an interface for everyone")
    gone, moved = cells(admin.get(HELD))
    assert gone[:3] == ["Gone", "all access", "4: b, c, d and 1 more"]
    assert moved[0] == "Moved"
    assert moved[1] == "Groups: VPN users, employees Keeps: guests"
    assert moved[2] == "1: moved's laptop"
    assert f'href="/admin/peers/peer/{Peer.objects.get(name="b").pk}/change/"' in text(admin.get(HELD))


def test_of_many_groups_the_first_are_named(admin, held):
    User.objects.filter(sub="moved").update(groups_claim=[f"g{number}" for number in range(7)])
    HeldLoss.objects.filter(person=held[1]).update(groups=[])
    assert "Groups: g0, g1, g2, g3, g4 and 2 more Keeps: –" in cells(admin.get(HELD))[1][1]


def test_who_may_not_see_devices_is_told_how_many_would_go(held):
    decider = staff("change_user")
    assert [row[2] for row in cells(decider.get(HELD))] == ["1", "1"]


def test_the_page_of_what_is_held_costs_as_many_queries_for_many_people_as_for_two(admin, held, wg0):
    few = queries(admin, HELD)
    for number in range(20):
        person = rows.person(f"p{number}")
        rows.peer(person, wg0)
        HeldLoss.objects.create(person=person, reason="refused", found_at=timezone.now())
    assert queries(admin, HELD) == few


def test_released_access_ends_for_all_and_discarded_it_stays(admin, held, settings):
    use_providers(settings, (Double().provider(issuer=held[0].issuer),))
    assert admin.post(HELD, {"word": "discard", "seen": seen(admin)}).status_code == 302
    assert Peer.objects.entitled(timezone.now()).count() == 2
    assert AuditEvent.objects.filter(action="discard_access", source=ADMINS_ADDRESS).count() == 1
    for person, groups in zip(held, (None, ["guests"]), strict=True):
        HeldLoss.objects.create(person=person, reason="refused", groups=groups, found_at=timezone.now())
    assert admin.post(HELD, {"word": "release", "seen": seen(admin)}).status_code == 302
    assert not Peer.objects.entitled(timezone.now()).exists()
    assert not HeldLoss.objects.exists()
    assert User.objects.get(sub="moved").groups_claim == ["guests"]
    assert "Nobody's access is held back." in text(admin.get(HELD))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"word": "release", "seen": "2026-01-01T00:00:00+00:00"}, 409),
        ({"word": "release", "seen": "yesterday"}, 400),
        ({"word": "burn", "seen": "2126-01-01T00:00:00+00:00"}, 400),
        ({"word": "release"}, 400),
        ({}, 400),
    ],
)
def test_more_than_was_agreed_to_and_what_makes_no_sense_changes_nothing(admin, held, form, expected):
    assert admin.post(HELD, form).status_code == expected
    assert HeldLoss.objects.count() == 2


def test_an_explicit_suspension_decides_what_was_held(admin, held):
    admin.post(f"/admin/portal/user/{held[0].pk}/suspend/", {"reason": "left"})
    assert list(HeldLoss.objects.values_list("person", flat=True)) == [held[1].pk]


@pytest.fixture
def asked(wg0):
    """Give the page of a person with a device, of whom the provider gave a token that is asked with in an hour."""
    person, at = rows.person("asked"), timezone.now()
    rows.peer(person, wg0)
    RefreshToken.objects.create(
        person=person, provider="demo", token="s3cret-token", obtained_at=at, due_at=at + timedelta(hours=1)
    )
    return f"/admin/portal/user/{person.pk}/change/"


def test_a_persons_page_says_what_the_provider_answered_and_never_the_token(admin, asked):
    at = timezone.now()
    RefreshToken.objects.update(answered_at=at)
    assert f"It vouched for them at {moment(at)} UTC." in text(admin.get(asked))
    RefreshToken.objects.update(failing_since=at, trouble="timeout")
    with CaptureQueriesContext(connection) as seen:
        page = text(admin.get(asked))
    assert f"It has not answered since {moment(at)} UTC: timeout." in page
    assert "s3cret-token" not in page
    assert not [query for query in seen if '"portal_refreshtoken"."token"' in query["sql"]]


def test_a_persons_page_says_when_the_provider_is_asked_next(admin, asked):
    due = RefreshToken.objects.get().due_at
    assert f"It will be asked next at {moment(due)} UTC." in text(admin.get(asked))
    RefreshToken.objects.update(due_at=timezone.now())
    assert "It will be asked soon." in text(admin.get(asked))
    RefreshToken.objects.all().delete()
    assert "There is no token to ask it with" in text(admin.get(asked))


def test_a_persons_page_says_that_nobody_asks_about_who_has_left(admin, asked):
    User.objects.filter(sub="asked").update(is_active=False)
    page = text(admin.get(asked))
    assert "Nobody asks while they neither signed in lately nor have a device that may be on." in page
    assert "asked next" not in page


def test_a_persons_page_does_not_say_that_the_provider_vouches_for_whoever_it_spoke_against(admin, asked):
    at = timezone.now()
    RefreshToken.objects.update(answered_at=at)
    HeldLoss.objects.create(person=User.objects.get(sub="asked"), reason="refused", found_at=at)
    page = text(admin.get(asked))
    assert f"It answered at {moment(at)} UTC, and what follows from that is held back." in page
    assert "vouched" not in page


def test_what_the_provider_answered_costs_a_persons_page_one_query(admin, asked):
    with CaptureQueriesContext(connection) as seen:
        admin.get(asked)
    assert len([query for query in seen if 'FROM "portal_refreshtoken"' in query["sql"]]) == 1


def test_a_persons_page_leads_to_what_is_held_against_them_for_whoever_decides(admin, held):
    link = f'href="{HELD}"'
    path = f"/admin/portal/user/{held[0].pk}/change/"
    assert link in text(admin.get(path))
    assert link not in text(staff("view_user").get(path))
    assert link not in text(admin.get(f"/admin/portal/user/{rows.person('other').pk}/change/"))


def unanswered(person, provider):
    at = timezone.now()
    RefreshToken.objects.create(
        person=person,
        provider=provider,
        token="x",
        obtained_at=at,
        due_at=at,
        failing_since=at - timedelta(hours=1),
    )


def test_who_could_not_be_asked_about_for_an_hour_is_counted_on_the_overview(local_admin, held, settings):
    use_providers(settings, (Double("demo").provider(),))
    unanswered(held[0], "demo")
    assert "no answer about 1 person<" in text(local_admin.get("/admin/"))


def test_who_could_not_be_asked_about_is_counted_by_provider_where_there_are_several(
    local_admin, held, settings
):
    use_providers(settings, (Double("first").provider(name="100 %"), Double("second").provider()))
    for person, provider in ((held[0], "second"), (held[1], "first"), (rows.person(), "first")):
        unanswered(person, provider)
    page = text(local_admin.get("/admin/"))
    most, least = "no answer from 100 % about 2 people<", "no answer from Second about 1 person<"
    assert most in page and least in page
    assert page.index(most) < page.index(least)


def test_a_provider_that_is_configured_no_more_is_told_apart_from_the_one_that_is(
    local_admin, held, settings
):
    use_providers(settings, (Double("demo").provider(),))
    unanswered(held[0], "old")
    assert "no answer from old about 1 person<" in text(local_admin.get("/admin/"))
