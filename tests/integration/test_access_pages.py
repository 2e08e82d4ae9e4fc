"""The administrator's pages about access: which groups let whom in, and what the identity brake holds."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers.models import AuditEvent, Interface, Peer
from peers.states import State, standing
from portal.models import HeldLoss, RefreshToken, User
from tests import rows
from tests.integration.conftest import use_providers
from tests.integration.pages import ADMINS_ADDRESS, staff
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


def text(answer):
    return answer.content.decode()


def test_what_is_held_is_shown_with_why_and_the_devices_that_are_on(admin, held):
    page = text(admin.get(HELD))
    assert "The identity provider no longer renews their sign-in." in page
    assert "what groups other than these admit to: guests" in page
    assert page.count("<td>1</td>") == 2
    overview = text(admin.get("/admin/"))
    assert "access of 2 people held" in overview
    assert f'href="{HELD}"' in overview
    assert {standing(peer, timezone.now()).state for peer in Peer.objects.all()} == {State.HELD}


def test_released_access_ends_for_all_and_discarded_it_stays(admin, held, settings):
    use_providers(settings, (Double().provider(issuer=held[0].issuer),))
    assert admin.post(HELD, {"word": "discard", "held": 2}).status_code == 302
    assert Peer.objects.entitled(timezone.now()).count() == 2
    assert AuditEvent.objects.filter(action="discard_access", source=ADMINS_ADDRESS).count() == 1
    for person, groups in zip(held, (None, ["guests"]), strict=True):
        HeldLoss.objects.create(person=person, reason="refused", groups=groups, found_at=timezone.now())
    assert admin.post(HELD, {"word": "release", "held": 2}).status_code == 302
    assert not Peer.objects.entitled(timezone.now()).exists()
    assert not HeldLoss.objects.exists()
    assert User.objects.get(sub="moved").groups_claim == ["guests"]
    assert "Nobody's access is held back." in text(admin.get(HELD))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"word": "release", "held": 1}, 409),
        ({"word": "burn", "held": 2}, 400),
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


def test_a_persons_page_says_what_the_provider_answered_and_never_the_token(admin, held):
    person, at = held[0], timezone.now()
    path = f"/admin/portal/user/{person.pk}/change/"
    assert "It gave no token to ask it with" in text(admin.get(path))
    row = RefreshToken.objects.create(
        person=person, provider="demo", token="s3cret-token", obtained_at=at, due_at=at
    )
    assert "It will be asked soon." in text(admin.get(path))
    RefreshToken.objects.update(answered_at=at)
    assert "It vouched for them at" in text(admin.get(path))
    RefreshToken.objects.update(failing_since=at, trouble="timeout")
    with CaptureQueriesContext(connection) as queries:
        page = text(admin.get(path))
    assert "It has not answered since" in page and "timeout" in page
    assert "s3cret-token" not in page
    assert not [query for query in queries if '"portal_refreshtoken"."token"' in query["sql"]]
    assert row.pk == person.pk


def test_a_persons_page_leads_to_what_is_held_against_them_for_whoever_decides(admin, held):
    link = f'href="{HELD}"'
    path = f"/admin/portal/user/{held[0].pk}/change/"
    assert link in text(admin.get(path))
    assert link not in text(staff("view_user").get(path))
    assert link not in text(admin.get(f"/admin/portal/user/{rows.person('other').pk}/change/"))


def test_who_could_not_be_asked_about_for_an_hour_is_counted_on_the_overview(admin, held):
    at = timezone.now()
    RefreshToken.objects.create(
        person=held[0],
        provider="demo",
        token="x",
        obtained_at=at,
        due_at=at,
        failing_since=at - timezone.timedelta(hours=1),
    )
    assert "no answer about 1 person" in text(admin.get("/admin/"))
