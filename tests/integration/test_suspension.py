"""Peers and people taken off for a while: at once, again at once, with who and why on record; never for ever by accident."""

from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, Peer
from peers.services.people import TOO_LONG
from portal.models import User
from tests import rows
from tests.conftest import GATEWAY, WEB
from tests.integration.test_services import SOURCE, actor, break_at, everything, listening, revoke

DAY = timedelta(days=1)


@pytest.fixture
def wg0(database):
    return rows.interface()


@pytest.fixture
def boss(wg0):
    return rows.person("boss")


@pytest.fixture
def alice(wg0):
    return rows.person("alice")


@pytest.fixture
def laptop(alice, wg0):
    return rows.peer(alice, wg0)


def suspend(peer, by, reason="lost, perhaps"):
    return services.suspend(actor=actor(by), peer=peer, at=timezone.now(), reason=reason)


def restore(peer, by, reason="found"):
    return services.restore(actor=actor(by), peer=peer, reason=reason)


def suspend_person(person, by, ago=timedelta(0), reason="on leave"):
    return services.suspend_person(actor=actor(by), person=person, at=timezone.now() - ago, reason=reason)


def restore_person(person, by, at=None, reason="back"):
    return services.restore_person(actor=actor(by), person=person, at=at or timezone.now(), reason=reason)


def entitled():
    return set(Peer.objects.entitled(timezone.now()))


def people():
    return [*everything(), list(User.objects.order_by("pk").values())]


def told_of(event):
    return (event.actor, event.actor_kind, event.source, event.person, event.peer, event.old, event.reason)


# --- A peer ---


def test_a_suspended_peer_is_not_entitled_and_a_restored_one_is_again_with_its_key_and_its_address(
    boss, laptop
):
    before = Peer.objects.values().get()
    key = laptop.key.public_key
    suspended = suspend(laptop, boss)
    assert entitled() == set()
    assert (suspended.suspend_reason, suspended.key.public_key, suspended.host) == (
        "lost, perhaps",
        key,
        laptop.host,
    )
    assert abs(suspended.suspended_at - timezone.now()) < timedelta(minutes=1)
    restore(laptop, boss)
    assert entitled() == {laptop}
    assert laptop.key.public_key == key
    assert Peer.objects.values().get() == before


def test_the_audit_says_who_suspended_and_restored_a_peer_and_why(boss, alice, laptop):
    at = suspend(laptop, boss).suspended_at
    restore(laptop, boss)
    suspended, restored = AuditEvent.objects.filter(action__in=["suspend", "restore"]).order_by("pk")
    who = (boss, "person", SOURCE, alice, laptop)
    assert told_of(suspended) == (*who, {}, "lost, perhaps")
    old = {"suspended_at": at.isoformat(), "suspend_reason": "lost, perhaps"}
    assert told_of(restored) == (*who, old, "found")


def test_suspending_or_restoring_a_peer_twice_changes_nothing(boss, laptop):
    before = everything()
    restore(laptop, boss)
    assert everything() == before
    suspend(laptop, boss)
    before = everything()
    suspend(laptop, boss, reason="another reason")
    assert everything() == before


def test_a_revoked_peer_can_be_neither_suspended_nor_restored(boss, alice, laptop):
    suspend(laptop, boss)
    revoke(laptop, alice)
    before = everything()
    for act in (suspend, restore):
        with pytest.raises(services.NotActive):
            act(laptop, boss)
    assert everything() == before


@pytest.mark.parametrize("act", [suspend, restore])
@pytest.mark.parametrize("step", ["UPDATE peers_peer", "INSERT peers_auditevent"])
def test_a_suspension_that_dies_at_a_step_never_happened(boss, laptop, database, act, step):
    if act is restore:
        suspend(laptop, boss)
    before = everything()
    event, table = step.split()
    break_at(database, table, event)
    with pytest.raises(DatabaseError, match="the disk is full"):
        act(laptop, boss)
    assert everything() == before


def test_the_gateways_are_told_of_a_suspension_and_of_its_end(boss, alice, laptop, database):
    with listening(database) as heard:
        suspend(laptop, boss)
        assert heard() == [f"peer:{laptop.pk}"]
        restore(laptop, boss)
        assert heard() == [f"peer:{laptop.pk}"]
        suspend_person(alice, boss)
        assert heard() == [f"owner:{alice.pk}"]
        restore_person(alice, boss)
        assert heard() == [f"owner:{alice.pk}"]


# --- A person ---


def test_a_suspended_persons_peers_are_cut_and_come_back_with_them(boss, alice, laptop, wg0):
    phone, others = rows.peer(alice, wg0), rows.peer(boss, wg0)
    suspended = suspend_person(alice, boss)
    assert (suspended.is_active, suspended.suspend_reason) == (False, "on leave")
    assert entitled() == {others}
    restored = restore_person(alice, boss)
    assert (restored.is_active, restored.suspended_at, restored.suspend_reason) == (True, None, "")
    assert entitled() == {laptop, phone, others}


