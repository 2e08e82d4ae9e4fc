"""When a device was barred and when gateways read it back as gone, on its page, in the admin, in the audit and in exports."""

import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import audit, services
from peers.address_history import history
from peers.models import AuditEvent
from peers.receipt_words import told
from peers.receipts import DUE, Receipt, receipts
from peers.states import database_now
from tests import rows
from tests.integration.audit import SECOND, by, exported, text, write_event
from tests.integration.pages import AUDIT, PEERS, signed_in

MS = timedelta(milliseconds=1)


@pytest.fixture
def removed(database, status):
    """Return a function that writes that a gateway read a device back as gone ``later`` than ``at``, as gateways do."""

    def write(peer, at, later=83 * MS, name="gw1", key=None, **new):
        read_at = f"{at + later:%Y-%m-%dT%H:%M:%S.%fZ}"
        old = {"public_key": key or peer.keys.latest("pk").public_key}
        moments = {"read_back_at": read_at, **new}
        write_event(
            database, at + later + MS, "removed", peer, actor_kind="gateway", gateway=name,
            old=json.dumps(old), new=json.dumps(moments),
        )  # fmt: skip

    return write


@pytest.fixture
def off(removed, status):
    """Return a function that writes that and the status of a device that is off."""

    def write(peer, at, **columns):
        key = peer.keys.latest("pk").public_key
        removed(peer, at, **columns)
        status(peer, present="false", name=columns.get("name", "gw1"), public_key=f"'{key}'")

    return write


@pytest.fixture
def status(database):
    def write(peer, name="gw1", **columns):
        values = {
            "gateway": f"'{name}'", "peer_id": f"'{peer.pk}'", "since": "now()", "endpoint": "''", "rx_bytes": 0,
            "tx_bytes": 0, "held": "false", "problem": "''", "present": "true", **columns,
        }  # fmt: skip
        database.sql(
            f"INSERT INTO peers_peerstatus ({','.join(values)}) VALUES ({','.join(map(str, values.values()))})"
        )

    return write


def revoked(peer):
    """Revoke the device and return when, by the database."""
    services.revoke(actor=by(peer.owner), peer=peer, at=timezone.now())
    return AuditEvent.objects.get(action="revoke", peer=peer).at


# --- On pages ---


def test_a_revoked_device_says_when_it_was_revoked_and_when_it_was_off_the_network(
    admin, alice, laptop, gateway, off
):
    gateway()
    at = revoked(laptop)
    off(laptop, at)
    sentence = f"Revoked at {at:%H:%M:%S}, off the network at {at + 83 * MS:%H:%M:%S} (83 ms later)"
    browser = signed_in(alice)
    assert sentence in text(browser.get(laptop.get_absolute_url()))
    assert "gw1" not in text(browser.get(laptop.get_absolute_url()))
    assert browser.get(f"{laptop.get_absolute_url()}status").json()["receipt"].endswith(f": {sentence}")
    assert f"gw1: {sentence}" in text(admin.get(f"{PEERS}{laptop.pk}/change/"))


def test_no_page_says_off_before_every_gateway_that_has_it_has_said_so(
    admin, alice, laptop, gateway, status, off
):
    gateway()
    gateway("gw2")
    browser, page = signed_in(alice), laptop.get_absolute_url()
    assert "Taken off" not in re.sub(r"<dt hidden>.*?</dd>", "", browser.get(page).content.decode())
    key = f"'{laptop.key.public_key}'"
    status(laptop, name="gw2", public_key=key)
    at = revoked(laptop)
    off(laptop, at)
    assert receipts(laptop) == [Receipt("gw1", "revoke", at, at + 83 * MS), Receipt("gw2")]
    for shown in (text(browser.get(page)), text(admin.get(f"{PEERS}{laptop.pk}/change/"))):
        assert "gw1: Revoked at" in shown
        assert "gw2: Not yet confirmed" in shown


def test_a_gateway_that_has_it_on_again_has_confirmed_nothing(laptop, status, removed):
    at = revoked(laptop)
    removed(laptop, at)
    status(laptop, public_key=f"'{laptop.keys.get().public_key}'")
    assert receipts(laptop) == [Receipt("gw1")]


def test_a_device_that_may_be_on_has_no_receipt_and_one_that_goes_again_has_a_new_one(
    alice, laptop, database, off, removed
):
    services.suspend(actor=by(alice), peer=laptop, at=timezone.now(), reason="lost")
    first = AuditEvent.objects.get(action="suspend").at
    off(laptop, first, later=0 * MS)
    assert [one.at for one in receipts(laptop)] == [first]
    services.restore(actor=by(alice), peer=laptop)
    assert receipts(laptop) == []
    second = revoked(laptop)
    removed(laptop, second, later=7 * MS)
    assert receipts(laptop) == [Receipt("gw1", "revoke", second, second + 7 * MS)]


