"""An owner is told once of a device of theirs that was not let in: in words that fit, and nobody else is."""

import html
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, RefusedHandshake
from portal.models import User
from tests import rows
from tests.integration.pages import HOSTILE, JSON, kept, signed_in

HOUR = timedelta(hours=1)
TRIED = "tried to connect on"


@pytest.fixture
def wg0(database):
    return rows.interface(mode="on_demand")


@pytest.fixture
def client(alice, gateway):
    gateway()
    return signed_in(alice)


@pytest.fixture
def refuse(database):
    """Return a function that writes refused handshakes of a peer, as a gateway does; each moment is SQL."""

    def write(peer, count=3, first="now() - interval '10 min'", latest="now() - interval '2 min'"):
        database.sql(
            f"""INSERT INTO peers_refusedhandshake (peer_id, count, first_at, latest_at)
            VALUES ('{peer.pk}', {count}, {first}, {latest}) ON CONFLICT (peer_id) DO UPDATE
            SET count = peers_refusedhandshake.count + EXCLUDED.count, first_at = EXCLUDED.first_at, latest_at = EXCLUDED.latest_at"""
        )

    return write


def notices(answer):
    """Return what the page says of devices that were not let in, a text each."""
    assert answer.status_code == 200
    note = answer.content.decode().partition('<div class="note told"')[2].partition("</div>")[0]
    found = re.findall(r"<p>(.*?)</p>", note, re.DOTALL)
    return [" ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split()) for text in found]


def told():
    return RefusedHandshake.objects.get().told_at


# --- Once, and to its owner alone ---


@pytest.mark.parametrize("own_page", [False, True])
def test_the_owner_is_told_once_on_whichever_page_of_theirs_comes_first(client, laptop, refuse, own_page):
    refuse(laptop)
    first, then = (laptop.get_absolute_url(), "/")[:: 1 if own_page else -1]
    (said,) = notices(client.get(first))
    at = RefusedHandshake.objects.get().latest_at
    assert said.startswith(f"Alice's laptop {TRIED} {at.day} {at:%B %Y, %H:%M} UTC and was not let in.")
    assert timezone.now() - told() < timedelta(minutes=1)
    assert notices(client.get(then)) == notices(client.get(first)) == []


def test_each_of_several_devices_is_named_in_the_list_and_one_page_tells_of_its_own_alone(
    client, alice, wg0, refuse
):
    devices = [rows.peer(alice, wg0, name) for name in ("one", "two", "three")]
    for device in devices[:2]:
        refuse(device)
    assert [said.split()[0] for said in notices(client.get(devices[0].get_absolute_url()))] == ["one"]
    assert [said.split()[0] for said in notices(client.get("/"))] == ["two"]
    assert notices(client.get("/")) == []


def test_others_are_not_told_and_do_not_use_it_up(client, laptop, refuse, admin):
    refuse(laptop)
    other = signed_in(rows.person("bob"))
    assert notices(other.get("/")) == notices(admin.get("/")) == []
    assert other.get(laptop.get_absolute_url()).status_code == 404
    assert admin.get(laptop.get_absolute_url()).status_code == 404
    assert Client().get("/").status_code == 302
    assert admin.get(f"/admin/peers/peer/{laptop.pk}/why/").status_code == 200
    assert told() is None
    assert len(notices(client.get("/"))) == 1


def test_more_of_the_same_are_no_news_and_those_after_an_hour_without_any_are(client, laptop, refuse):
    refuse(laptop)
    assert len(notices(client.get("/"))) == 1
    RefusedHandshake.objects.update(told_at=timezone.now() - timedelta(minutes=5))
    refuse(laptop, latest="now()")
    assert notices(client.get("/")) == []
    RefusedHandshake.objects.update(told_at=timezone.now() - 2 * HOUR)
    refuse(laptop, first="now()", latest="now()")
    assert len(notices(client.get("/"))) == 1
    assert notices(client.get("/")) == []


def test_what_begins_anew_while_the_page_is_made_is_not_told_with_it(client, laptop, refuse):
    refuse(laptop)
    shown = RefusedHandshake.objects.get()
    refuse(laptop, first="now()", latest="now()")
    services.note_told([shown])
    assert told() is None


def test_it_is_told_once_also_where_the_clock_was_put_back(client, laptop, refuse):
    refuse(laptop, first="now() + interval '10 years'", latest="now() + interval '10 years'")
    assert len(notices(client.get("/"))) == 1
    assert notices(client.get("/")) == []


# --- Nothing is lost ---


@pytest.mark.parametrize("path", ["", "status"])
def test_neither_a_head_nor_the_page_that_polls_uses_it_up(client, laptop, refuse, path):
    refuse(laptop)
    assert client.head(f"{laptop.get_absolute_url()}{path}").status_code == 200
    assert client.head("/").status_code == 200
    assert client.get(f"{laptop.get_absolute_url()}status", headers=JSON).status_code == 200
    assert client.get("/", headers={"Sec-Purpose": "prefetch"}).status_code == 200
    assert told() is None


def test_a_page_that_cannot_be_made_leaves_it_for_the_next(client, laptop, refuse, monkeypatch):
    refuse(laptop)
    client.raise_request_exception = False
    with monkeypatch.context() as broken:
        broken.setattr("peers.views.telling.render", lambda *_: 1 / 0)
        assert client.get("/").status_code == 500
    assert told() is None
    assert len(notices(client.get("/"))) == 1


def test_a_form_that_is_refused_comes_back_with_it(client, laptop, refuse):
    refuse(laptop)
    answer = client.post(f"{laptop.get_absolute_url()}rename", {"name": "a/b"})
    assert answer.status_code == 400
    assert TRIED in answer.content.decode()
    assert told() is not None


def test_to_be_told_changes_no_device_and_is_not_in_the_audit(client, laptop, refuse):
    refuse(laptop)
    before = kept()
    assert len(notices(client.get("/"))) == 1
    assert kept() == before


def test_the_list_asks_as_often_for_ten_that_were_told_of_as_for_none(client, alice, wg0, laptop, refuse):
    client.get("/")
    with CaptureQueriesContext(connection) as none:
        client.get("/")
    for number in range(9):
        refuse(rows.peer(alice, wg0, f"device {number}"))
    assert len(notices(client.get("/"))) == 9
    with CaptureQueriesContext(connection) as ten:
        client.get("/")
    assert len(ten) == len(none)


# --- What it says ---

REPLACED = "UPDATE peers_peerkey SET enrolled_at = now() - interval '5 min'"
STATES = {
    "renewed by the sign-in": ("", "It is ready now: connect again."),
    "connected again": (
        "UPDATE peers_peerstatus SET present = true, latest_handshake = now()",
        "It is connected again: there is nothing to do.",
    ),
    "signed out": (
        "UPDATE portal_user SET signed_in_at = now() - interval '8 days'",
        "Your last sign-in is too long ago. Sign in again, and the device is back as it was.",
    ),
    "access ended": (
        "UPDATE portal_user SET access_ended_at = now() - interval '1 hour', access_end_reason = 'refused'",
        "Your company's sign-in no longer vouches for you. Sign in again",
    ),
    "expired": (
        "UPDATE peers_peer SET expires_at = now() - interval '1 hour'", "Its time is over. Enrol the device again."
    ),
    "suspended": (
        "UPDATE peers_peer SET suspended_at = now() - interval '1 hour', suspend_reason = 'Audit'",
        "An administrator has paused it. Ask them to let it back in.",
    ),
    "revoked": ("UPDATE peers_peer SET revoked_at = now() - interval '1 hour'", "It was revoked, and nobody gets in with it."),
    "revoked, and the gateway silent": (
        "UPDATE peers_peer SET revoked_at = now(); UPDATE peers_gatewaystatus SET heartbeat_at = now() - interval '1 day'",
        "It was revoked, and nobody gets in with it.",
    ),
    "an old key": (REPLACED, "it connects with the configuration made then, and with no older one"),
    "put aside": (
        "UPDATE peers_peerstatus SET problem = 'It is odd.'", "The network cannot use this device's entry.",
    ),
}  # fmt: skip


@pytest.fixture
def seen(client, alice, wg0, status):
    """A device that was on an hour ago."""
    made = rows.peer(alice, wg0, "Laptop", at=timezone.now() - HOUR)
    status(made, present="false", since="now() - interval '30 min'", handshake="now() - interval '1 hour'")
    return made


@pytest.mark.parametrize("case", STATES)
def test_it_says_what_to_do_as_the_device_stands_now(client, database, seen, refuse, case):
    sql, words = STATES[case]
    refuse(seen)
    if sql:
        database.sql(sql)
    (said,) = notices(client.get(seen.get_absolute_url()))
    assert words in said


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE peers_gatewaystatus SET heartbeat_at = now() - interval '1 day'",
        "UPDATE peers_peer SET suspended_at = now() - interval '1 min'; UPDATE peers_peerstatus SET present = true",
    ],
)
def test_it_waits_until_it_can_be_said_how_the_device_stands(client, database, seen, refuse, sql):
    refuse(seen)
    database.sql(sql)
    assert notices(client.get("/")) == []
    assert told() is None


