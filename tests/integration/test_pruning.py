"""Devices that ended long ago are forgotten; their keys never come back, their numbers do, and the audit stays."""

import signal
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from threading import Thread

import psycopg2
import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from peers import services
from peers.models import (
    AuditEvent,
    BarredKey,
    EnrolLink,
    FreedNumber,
    Interface,
    Peer,
    PeerKey,
    PeerStatus,
    TrafficSample,
)
from tests import rows
from tests.conftest import OWNER, ROOT, WEB
from tests.integration.pages import signed_in
from tests.integration.test_services import actor, break_at, enrol, replace, told, wait_for_a_lock

DAY = timedelta(days=1)
OLD = 400 * DAY


@pytest.fixture
def wg0(database):
    return rows.interface(ipv4_pool="10.0.0.0/24", ipv6_pool=None)


@pytest.fixture
def alice(wg0):
    return rows.person("alice")


def revoked(person, on, ago=OLD, **fields):
    """Return a peer that was revoked ``ago``."""
    peer = rows.peer(person, on, **fields)
    return services.revoke(actor=actor(person), peer=peer, at=timezone.now() - ago, reason="old")


def expired(person, on, ago=OLD, **fields):
    """Return a peer that expired ``ago`` and that nobody revoked."""
    at = timezone.now() - ago
    return rows.peer(person, on, at=at - DAY, expires_at=at, **fields)


def forgotten(database, *words, role=OWNER):
    """Prune and return what was printed."""
    return database.call("prune", *(words or ("--older-than", "365")), role=role)


def everything():
    models = (
        Interface,
        Peer,
        PeerKey,
        AuditEvent,
        BarredKey,
        FreedNumber,
        EnrolLink,
        PeerStatus,
        TrafficSample,
    )
    return [list(model.objects.order_by("pk").values()) for model in models]


def keys_of(*peers):
    return list(PeerKey.objects.filter(peer__in=peers).values_list("public_key", flat=True))


# --- What goes ---


def test_what_was_revoked_or_expired_long_ago_goes_with_all_that_points_to_it(alice, wg0, database):
    gone = [revoked(alice, wg0), expired(alice, wg0), expired(rows.person(), wg0, ago=366 * DAY)]
    kept = [rows.peer(alice, wg0), revoked(alice, wg0, ago=364 * DAY), expired(alice, wg0, ago=364 * DAY)]
    replace(gone[1], rows.public_key(), alice)
    surround(database, *gone, *kept)
    events = list(AuditEvent.objects.order_by("pk").values())
    assert forgotten(database).endswith("3 devices deleted.\n")
    assert set(Peer.objects.all()) == set(kept)
    for model in (PeerKey, PeerStatus, TrafficSample, EnrolLink):
        assert {row.peer_id for row in model.objects.all()} == {peer.pk for peer in kept}, model
    assert list(AuditEvent.objects.exclude(action="prune").order_by("pk").values()) == events
    event = AuditEvent.objects.get(action="prune")
    assert (event.actor_kind, event.new["peers"]) == ("command", 3)


def surround(database, *peers):
    """Give each peer a status, a sample and a used link of a live session."""
    on = peers[0].interface
    at = timezone.now()
    database.sql(
        "INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at, drift_found,"
        f" left_alone, unexplained, held, problem) VALUES ('gw', {on.pk}, '1', true, now(), now(), 0, '{{}}', 0, 0, '');"
        "INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, endpoint, rx_bytes, tx_bytes, held,"
        " problem) SELECT 'gw', id, '', false, now(), '', 0, 0, false, '' FROM peers_peer;"
        "INSERT INTO peers_trafficsample (gateway_id, peer_id, at, rx_bytes, tx_bytes)"
        " SELECT g.id, p.id, now(), 0, 0 FROM peers_peer p, peers_gatewaystatus g"
    )
    session = Session.objects.create(session_key="s", session_data="", expire_date=at + DAY)
    for number, peer in enumerate(peers):
        EnrolLink.objects.create(
            token_hash=str(number), owner=peer.owner, interface=on, session=session, made_at=at,
            expires_at=at + DAY, used_at=at, peer=peer,
        )  # fmt: skip


