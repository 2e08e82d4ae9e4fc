"""The overview at /admin/: what is wrong stands first, nobody sees more than their rights, and nothing grows with the peers."""

import html
import re
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers.admin.overview import figures
from peers.admin.overview.judgement import Counts, InterfaceLine, ago
from peers.models import Interface, Peer
from portal.admin_site import Site
from tests import rows
from tests.integration.overview import INDEX, fact, page, quarter, release, sampled, text
from tests.integration.pages import HOSTILE, staff, title


@pytest.fixture
def wg0(database):
    return rows.interface(ipv4_pool="10.0.0.0/24", ipv6_pool=None, device_limit=1000)


# --- Gateways ---


def test_a_gateway_that_reports_is_shown_with_what_it_says(admin, gateway):
    gateway(drift_found=7, left_alone=f"'{{{rows.public_key()},{rows.public_key()}}}'")
    found = page(admin)
    assert "wg0 on gw1 ✓ reporting" in text(found)
    assert re.fullmatch(r"\d seconds? ago", *fact(found, "Last heartbeat"))
    assert fact(found, "Drift repaired") == ["7 peers"]
    assert fact(found, "Unknown, left alone") == ["2 peers"]
    assert fact(found, "Version") == ["1.2.3"]
    assert re.fullmatch(r"\d+ \w+ \d{4}, \d\d:\d\d:\d\d UTC", *fact(found, "Last good pass"))
    assert "Nothing needs a look." in text(found)
    assert title(found) == "Administration | Latchkey"


def test_a_silent_gateway_is_named_in_the_title(admin, gateway):
    gateway(age="2 hours", problem="'the database went away'")
    found = page(admin)
    assert title(found).startswith("1 gateway silent · Administration")
    assert re.search(r"wg0 on gw1 ⚠ silent since \d+ \w+ \d{4}, \d\d:\d\d UTC", text(found))
    assert [value.replace("\xa0", " ") for value in fact(found, "Last heartbeat")] == ["2 hours ago"]
    assert "It says: the database went away" in text(found)


def test_two_silent_gateways_are_counted(admin, gateway):
    gateway("gw1", age="16 s")
    gateway("gw2", age="1 day")
    gateway("gw3", age="5 s")
    assert title(page(admin)).startswith("2 gateways silent · ")


def test_a_gateway_without_an_interface_says_so(admin, gateway):
    gateway(attached="false")
    assert "no interface attached: a dry run" in text(page(admin))


def test_a_gateway_whose_passes_fail_is_in_trouble_before_it_is_silent(admin, gateway):
    gateway(problem="'wg: no such device'")
    assert title(page(admin)).startswith("1 gateway in trouble · ")


def test_handshakes_are_counted_where_an_interface_is_on_demand(admin, wg0, gateway):
    gateway(handshakes_admitted=41, handshakes_refused=7, handshakes_invalid=5, handshakes_dropped=3)
    gateway("gw2", on=rows.interface("wg1", mode="on_demand"), handshakes_admitted=12, handshakes_dropped=9)
    found = page(admin)
    assert fact(found, "Handshakes admitted") == ["12"]
    assert fact(found, "Refused: not entitled, or unknown") == ["0"]
    assert fact(found, "Invalid: no handshake, or an old one") == ["0"]
    assert fact(found, "Dropped in a flood, unread") == ["9"]
    assert "Nothing needs a look." in text(found)


def test_a_gateway_that_is_flooded_is_named_in_the_title(admin, wg0, gateway):
    Interface.objects.update(mode="on_demand")
    gateway(flood_at="now() - interval '5 min'")
    found = page(admin)
    assert title(found).startswith("1 gateway flooded · ")
    assert "A flood of handshakes that lead to nothing comes in, since" in text(found)
    assert "Established tunnels go on" in text(found)


def test_a_flood_is_no_news_of_a_silent_gateway_or_of_an_interface_that_is_not_on_demand(admin, wg0, gateway):
    gateway("gw1", flood_at="now()")
    gateway("gw2", on=rows.interface("wg1", mode="on_demand"), age="1 hour", flood_at="now()")
    assert title(page(admin)).startswith("1 gateway silent · Administration")
    assert "More handshakes" not in page(admin)


def test_an_interface_that_no_gateway_holds_is_told(admin, wg0):
    found = page(admin)
    assert title(found).startswith("1 interface without a gateway · ")
    assert "No gateway has reported yet." in text(found)


# --- Interfaces ---