def test_a_key_that_was_replaced_after_the_last_try_is_ready(client, database, seen, refuse):
    refuse(seen)
    database.sql("UPDATE peers_peerkey SET enrolled_at = now() - interval '1 min'")
    assert "It is ready now: connect again." in notices(client.get("/"))[0]


@pytest.mark.parametrize("over", [False, True])
def test_the_list_offers_the_sign_in_only_where_that_brings_the_device_back(client, seen, refuse, over):
    refuse(seen)
    if over:
        User.objects.update(signed_in_at=timezone.now() - timedelta(days=8))
    page = client.get("/").content.decode()
    note = page.partition('<div class="note told"')[2].partition("</div>")[0]
    assert ("/accounts/oidc/demo/login/" in note) == over


def test_whose_only_device_is_revoked_is_told_above_the_form_that_enrols(client, laptop, refuse):
    services.revoke(actor=services.Actor(), peer=laptop, at=timezone.now())
    refuse(laptop)
    answer = client.get("/")
    assert "<h1>Enrol this device</h1>" in answer.content.decode()
    assert "enrol it as a new device" in notices(answer)[0]


@pytest.mark.parametrize("own_page", [False, True])
def test_a_hostile_name_is_text(client, database, laptop, refuse, own_page):
    database.sql(f"UPDATE peers_peer SET name = '{HOSTILE}'")
    refuse(laptop)
    answer = client.get(laptop.get_absolute_url() if own_page else "/")
    assert HOSTILE not in answer.content.decode()
    assert notices(answer)[0].startswith(f"{HOSTILE} {TRIED}")


# --- What stays ---


def test_the_devices_page_goes_on_saying_how_often_and_when(client, laptop, refuse):
    refuse(laptop, count=1)
    client.get("/")
    page = client.get(laptop.get_absolute_url()).content.decode()
    assert re.search(r"<dt>Not let in</dt><dd>1 time, on <time", page)
    refuse(laptop, count=41)
    assert "42 times, the last on <time" in client.get(laptop.get_absolute_url()).content.decode()


def test_a_device_that_was_never_refused_says_nothing_of_it(client, laptop):
    assert "Not let in" not in client.get(laptop.get_absolute_url()).content.decode()


def test_the_page_of_why_it_is_not_connected_says_how_often_and_when(admin, laptop, refuse):
    why = f"/admin/peers/peer/{laptop.pk}/why/"
    assert "without being let in" not in admin.get(why).content.decode()
    refuse(laptop)
    at = RefusedHandshake.objects.get().latest_at
    sentence = (
        f"It asked for its tunnel 3 times without being let in, the last at {at:%Y-%m-%d %H:%M:%S} UTC."
    )
    assert sentence in admin.get(why).content.decode()
    assert not AuditEvent.objects.filter(action__contains="told").exists()