def test_old_links_go_even_when_no_device_does(alice, wg0, database):
    session = Session.objects.create(session_key="s", session_data="", expire_date=timezone.now())
    for number, ago in enumerate((364 * DAY, 366 * DAY)):
        at = timezone.now() - ago
        EnrolLink.objects.create(
            token_hash=str(number), owner=alice, interface=wg0, session=session, made_at=at, expires_at=at
        )
    assert forgotten(database) == "0 devices deleted.\n"
    assert [link.token_hash for link in EnrolLink.objects.all()] == ["0"]
    assert not AuditEvent.objects.exists()


def test_old_samples_of_a_gateway_that_is_gone_go_even_when_no_device_does(alice, wg0, database):
    surround(database, rows.peer(alice, wg0))
    young = TrafficSample.objects.get()
    database.sql(
        "INSERT INTO peers_trafficsample (gateway_id, peer_id, at, rx_bytes, tx_bytes)"
        " SELECT gateway_id, peer_id, at - interval '49 hours', 0, 0 FROM peers_trafficsample"
    )
    forgotten(database)
    assert TrafficSample.objects.count() == 2  # the gateway is there, and drops its own
    database.sql("UPDATE peers_gatewaystatus SET heartbeat_at = now() - interval '49 hours'")
    assert forgotten(database) == "0 devices deleted.\n"
    assert TrafficSample.objects.get() == young


def test_what_may_come_back_is_kept_however_old_it_is(alice, wg0, database):
    kept = [rows.peer(alice, wg0, at=timezone.now() - timedelta(minutes=1)) for _ in range(3)]
    services.suspend(actor=actor(alice), peer=kept[0], at=timezone.now() - OLD, reason="x")
    Peer.objects.filter(pk=kept[1].pk).update(expires_at=timezone.now() + DAY)
    database.sql("UPDATE peers_peer SET enrolled_at = now() - interval '400 days'")
    assert forgotten(database, "--older-than", "0") == "0 devices deleted.\n"
    assert Peer.objects.count() == 3


def test_what_a_gateway_still_has_on_its_interface_is_kept(alice, wg0, database):
    on, off = revoked(alice, wg0), revoked(alice, wg0)
    surround(database, on, off)
    database.sql(f"UPDATE peers_peerstatus SET present = true WHERE peer_id = '{on.pk}'")
    forgotten(database)
    assert Peer.objects.get() == on


def test_what_has_an_address_that_still_rests_is_kept(wg0, database):
    resting, rested, given_away = (rows.peer(rows.person(), wg0) for _ in range(3))
    for peer, hours in ((resting, 23), (rested, 25), (given_away, 0)):
        at = timezone.now() - timedelta(hours=hours)
        services.revoke(actor=services.Actor(), peer=peer, at=at)
    Peer.objects.filter(pk=given_away.pk).update(host=None)
    FreedNumber.objects.all().delete()  # those set aside
    forgotten(database, "--older-than", "0")
    assert Peer.objects.get() == resting
    assert [row.host for row in FreedNumber.objects.all()] == [rested.host]


def test_a_device_that_expires_tomorrow_is_not_old_whatever_is_asked(alice, wg0):
    Interface.objects.update(address_rest=timedelta(0))
    rows.peer(alice, Interface.objects.get(), expires_at=timezone.now() + DAY)
    at = timezone.now()
    assert not services.prunable(before=at + 2 * DAY, at=at).exists()


# --- Its keys never come back ---


