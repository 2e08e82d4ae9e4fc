"""Devices in the admin: found, narrowed down, shown; nothing is looked up that no filter offers."""

import re

import pytest
from django.contrib.admin import ShowFacets, site
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import services
from peers.models import PeerKey
from tests import rows
from tests.integration.pages import PEERS, names, staff


@pytest.fixture
def wg0(database):
    return rows.interface(ipv4_pool="10.0.0.0/24", ipv6_pool="fd00::/64")


# --- The list ---


def test_devices_are_found_by_name_owner_address_and_key(admin, laptop, phone, subtests):
    both = {"Alice's laptop", "Bob's phone"}
    for term, expected in {
        "": both,
        "laptop": {"Alice's laptop"},
        "ALICE": {"Alice's laptop"},
        "alice@example.com": {"Alice's laptop"},
        "bob": {"Bob's phone"},
        str(laptop.addresses[0].ip): {"Alice's laptop"},
        str(phone.addresses[1].ip): {"Bob's phone"},
        str(phone.addresses[1].ip.exploded).upper(): {"Bob's phone"},
        f"  {phone.addresses[0].ip} ": {"Bob's phone"},
        laptop.key.public_key: {"Alice's laptop"},
        "10.0.0.99": set(),
        "192.168.1.1": set(),
        "fd00::ffff:ffff:ffff:ffff": set(),
        "2001:db8::1": set(),
        laptop.key.public_key[:20]: {"Alice's laptop"},
        laptop.key.public_key[:8]: {"Alice's laptop"},
        f" {laptop.key.public_key} ": {"Alice's laptop"},
        laptop.key.public_key[:7]: set(),
        laptop.key.public_key[8:]: set(),
        "alice laptop": {"Alice's laptop"},
        "alice phone": set(),
        rows.public_key(): set(),
        "nobody": set(),
        "%": set(),
    }.items():
        with subtests.test(term):
            assert set(names(admin.get(PEERS, {"q": term}))) == expected


def test_a_device_is_found_by_a_key_that_it_had(admin, alice, laptop, phone):
    old = laptop.key.public_key
    PeerKey.objects.filter(public_key=old).update(retired_at=timezone.now())
    PeerKey.objects.create(peer=laptop, public_key=rows.public_key(), enrolled_at=timezone.now())
    assert names(admin.get(PEERS, {"q": old})) == ["Alice's laptop"]


def test_the_list_and_the_page_show_what_stands_behind_a_device(admin, laptop):
    page = admin.get(PEERS).content.decode()
    assert str(laptop.addresses[0].ip) in page
    assert "Unknown" in page
    page = admin.get(f"{PEERS}{laptop.pk}/change/").content.decode()
    assert laptop.key.public_key in page.replace("&#x2B;", "+")
    assert str(laptop.addresses[1]) in page
    for act in ("revoke", "suspend", "why"):
        assert f"{PEERS}{laptop.pk}/{act}/" in page


def test_a_page_shows_the_acts_that_one_may_do_and_that_would_change_something(admin, laptop):
    def acts(browser):
        return re.findall(
            rf'"{PEERS}{laptop.pk}/(\w+)/"', browser.get(f"{PEERS}{laptop.pk}/change/").content.decode()
        )

    assert acts(staff("view_peer")) == ["why"]
    assert acts(staff("view_peer", "suspend_peer")) == ["why", "suspend"]
    assert acts(staff("view_peer", "revoke_peer")) == ["why", "revoke"]
    services.suspend(actor=services.Actor(), peer=laptop, at=timezone.now(), reason="lost?")
    assert acts(admin) == ["why", "restore", "revoke"]
    services.revoke(actor=services.Actor(), peer=laptop, at=timezone.now())
    assert acts(admin) == ["why"]


# --- Narrowing the list down ---


def test_devices_are_narrowed_down_by_interface_platform_and_owner(
    admin, alice, wg0, laptop, phone, subtests
):
    wg1 = rows.interface("wg1")
    rows.peer(alice, wg1, "tablet", platform="ios")
    for query, expected in {
        f"interface__id__exact={wg1.pk}": ["tablet"],
        "platform__exact=ios": ["tablet"],
        f"owner__id__exact={alice.pk}": ["tablet", "Alice's laptop"],
        f"owner__id__exact={alice.pk}&platform__exact=other": ["Alice's laptop"],
        f"owner__id__exact={phone.owner_id}": ["Bob's phone"],
        "state=unknown": ["tablet", "Bob's phone", "Alice's laptop"],
        "state=connected": [],
    }.items():
        with subtests.test(query):
            assert names(admin.get(f"{PEERS}?{query}")) == expected
    assert "By owner" not in admin.get(PEERS).content.decode()
    page = admin.get(f"{PEERS}?owner__id__exact={alice.pk}").content.decode()
    assert "By owner" in page
    assert set(re.findall(r"owner__id__exact=(\d+)", page)) == {str(alice.pk)}