def test_what_is_on_the_interface_is_not_known_while_its_gateway_is_silent(admin, wg0, gateway, status):
    gateway(age="16 s")
    status(rows.peer(rows.person(), wg0), handshake="now()")
    found = page(admin)
    assert (
        fact(found, "Connected now") == fact(found, "On the interface") == ["not known: no gateway reports"]
    )
    assert fact(found, "Devices entitled") == ["1"]


def test_a_dry_run_says_nothing_of_what_is_on_an_interface(admin, wg0, gateway, status):
    gateway(attached="false")
    status(rows.peer(rows.person(), wg0), handshake="now()")
    assert fact(page(admin), "Connected now") == ["not known: no gateway reports"]


def test_devices_are_counted_by_what_was_read_back(admin, wg0, gateway, status):
    owner = rows.person()
    peers = [rows.peer(owner, wg0, f"laptop {number}") for number in range(6)]
    gateway("gw1")
    gateway("gw2")
    gateway("gone", age="1 hour")
    status(peers[0], handshake="now() - interval '179 s'")
    status(peers[0], "gw2", handshake="now()")  # on two gateways, and still one device
    status(peers[1], handshake="now() - interval '181 s'")
    status(peers[2])
    status(peers[3], handshake="now()", present="false")
    status(peers[4], "gone", handshake="now()")
    found = page(admin)
    assert fact(found, "On the interface") == ["3"]
    assert fact(found, "Connected now") == ["1"]
    assert fact(found, "Devices entitled") == ["6"]


def test_a_gateway_of_two_interfaces_is_silent_on_one_of_them_alone(admin, wg0, gateway, status):
    other = rows.interface("wg1")
    gateway(on=wg0, age="1 hour")
    gateway(on=other)
    status(rows.peer(rows.person(), wg0), handshake="now()")
    status(rows.peer(rows.person(), other), handshake="now()")
    assert fact(page(admin), "Connected now") == ["not known: no gateway reports", "1"]


def test_each_gateway_counts_for_its_own_interface(admin, wg0, gateway, status):
    other = rows.interface("wg1")
    gateway("gw1", on=wg0)
    gateway("gw2", on=other)
    status(rows.peer(rows.person(), other), "gw2", handshake="now()")
    assert fact(page(admin), "Connected now") == ["0", "1"]


def test_each_interface_has_its_own_figures(admin, wg0, gateway, status):
    other = rows.interface("wg1")
    gateway(on=wg0)
    gateway(on=other)
    peer = rows.peer(rows.person(), other)
    status(peer, handshake="now()")
    found = page(admin)
    assert fact(found, "Connected now") == ["0", "1"]
    assert fact(found, "Devices entitled") == ["0", "1"]


# --- Pools ---


def test_numbers_that_rest_are_not_free(admin, wg0, gateway, database):
    gateway()
    owner = rows.person()
    resting, rested, given = (rows.peer(owner, wg0, name) for name in ("resting", "rested", "given"))
    expired = rows.peer(owner, wg0, "expired")
    database.sql(
        f"""UPDATE peers_peer SET revoked_at = now() - interval '23 hours' WHERE id = '{resting.pk}';
        UPDATE peers_peer SET revoked_at = now() - interval '25 hours' WHERE id = '{rested.pk}';
        UPDATE peers_peer SET revoked_at = now() - interval '25 hours', host = NULL WHERE id = '{given.pk}';
        UPDATE peers_peer SET expires_at = now() - interval '1 hour' WHERE id = '{expired.pk}'"""
    )
    rows.peer(rows.person(), wg0, "in use", at=timezone.now())
    found = text(page(admin))
    assert "3 of 253 addresses in use or resting (2%)" in found


def test_a_pool_that_is_nearly_full_is_told(admin, gateway, database, wg0):
    database.sql(
        "UPDATE peers_interface SET ipv4_pool = '10.0.0.0/29'"
    )  # six numbers, one the interface's own
    gateway()
    owner = rows.person()
    for number in range(4):
        rows.peer(owner, wg0, f"laptop {number}")
    assert title(page(admin)) == "Administration | Latchkey"
    rows.peer(owner, wg0, "last")
    found = page(admin)
    assert title(found).startswith("1 pool nearly full · ")
    assert "5 of 5 addresses in use or resting (100%) ⚠ nearly full" in text(found)
    assert '<rect width="100" ' in found


def test_an_endless_pool_has_no_share(admin, gateway, wg0, database):
    database.sql("UPDATE peers_interface SET ipv4_pool = NULL, ipv6_pool = 'fd00::/64'")
    gateway()
    rows.peer(rows.person(), wg0)
    found = page(admin)
    assert "1 address in use or resting; the pool has no end" in text(found)
    assert 'preserveAspectRatio="none" aria-hidden' not in found