def test_no_key_of_a_forgotten_device_is_ever_enrolled_again_by_anyone(alice, wg0, database, subtests):
    gone = [revoked(alice, wg0), expired(alice, wg0)]
    replace(gone[1], rows.public_key(), alice)
    barred = keys_of(*gone)
    forgotten(database)
    assert len(barred) == BarredKey.objects.count() == 3
    bob = rows.person("bob")
    laptops = {person: rows.peer(person, wg0) for person in (alice, bob)}
    for key in barred:
        for person, laptop in laptops.items():
            with subtests.test(person.name), pytest.raises(services.KeyRevoked):
                enrol(person, wg0, key)
            with subtests.test(f"{person.name}, replace"), pytest.raises(services.KeyRevoked):
                replace(laptop, key, person)
    assert Peer.objects.count() == 2


def test_an_enrolment_that_waits_for_the_pruning_of_its_key_is_refused(alice, wg0, database):
    gone, bob = revoked(alice, wg0), rows.person("bob")
    (key,) = keys_of(gone)
    assert pruning_meanwhile(database, gone, lambda: insert_key(rows.peer(bob, wg0), key)) == "IntegrityError"
    assert not PeerKey.objects.filter(public_key=key).exists()


def insert_key(peer, key):
    """Insert the key of a peer as an enrolment that had found nobody with it."""
    PeerKey.objects.create(peer=peer, public_key=key, enrolled_at=timezone.now(), retired_at=timezone.now())


@pytest.mark.parametrize("who", ["its owner", "another"])
def test_an_enrolment_while_its_expired_device_is_pruned_is_refused(alice, wg0, database, who):
    gone = expired(alice, wg0)
    (key,) = keys_of(gone)
    person = alice if who == "its owner" else rows.person("bob")
    answer = pruning_meanwhile(database, gone, lambda: enrol(person, wg0, key), waits=person == alice)
    assert answer == ("KeyRevoked" if who == "its owner" else "KeyInUse")
    assert not Peer.objects.exists()
    assert told(lambda: enrol(person, wg0, key)) == "KeyRevoked"


@pytest.mark.parametrize("act", ["rename", "replace_key", "revoke", "configure", "suspend"])
def test_a_change_that_waits_for_the_pruning_of_its_device_is_refused(alice, wg0, database, act):
    gone = expired(alice, wg0)
    at = timezone.now()
    values = {
        "rename": {"name": "new"}, "replace_key": {"public_key": rows.public_key(), "at": at}, "revoke": {"at": at},
        "configure": {}, "suspend": {"at": at, "reason": "x"},
    }[act]  # fmt: skip
    change = getattr(services, act)
    assert (
        pruning_meanwhile(database, gone, lambda: change(actor=actor(alice), peer=gone, **values))
        == "NotActive"
    )


def pruning_meanwhile(database, gone, act, *, waits=True):
    """Let another session prune ``gone``, and return what comes of ``act``, which begins before that commits."""
    answers = []
    racer = Thread(target=lambda: answers.append(told(act)))
    with closing(psycopg2.connect(database.url(OWNER))) as owner, owner.cursor() as cursor:
        cursor.execute("SELECT FROM peers_peer WHERE id = %s FOR UPDATE", [str(gone.pk)])
        cursor.execute(
            "INSERT INTO peers_barredkey SELECT sha256(convert_to(public_key, 'UTF8')) FROM peers_peerkey WHERE peer_id = %s",
            [str(gone.pk)],
        )
        cursor.execute("DELETE FROM peers_peerkey WHERE peer_id = %s", [str(gone.pk)])
        cursor.execute("DELETE FROM peers_peer WHERE id = %s", [str(gone.pk)])
        racer.start()
        if waits:
            wait_for_a_lock(database)
        else:
            racer.join(10)
        owner.commit()
        racer.join(10)
    return answers[0]