def test_the_audit_says_who_suspended_and_restored_a_person_and_why(boss, alice):
    at = suspend_person(alice, boss).suspended_at
    restore_person(alice, boss)
    suspended, restored = AuditEvent.objects.order_by("pk")
    who = (boss, "person", SOURCE, alice, None)
    assert (suspended.action, *told_of(suspended)) == ("suspend", *who, {}, "on leave")
    old = {"suspended_at": at.isoformat(), "suspend_reason": "on leave"}
    assert (restored.action, *told_of(restored)) == ("restore", *who, old, "back")


def test_suspending_or_restoring_a_person_twice_changes_nothing(boss, alice, laptop):
    before = people()
    restore_person(alice, boss)
    assert people() == before
    suspend_person(alice, boss, ago=40 * DAY)
    before = people()
    suspend_person(alice, boss, reason="another reason")
    assert people() == before


@pytest.mark.parametrize("step", ["UPDATE portal_user", "UPDATE peers_peer", "INSERT peers_auditevent"])
def test_a_restoration_that_dies_at_a_step_never_happened(boss, alice, laptop, database, step):
    suspend_person(alice, boss, ago=31 * DAY)
    before = people()
    event, table = step.split()
    break_at(database, table, event)
    with pytest.raises(DatabaseError, match="the disk is full"):
        restore_person(alice, boss)
    assert people() == before


def test_no_audit_row_means_no_suspension_of_a_person(boss, alice, database):
    before = people()
    break_at(database, "peers_auditevent", "INSERT")
    with pytest.raises(DatabaseError, match="the disk is full"):
        suspend_person(alice, boss)
    assert people() == before


# --- Away for too long ---


def test_who_was_away_for_longer_than_thirty_days_finds_their_devices_revoked(boss, alice, laptop, wg0):
    others = rows.peer(boss, wg0)
    gone = revoke(rows.peer(alice, wg0), alice)
    at = timezone.now()
    suspend_person(alice, boss, ago=30 * DAY + timedelta(minutes=1))
    restore_person(alice, boss, at=at)
    laptop.refresh_from_db()
    assert (laptop.revoked_at, laptop.revoked_by, laptop.revoke_reason) == (at, boss, TOO_LONG)
    assert laptop.key is None
    assert entitled() == {others}
    gone.refresh_from_db()
    assert gone.revoke_reason == "lost"
    event = AuditEvent.objects.get(action="revoke", peer=laptop)
    assert (event.actor, event.person, event.reason) == (boss, alice, TOO_LONG)
    with pytest.raises(services.KeyRevoked):
        rows.peer(alice, wg0, public_key=event.old["public_key"])
    assert rows.peer(alice, wg0) in entitled()


def test_who_was_away_for_thirty_days_at_most_keeps_their_devices(boss, alice, laptop):
    suspended = suspend_person(alice, boss)
    restore_person(alice, boss, at=suspended.suspended_at + 30 * DAY)
    assert entitled() == {laptop}


def test_when_nobody_knows_since_when_it_was_too_long(boss, alice, laptop):
    User.objects.filter(pk=alice.pk).update(is_active=False)
    restore_person(alice, boss)
    assert entitled() == set()
    laptop.refresh_from_db()
    assert laptop.revoke_reason == TOO_LONG


@pytest.mark.parametrize(("days", "kept"), [(0, False), (6, False), (7, True), (10**12, True)])
def test_the_setting_moves_the_limit(boss, alice, laptop, settings, days, kept):
    settings.LATCHKEY_RESTORE_DEVICES_WITHIN = days
    suspended = suspend_person(alice, boss)
    restore_person(alice, boss, at=suspended.suspended_at + 7 * DAY)
    assert entitled() == ({laptop} if kept else set())


def test_a_device_that_was_suspended_by_itself_stays_so_when_its_owner_is_restored(boss, alice, laptop):
    suspend(laptop, boss)
    suspend_person(alice, boss)
    restore_person(alice, boss)
    assert entitled() == set()
    laptop.refresh_from_db()
    assert (laptop.revoked_at, laptop.suspend_reason) == (None, "lost, perhaps")


# --- At once with others ---


def without_waiting(act):
    """Carry out ``act``; it fails when it waits for anybody's lock."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '1s'")
        act()


def test_a_change_of_a_peer_waits_for_no_row_that_points_to_it(boss, alice, laptop, database):
    with closing(psycopg2.connect(database.url(GATEWAY))) as gateway, gateway.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what a commit with several such rows goes through
        cursor.execute(
            "INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, endpoint, rx_bytes, tx_bytes,"
            " held, problem) VALUES ('gw', %s, '', true, now(), '', 0, 0, false, '')",
            [str(laptop.pk)],
        )
        without_waiting(lambda: suspend(laptop, boss))
        without_waiting(lambda: restore(laptop, boss))
        without_waiting(lambda: revoke(laptop, boss))


def test_a_change_of_a_person_waits_for_no_row_that_points_to_them(boss, alice, laptop, database):
    with closing(psycopg2.connect(database.url(WEB))) as other, other.cursor() as cursor:
        cursor.execute(
            "SELECT FROM portal_user FOR KEY SHARE"
        )  # as the audit row of every change of theirs does
        without_waiting(lambda: suspend_person(alice, boss, ago=31 * DAY))
        without_waiting(lambda: restore_person(alice, boss))
    laptop.refresh_from_db()
    assert laptop.revoked_at is not None