def test_an_end_that_nobody_caused_is_told_by_its_deadline(alice, laptop, database, off, subtests):
    at = timezone.now() - 9 * SECOND
    database.sql(f"UPDATE portal_user SET signed_in_at = now() - interval '30 days' WHERE id = {alice.pk}")
    off(laptop, at, due_at=f"{at:%Y-%m-%dT%H:%M:%S.%fZ}")
    assert [(one.after, one.milliseconds) for one in receipts(laptop)] == [(DUE, 83)]
    browser = signed_in(alice)
    with subtests.test("a sign-in that is over"):
        assert f"Sign-in over at {at:%H:%M:%S}, off the network at" in text(
            browser.get(laptop.get_absolute_url())
        )
    database.sql(f"UPDATE peers_peer SET expires_at = '{at.isoformat()}' WHERE id = '{laptop.pk}'")
    with subtests.test("an expiry"):
        assert f"Expired at {at:%H:%M:%S}, off the network at" in text(browser.get(laptop.get_absolute_url()))


# --- What it is that barred ---


def test_an_act_on_the_owner_or_on_the_key_bars_the_device_too(root, alice, laptop, phone, removed, subtests):
    for action in ("access_ended", "groups_changed"):
        with subtests.test(action):
            at = audit.record(action, services.Actor(), alice).at
            removed(laptop, at, later=0 * MS)
            assert [(one.after, one.at) for one in all_receipts(laptop)] == [(action, at)]
    with subtests.test("a person suspended"):
        services.suspend_person(actor=by(root), person=alice, at=timezone.now(), reason="left")
        at = AuditEvent.objects.get(action="suspend").at
        removed(laptop, at)
        assert [(one.after, one.at) for one in all_receipts(laptop)] == [("suspend", at)]
    with subtests.test("a replaced key, not its follower"):
        old = phone.key.public_key
        new = services.replace_key(
            actor=by(phone.owner), peer=phone, public_key=rows.public_key(), at=timezone.now()
        )
        at = AuditEvent.objects.get(action="replace_key").at
        removed(phone, at, key=old)
        assert [(one.after, one.at) for one in all_receipts(phone)] == [("replace_key", at)]
        removed(phone, at + SECOND, key=new.key.public_key)
        assert all_receipts(phone)[0].after == ""


def test_an_act_on_its_service_account_bars_a_machine_too(root, wg0, removed, off, status, gateway, subtests):
    runner = rows.account(wg0, idle_after=timedelta(minutes=5))
    peer = rows.machine(runner, wg0)
    with subtests.test("suspended"):
        services.suspend_account(actor=by(root), account=runner, at=timezone.now(), reason="leaked")
        at = AuditEvent.objects.get(action="suspend").at
        removed(peer, at, later=0 * MS)
        assert [(one.after, one.at) for one in receipts(peer)] == [("suspend", at)]
    with subtests.test("no longer allowed on the interface, not merely renamed"):
        services.restore_account(actor=by(root), account=runner)
        runner.refresh_from_db()
        services.save_account(actor=by(root), account=runner, interfaces=[])
        at = AuditEvent.objects.get(action="change_account").at
        runner.name = "another"
        services.save_account(actor=by(root), account=runner, interfaces=[])
        removed(peer, at + SECOND)
        assert [(one.after, one.at) for one in receipts(peer)] == [("change_account", at)]
    with subtests.test("ended for want of use"):
        services.save_account(actor=by(root), account=runner, interfaces=[wg0])
        gateway()
        status(peer, public_key=f"'{peer.key.public_key}'", since="now() - interval '1 hour'")
        assert services.expire_unused(actor=services.Actor(), at=database_now()) == 1
        at = AuditEvent.objects.get(action="expire").at
        removed(peer, at, name="gw2")
        one = receipts(peer)[-1]
        assert (one.gateway, one.after, one.at) == ("gw2", "expire", at)
        assert told(one, peer).startswith(f"Expired at {at:%H:%M:%S}, off the network at")


def all_receipts(peer):
    """Return the latest receipt of each gateway, whether or not the device may be on again."""
    peer.interface.enrol_groups = ["nobody"]
    peer.interface.save(update_fields=["enrol_groups"])
    return receipts(peer)


def test_an_act_that_was_answered_is_not_the_cause_of_what_comes_later(laptop, removed):
    at = revoked(laptop)
    removed(laptop, at)
    removed(laptop, at + 9 * SECOND)  # put on by hand in between
    assert receipts(laptop) == [Receipt("gw1", removed_at=at + 9 * SECOND + 83 * MS)]


def test_an_act_after_the_receipt_or_on_another_device_of_the_owner_is_not_its_cause(
    alice, wg0, laptop, removed
):
    other = rows.peer(alice, wg0)
    services.suspend(actor=by(alice), peer=other, at=timezone.now(), reason="lost")
    removed(laptop, timezone.now(), later=0 * MS)
    revoked(laptop)
    assert [one.after for one in receipts(laptop)] == [""]


def test_of_two_acts_it_is_the_later_one(alice, laptop, removed):
    services.suspend(actor=by(alice), peer=laptop, at=timezone.now(), reason="lost")
    at = revoked(laptop)
    removed(laptop, at)
    assert receipts(laptop) == [Receipt("gw1", "revoke", at, at + 83 * MS)]