@pytest.mark.parametrize(("used", "share"), [(0, 0), (1, 1), (126, 50), (253, 100), (300, 100)])
def test_a_share_shows_whatever_is_used_and_never_more_than_all(wg0, used, share):
    assert InterfaceLine(wg0, Counts(used=used), heard=True).share == share


# --- Rows put aside ---


def test_a_row_put_aside_stands_there_with_its_reason(admin, wg0, gateway, status):
    gateway()
    laptop = rows.peer(rows.person("alice"), wg0, "Alice's laptop")
    status(laptop, problem="'Its key is the interface''s own.'")
    status(rows.peer(rows.person("bob"), wg0, "Bob's phone"))
    found = page(admin)
    assert title(found).startswith("1 device put aside · ")
    assert f'href="/admin/peers/peer/{laptop.pk}/change/"' in found
    assert "Alice's laptop , Alice , wg0 on gw1: Its key is the interface's own." in text(found)
    assert "Bob's phone" not in text(found)


def test_the_first_rows_put_aside_are_listed_and_all_are_counted(admin, wg0, gateway, status):
    gateway()
    owner = rows.person()
    for number in range(figures.LISTED + 2):
        status(rows.peer(owner, wg0, f"laptop {number}"), problem="'broken'")
    found = page(admin)
    assert title(found).startswith("22 devices put aside · ")
    assert len(re.findall("<strong>broken</strong>", found)) == figures.LISTED
    assert "And 2 more." in text(found)


def person_named(name):
    person = rows.person()
    person.name = name
    person.save()
    return person


def test_hostile_text_is_shown_as_text(admin, wg0, gateway, status, database):
    gateway(name=HOSTILE, problem=f"'{HOSTILE}'", version=f"'{HOSTILE}'", held=1)
    peer = rows.peer(person_named(HOSTILE), wg0)
    database.sql(f"UPDATE peers_peer SET name = '{HOSTILE}'")
    status(peer, HOSTILE, problem=f"'{HOSTILE}'", held="true")
    for path in (INDEX, release(wg0)):
        found = page(admin, path)
        assert HOSTILE not in found
        assert html.escape(HOSTILE) in found
    assert text(page(admin)).count(HOSTILE) == 7


# --- Who sees what ---


BLOCKS = {
    "view_gatewaystatus": "Gateways",
    "view_interface": "Interfaces",
    "view_peer": "Of late",
}


@pytest.mark.parametrize("right", BLOCKS)
def test_staff_see_the_block_of_each_of_their_rights_and_no_other(wg0, gateway, status, right):
    gateway(age="1 hour", problem="'broken'")
    status(rows.peer(rows.person(), wg0, "Alice's laptop"), problem="'aside'")
    found = text(page(staff(right)))
    assert {words for words in BLOCKS.values() if words in found} == {BLOCKS[right]}
    assert ("Alice's laptop" in found) == (right == "view_peer")
    assert ("silent" in found) == (right == "view_gatewaystatus")


def test_staff_without_a_right_see_no_figure(wg0, gateway, status):
    gateway(age="1 hour")
    status(rows.peer(rows.person(), wg0), problem="'aside'")
    found = page(staff())
    assert 'class="overview' not in found
    assert title(found) == "Administration | Latchkey"


def test_the_site_stands_without_an_overview(wg0, admin):
    request = admin.get(INDEX).wsgi_request
    answer = Site("bare").index(request)
    assert answer.context_data["overview"] is None


# --- What it costs ---


def test_as_many_queries_for_fifty_peers_as_for_five(admin, wg0, gateway, status, database):
    gateway()
    owner, asked = rows.person(), []
    page(admin)  # what is asked once a process is not counted
    for count in (5, 45):
        for number in range(count):
            rows.peer(owner, wg0, f"laptop {number}")
        for peer in Peer.objects.exclude(statuses__gateway="gw1"):
            status(peer, handshake="now()", problem="'aside'")
            sampled(database, peer, quarter(2))
        cache.clear()
        with CaptureQueriesContext(connection) as queries:
            page(admin)
        asked.append(len(queries))
    assert asked[0] == asked[1] <= 25


def test_seconds_and_hours_are_told_in_words(wg0):
    at = timezone.now()
    assert ago(at - timedelta(seconds=1), at) == "1 second ago"
    assert ago(at + timedelta(seconds=5), at) == "0 seconds ago"
    assert ago(at - timedelta(hours=3), at).replace("\xa0", " ") == "3 hours ago"