def test_what_somebody_works_on_is_left_for_the_next_time(alice, wg0, database):
    busy, gone = expired(alice, wg0), expired(alice, wg0)
    with closing(psycopg2.connect(database.url(WEB))) as other, other.cursor() as cursor:
        cursor.execute(
            "UPDATE peers_peer SET expires_at = NULL WHERE id = %s", [str(busy.pk)]
        )  # as a renewal does
        assert forgotten(database).endswith("1 devices deleted.\n")
        other.commit()
    assert forgotten(database) == "0 devices deleted.\n"
    assert Peer.objects.get() == busy
    assert BarredKey.objects.count() == 1
    assert gone not in Peer.objects.all()


# --- Its number does ---


def test_every_number_of_the_forgotten_is_given_again_and_none_is_lost_or_doubled(database):
    on = rows.interface(ipv4_pool="10.0.0.0/28", ipv6_pool=None)
    peers = [rows.peer(rows.person(), on) for _ in range(13)]
    for peer in peers[:6]:
        services.revoke(actor=services.Actor(), peer=peer, at=timezone.now() - OLD)
    assert forgotten(database).endswith("6 devices deleted.\n")
    again = [rows.peer(rows.person(), on) for _ in range(6)]
    assert {peer.host for peer in again} == {peer.host for peer in peers[:6]}
    assert sorted(Peer.objects.values_list("host", flat=True)) == list(range(2, 15))
    assert not FreedNumber.objects.exists()
    with pytest.raises(services.NoFreeAddress):
        rows.peer(rows.person(), on)


def test_a_freed_number_is_given_before_one_that_never_was_and_to_its_own_interface_alone(
    alice, wg0, database
):
    gone = revoked(alice, wg0)
    FreedNumber.objects.all().delete()  # those set aside
    forgotten(database)
    other = rows.peer(rows.person(), rows.interface("wg1"))
    assert FreedNumber.objects.get(interface=wg0).host == gone.host
    assert other.host == 2
    mark = Interface.objects.get(name="wg0").next_host
    assert rows.peer(rows.person(), wg0).host == gone.host
    assert Interface.objects.get(name="wg0").next_host == mark


def test_an_enrolment_that_is_rolled_back_gives_its_freed_number_back(alice, wg0, database):
    gone = revoked(alice, wg0)
    FreedNumber.objects.all().delete()  # those set aside
    forgotten(database)
    with transaction.atomic():
        assert rows.peer(alice, wg0).host == gone.host
        transaction.set_rollback(True)
    assert FreedNumber.objects.get().host == gone.host
    assert rows.peer(alice, wg0).host == gone.host


# --- Who may, and what is said ---


@pytest.mark.parametrize("words", [(), ("--older-than", "0")])
def test_the_portals_role_is_refused_with_a_sentence_and_changes_nothing(alice, wg0, database, words):
    peer = revoked(alice, wg0)
    surround(database, peer)
    database.sql(
        "UPDATE peers_enrollink SET used_at = NULL, peer_id = NULL, expires_at = now() - interval '400 days'"
    )
    before = everything()
    with pytest.raises(
        CommandError, match=r"Only the owner of the database may forget devices: connect as its owner\."
    ):
        forgotten(database, *words, role=WEB)
    assert everything() == before


def test_a_dry_run_says_how_many_would_go_and_changes_nothing(alice, wg0, database):
    for _ in range(2):
        revoked(alice, wg0)
    rows.peer(alice, wg0)
    before = everything()
    assert forgotten(database, "--older-than", "365", "--dry-run") == "2 devices would be deleted.\n"
    assert everything() == before
    assert forgotten(database) == "2 devices deleted so far\n2 devices deleted.\n"


@pytest.mark.parametrize("days", ["-1", "1.5", "soon", "", "²", "36501", "9" * 5000])
def test_an_age_is_a_whole_number_of_days(database, days):
    with pytest.raises(CommandError, match=r"invalid|whole number of days"):
        call_command("prune", f"--older-than={days}")


# --- Interrupted ---