def test_a_filters_value_that_nobody_offers_is_refused_not_ignored(admin, laptop, subtests):
    for query in (
        "state=x",
        "handshake=year",
        "owner__id__exact=99999999",
        "owner__id__exact=x",
        f"owner__id__exact={'9' * 40}",
    ):
        with subtests.test(query):
            answer = admin.get(f"{PEERS}?{query}")
            assert (answer.status_code, answer["Location"]) == (302, f"{PEERS}?e=1")


def test_devices_are_narrowed_down_by_their_latest_handshake(admin, status, wg0, laptop, phone):
    tablet, old = (rows.peer(rows.person(), wg0, name) for name in ("tablet", "old"))
    for peer, ago in ((laptop, "59 minutes"), (phone, "23 hours"), (tablet, "6 days"), (old, "8 days")):
        status(peer, handshake=f"now() - interval '{ago}'")
    never, unheard = (rows.peer(rows.person(), wg0, name) for name in ("never", "unheard"))
    status(unheard)
    found = {
        chosen: set(names(admin.get(PEERS, {"handshake": chosen})))
        for chosen in ("hour", "day", "week", "never")
    }
    assert found == {
        "hour": {"Alice's laptop"}, "day": {"Alice's laptop", "Bob's phone"},
        "week": {"Alice's laptop", "Bob's phone", "tablet"}, "never": {"never", "unheard"},
    }  # fmt: skip
    assert never.name == "never"


# --- What is never looked up ---


SECRETS = (
    "preshared_key__startswith=g", "owner__password__startswith=x", "owner__sub__startswith=a", "configured__x=1",
    "revoke_reason__contains=x", "owner__name=Alice", "keys__public_key__startswith=A", "statuses__endpoint=x",
    "owner__is_superuser__exact=1", "revoked_by__id__exact=1", "id__startswith=0",
)  # fmt: skip


@pytest.mark.parametrize("query", SECRETS)
def test_a_device_cannot_be_looked_up_by_what_no_filter_offers(admin, laptop, query):
    assert admin.get(f"{PEERS}?{query}").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "password__startswith=x",
        "groups__name=x",
        "email__contains=a",
        "peers__preshared_key__startswith=g",
        "last_login__gt=2020-01-01",
    ],
)
def test_a_person_cannot_be_looked_up_by_what_no_filter_offers(admin, query):
    assert admin.get(f"/admin/portal/user/?{query}").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "peer/?platform__exact=%00",
        "auditevent/?actor_kind__exact=%00",
        "auditevent/?actor_kind__exact=person&actor_kind__exact=%00",
    ],
)
def test_a_sign_that_no_text_holds_is_refused(admin, laptop, query):
    assert admin.get(f"/admin/peers/{query}").status_code == 400


# --- What it costs ---


def test_nothing_is_edited_in_a_list_and_no_list_counts_its_facets():
    mine = list(site._registry.values())
    assert len(mine) >= 5
    for each in mine:
        assert list(each.list_editable) == []
    assert {type(each).__name__ for each in mine if each.show_facets != ShowFacets.NEVER} <= {
        "InterfaceAdmin"
    }


@pytest.mark.parametrize(
    "query",
    [
        "",
        "q=device",
        "q=fd00::5",
        "state=unknown",
        "state=connected",
        "handshake=never",
        "platform__exact=other",
    ],
)
def test_every_way_to_the_list_costs_as_many_queries_for_sixty_devices_as_for_ten(admin, wg0, query):
    for number in range(10):
        rows.peer(rows.person(), wg0, f"device {number}")
    admin.get(f"{PEERS}?{query}")
    with CaptureQueriesContext(connection) as ten:
        admin.get(f"{PEERS}?{query}")
    for number in range(50):
        rows.peer(rows.person(), wg0, f"device {number} more")
    with CaptureQueriesContext(connection) as sixty:
        admin.get(f"{PEERS}?{query}")
    assert len(sixty) == len(ten)


def test_the_list_costs_as_many_queries_for_sixty_devices_as_for_ten(admin, wg0):
    for number in range(10):
        rows.peer(rows.person(), wg0, f"device {number}")
    admin.get(PEERS)
    with CaptureQueriesContext(connection) as ten:
        assert len(names(admin.get(PEERS))) == 10
    for number in range(50):
        rows.peer(rows.person(), wg0, f"another {number}")
    with CaptureQueriesContext(connection) as sixty:
        assert len(names(admin.get(PEERS))) == 60
    assert len(sixty) == len(ten)