def test_the_receipt_for_a_replaced_key_answers_nothing_for_its_follower(alice, laptop, removed):
    old, key = laptop.key.public_key, rows.public_key()
    services.replace_key(actor=by(alice), peer=laptop, public_key=key, at=timezone.now())
    at = revoked(laptop)
    removed(laptop, at, later=20 * MS, key=old)
    removed(laptop, at, later=50 * MS, key=key)
    assert receipts(laptop) == [Receipt("gw1", "revoke", at, at + 50 * MS)]


def test_who_had_an_address_is_told_by_when_it_was_read_back_too(laptop, database):
    at = revoked(laptop)
    moments = {"read_back_at": f"{at + MS:%Y-%m-%dT%H:%M:%S.%fZ}"}
    for minutes in (5, 3):  # the order in which they were written is not that in which they happened
        write_event(
            database, at + timedelta(minutes=minutes), "removed", laptop, actor_kind="gateway", gateway="gw1",
            new=json.dumps(moments if minutes == 5 else {}),
        )  # fmt: skip
    (spell,), _ = history(laptop.addresses[0].ip, at)
    assert spell.next_off(at) == at + MS


def test_each_gateway_answers_for_itself_and_for_nobody_elses_device(laptop, phone, removed):
    at = revoked(laptop)
    removed(laptop, at, later=20 * MS)
    removed(laptop, at, later=4 * SECOND, name="gw2")
    removed(phone, at)
    assert [(one.gateway, one.milliseconds) for one in receipts(laptop)] == [("gw1", 20), ("gw2", 4000)]
    assert [one.milliseconds for one in all_receipts(phone)] == [None]


# --- In the audit ---


def test_the_audit_says_after_what_and_how_long_a_device_was_off(admin, laptop, phone, removed):
    at = revoked(laptop)
    removed(laptop, at)
    removed(phone, at)
    page = text(admin.get(AUDIT))
    assert page.count("+83 ms after: Device revoked") == 1
    event = AuditEvent.objects.get(action="removed", peer=laptop)
    moments = [f"{moment:%H:%M:%S.%f}"[:-3] for moment in (at, at + 83 * MS)]
    detail = text(admin.get(f"{AUDIT}{event.pk}/change/"))
    assert "+83 ms after: Device revoked" in detail
    assert all(moment in detail for moment in moments)
    assert "after:" not in text(
        admin.get(f"{AUDIT}{AuditEvent.objects.get(action='removed', peer=phone).pk}/change/")
    )


def test_an_export_says_it_too(admin, laptop, removed):
    at = revoked(laptop)
    removed(laptop, at)
    removed(laptop, at + SECOND, due_at=f"{at + SECOND:%Y-%m-%dT%H:%M:%S.%fZ}")
    told = [
        (row["action"], row["after"], row["milliseconds"])
        for row in exported(admin, "jsonl", peer__id__exact=laptop.pk)
    ]
    assert told == [
        ("removed", "due", 83),
        ("removed", "revoke", 83),
        ("revoke", None, None),
        ("enrol", None, None),
    ]
    told = [
        (row["action"], row["after"], row["milliseconds"])
        for row in exported(admin, "csv", peer__id__exact=laptop.pk)
    ]
    assert told == [
        ("removed", "due", "83"),
        ("removed", "revoke", "83"),
        ("revoke", "", ""),
        ("enrol", "", ""),
    ]


def test_what_an_older_release_or_a_broken_gateway_wrote_breaks_no_page(admin, alice, laptop, database):
    at = revoked(laptop)
    for new in (
        "{}",
        '{"read_back_at": 7, "due_at": []}',
        '{"read_back_at": "2026", "due_at": "2026-02-31"}',
    ):
        write_event(
            database, at + 50 * MS, "removed", laptop, actor_kind="gateway", gateway="gw1", new=new, old='{"public_key": 1}'
        )  # fmt: skip
    assert text(admin.get(AUDIT)).count("+50 ms after: Device revoked") == 3
    assert len(exported(admin, "jsonl", action="removed")) == 3
    assert "50 ms later" in text(signed_in(alice).get(laptop.get_absolute_url()))


def test_the_list_asks_no_more_for_many_receipts_and_a_page_no_more_for_many_gateways(
    admin, alice, wg0, laptop, removed, off
):
    at = revoked(laptop)
    off(laptop, at)
    admin.get(AUDIT)
    before = cost(admin, AUDIT), cost(signed_in(alice), laptop.get_absolute_url())
    for number in range(2, 9):
        off(laptop, at, name=f"gw{number}")
        peer = rows.peer(alice, wg0)
        removed(peer, revoked(peer))
    assert (cost(admin, AUDIT), cost(signed_in(alice), laptop.get_absolute_url())) == before


def cost(browser, path):
    with CaptureQueriesContext(connection) as seen:
        assert browser.get(path).status_code == 200
    return len(seen)