@pytest.fixture
def many(alice, wg0, database):
    """Give alice 2,500 devices that were revoked long ago, the last numbers of them given away."""
    database.sql(
        f"""WITH made AS (
            INSERT INTO peers_peer (id, interface_id, owner_id, name, platform, host, preshared_key, enrolled_at, revoked_at,
                revoke_reason)
            SELECT gen_random_uuid(), {wg0.pk}, {alice.pk}, 'many', 'other', CASE WHEN n <= 200 THEN n + 1 END, '', now(),
                now() - interval '400 days', '' FROM generate_series(1, 2500) n RETURNING id)
        INSERT INTO peers_peerkey (public_key, peer_id, enrolled_at, retired_at)
        SELECT translate(encode(sha256(id::text::bytea), 'base64'), E'\\n', ''), id, now(), now() FROM made
        ; UPDATE peers_interface SET next_host = 202""".replace(
            "sha256(id::text::bytea)", "set_byte(sha256(id::text::bytea), 31, 8)"
        )
    )


def test_it_tells_how_far_it_is_a_thousand_devices_at_a_time(many, database):
    said = forgotten(database).splitlines()
    assert said == [
        *(f"{count} devices deleted so far" for count in (1000, 2000, 2500)),
        "2500 devices deleted.",
    ]
    assert list(AuditEvent.objects.order_by("pk").values_list("new__peers", flat=True)) == [1000, 1000, 500]
    assert (Peer.objects.count(), PeerKey.objects.count()) == (0, 0)
    assert BarredKey.objects.count() == 2500
    assert sorted(FreedNumber.objects.values_list("host", flat=True)) == list(range(2, 202))


def test_what_is_killed_between_two_thousands_is_finished_by_the_next_run(many, database):
    with subprocess.Popen(
        [sys.executable, "manage.py", "prune", "--older-than", "365"],
        cwd=ROOT, env=database.environment(OWNER), stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout.readline() == "1000 devices deleted so far\n"
        running.send_signal(signal.SIGKILL)
        running.wait(20)
    left = Peer.objects.count()
    assert left <= 1500
    assert BarredKey.objects.count() == 2500 - left
    forgotten(database)
    assert Peer.objects.count() == 0
    assert BarredKey.objects.count() == 2500
    assert sorted(FreedNumber.objects.values_list("host", flat=True)) == list(range(2, 202))


STEPS = [
    "INSERT peers_barredkey", "INSERT peers_freednumber", "DELETE peers_peerstatus", "DELETE peers_trafficsample",
    "DELETE peers_enrollink", "DELETE peers_peerkey", "DELETE peers_peer", "INSERT peers_auditevent",
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_what_dies_at_a_step_never_happened(alice, wg0, database, step):
    surround(database, revoked(alice, wg0))
    before = everything()
    event, table = step.split()
    break_at(database, table, event)
    with pytest.raises(DatabaseError, match="the disk is full"):
        forgotten(database)
    assert everything() == before


# --- The audit ---


def test_the_audit_of_a_forgotten_device_is_shown(alice, wg0, database):
    gone = revoked(alice, wg0)
    forgotten(database)
    boss = rows.person("boss", is_staff=True, is_superuser=True)
    client = signed_in(boss)
    page = client.get("/admin/peers/auditevent/").content.decode()
    assert "enrol" in page
    assert "prune" in page
    for event in AuditEvent.objects.all():
        assert client.get(f"/admin/peers/auditevent/{event.pk}/change/").status_code == 200
    enrolled = AuditEvent.objects.select_related("peer").get(action="enrol")
    assert (enrolled.peer, enrolled.peer_id, enrolled.person) == (None, gone.pk, alice)
    assert enrolled.new["addresses"] == ["10.0.0.2/32"]


def test_pruning_wakes_no_gateway_and_takes_no_lock_for_long(alice, wg0, database):
    revoked(alice, wg0)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT FROM peers_interface FOR KEY SHARE")  # as every enrolment does
        done = database.manage("prune", "--older-than", "365")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("1 devices deleted.\n")
