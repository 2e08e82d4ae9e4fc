"""The administrator's page of groups: what each opens, and whom of which provider it lets in."""

import html
import re
from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers.models import Interface
from portal.models import User
from tests import rows
from tests.integration.conftest import use_providers
from tests.integration.pages import cells, staff
from tests.integration.provider_double import Double

GROUPS, PEOPLE = "/admin/portal/user/groups/", "/admin/portal/user/"


def text(answer):
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture
def known(wg0, settings):
    """Configure the provider of all people that ``rows`` makes; wg0 asks for a group that it names."""
    Interface.objects.update(enrol_groups=["vpn-id"])
    issuer = rows.person("somebody", groups_claim=[]).issuer
    made = Double().provider(issuer=issuer, group_names={"vpn-id": "VPN users"})
    use_providers(settings, (made,))
    return made


@pytest.fixture
def two(doubles, wg0, settings):
    """Configure two providers that each have a group "employees", which wg0 asks for and the first one too."""
    Interface.objects.update(enrol_groups=["employees"])
    first, second = doubles
    use_providers(
        settings, (first.provider(allowed_groups=frozenset({"employees", "staff"})), second.provider())
    )
    for name, double in (("ann", first), ("ben", second), ("cyd", second)):
        person = rows.person(name, groups_claim=["employees", "staff"])
        User.objects.filter(pk=person.pk).update(issuer=double.issuer)


def test_the_page_says_what_each_group_opens_and_whom_it_lets_in(admin, known, settings):
    allowed, admins = frozenset({"employees"}), frozenset({"vpn-id"})
    use_providers(settings, (replace(known, allowed_groups=allowed, admin_groups=admins),))
    rows.person("ann", groups_claim=["vpn-id"])
    rows.person("out", groups_claim=["vpn-id"], access_ended_at=timezone.now(), access_end_reason="refused")
    rows.person("off", groups_claim=["vpn-id"], is_active=False)
    assert cells(admin.get(GROUPS)) == [
        ["employees", "Sign in at Double", "1: Root"],
        ["VPN users vpn-id", "Administer, from Double; Enrol on wg0", "1: Ann"],
    ]


def test_people_are_counted_with_their_own_provider(local_admin, two):
    assert cells(local_admin.get(GROUPS)) == [
        ["employees", "First", "Sign in at First; Enrol on wg0", "1: Ann"],
        ["employees", "Second", "Enrol on wg0", "2: Ben, Cyd"],
        ["employees", User.objects.get(sub="root").issuer, "Enrol on wg0", "1: Root"],
        ["staff", "First", "Sign in at First", "1: Ann"],
    ]


def test_a_group_is_called_what_its_own_provider_calls_it(local_admin, doubles, wg0, settings):
    Interface.objects.update(enrol_groups=["g1"])
    first, second = doubles
    use_providers(
        settings,
        (first.provider(group_names={"g1": "Engineering"}), second.provider(group_names={"g1": "Guests"})),
    )
    assert [row[:2] for row in cells(local_admin.get(GROUPS))] == [
        ["Engineering g1", "First"],
        ["Guests g1", "Second"],
    ]


def test_without_a_provider_the_groups_of_interfaces_are_still_there(local_admin, wg0, settings):
    use_providers(settings, ())
    Interface.objects.update(enrol_groups=["vpn"])
    assert cells(local_admin.get(GROUPS)) == [["vpn", "Enrol on wg0", "0"]]


def test_fifty_people_are_named_and_the_list_of_people_has_them_all(admin, known):
    for number in range(52):
        rows.person(f"p{number:02}", groups_claim=["vpn-id"])
    rows.person("off", groups_claim=["vpn-id"], is_active=False)
    page = text(admin.get(GROUPS))
    assert ">P49<" in page and ">P50<" not in page
    assert "and 2 more" in page
    (way,) = re.findall(r'href="([^"]*\?group=[^"]*)"', page)
    found = text(admin.get(html.unescape(way)))
    assert "52 users" in found
    assert "VPN users" in found


def test_the_list_of_people_knows_the_groups_of_two_providers_apart(local_admin, doubles, two):
    def found(group):
        page = text(local_admin.get(PEOPLE, {"group": group}))
        return {name for name in ("Ann", "Ben", "Cyd") if f">{name}</a>" in page}

    assert found(f"{doubles[0].issuer} employees") == {"Ann"}
    assert found(f"{doubles[1].issuer} employees") == {"Ben", "Cyd"}
    assert found(f"{doubles[1].issuer} nobody's") == set()


@pytest.mark.parametrize("group", ["", " ", "x", "x ", "x a\0b", "\0 a"])
def test_what_is_no_group_of_a_provider_narrows_nothing_down(admin, group):
    assert admin.get(PEOPLE, {"group": group})["Location"] == f"{PEOPLE}?e=1"


def test_what_a_group_may_enrol_on_leads_to_the_interface_for_whoever_may_see_it(admin, wg0, known):
    way = f'<a href="/admin/peers/interface/{wg0.pk}/change/">Enrol on wg0</a>'
    assert way in text(admin.get(GROUPS))
    page = text(staff("view_user").get(GROUPS))
    assert "Enrol on wg0" in page and way not in page


def test_the_lists_of_people_and_of_what_is_on_lead_to_the_groups(admin, wg0):
    way = f'href="{GROUPS}"'
    assert way in text(admin.get(PEOPLE))
    assert way in text(admin.get("/admin/"))
    assert way not in text(staff("view_interface").get("/admin/"))


def test_many_people_cost_as_many_queries_as_few(admin, two):
    def queries():
        with CaptureQueriesContext(connection) as seen:
            admin.get(GROUPS)
        return len(seen)

    few = queries()
    for number in range(30):
        rows.person(f"q{number}", groups_claim=["employees", "staff"])
    assert queries() == few
