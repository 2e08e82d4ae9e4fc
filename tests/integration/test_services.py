"""Every change of a peer, on a real database: what is refused, what is written with it, and nothing in between."""

import json
import select
import threading
from contextlib import closing, contextmanager, suppress
from datetime import timedelta

import psycopg2
import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, Interface, Peer, PeerKey
from portal.models import User
from tests import rows
from tests.conftest import WEB

SOURCE = "203.0.113.7"


@pytest.fixture
def wg0(database):
    return rows.interface()


@pytest.fixture
def alice(wg0):
    return rows.person("alice")


@pytest.fixture
def bob(wg0):
    return rows.person("bob")


@pytest.fixture
def laptop(alice, wg0):
    return rows.peer(alice, wg0)


def actor(person):
    return services.Actor(user=person, source=SOURCE)


def enrol(person, on, key=None, **fields):
    wanted = {"public_key": key or rows.public_key(), "name": "laptop", "at": timezone.now(), **fields}
    return services.enrol(actor=actor(person), owner=person, interface=on, **wanted)


def revoke(peer, person):
    return services.revoke(actor=actor(person), peer=peer, at=timezone.now(), reason="lost")


def replace(peer, key, person):
    return services.replace_key(actor=actor(person), peer=peer, public_key=key, at=timezone.now())


def expired(person, on, **fields):
    """Return a peer whose time ended a second ago."""
    past = timezone.now() - timedelta(minutes=1)
    return rows.peer(person, on, at=past, expires_at=past + timedelta(seconds=59), **fields)


def everything():
    """Return every row that a change of a peer may touch."""
    return [list(model.objects.order_by("pk").values()) for model in (Interface, Peer, PeerKey, AuditEvent)]


# --- The same key again ---


def test_the_callers_own_entitled_peer_is_returned_as_it_is(alice, wg0, laptop):
    before = everything()
    again = enrol(alice, wg0, laptop.key.public_key, name="another name")
    assert (again.peer, again.created, again.peer.name) == (laptop, False, "laptop")
    assert everything() == before


def test_the_callers_own_expired_peer_is_entitled_afresh_with_its_address(alice, wg0):
    old = expired(alice, wg0)
    again = enrol(alice, wg0, old.key.public_key)
    assert (again.peer, again.created, again.peer.host) == (old, False, old.host)
    assert Peer.objects.entitled(timezone.now()).get() == old


def test_the_callers_own_expired_peer_gets_a_new_address_when_another_has_it(alice, bob, wg0):
    Interface.objects.update(address_rest=timedelta(0))
    wg0.refresh_from_db()
    old = expired(alice, wg0)
    assert rows.peer(bob, wg0).host == old.host
    again = enrol(alice, wg0, old.key.public_key).peer
    assert again == old
    assert again.host not in (None, old.host)
    event = AuditEvent.objects.get(action="renew")
    assert event.new == {"expires_at": None, "addresses": [str(address) for address in again.addresses]}


def test_an_expired_peer_is_entitled_afresh_only_within_the_device_limit(alice, wg0):
    Interface.objects.update(device_limit=1)
    wg0.refresh_from_db()
    old = expired(alice, wg0)
    rows.peer(alice, wg0)
    with pytest.raises(services.PeerLimit):
        enrol(alice, wg0, old.key.public_key)
    assert not Peer.objects.entitled(timezone.now()).filter(pk=old.pk).exists()


def test_a_revoked_key_is_refused_for_anyone_for_ever(alice, bob, wg0, laptop):
    key = laptop.key.public_key
    revoke(laptop, alice)
    for person in (alice, bob):
        with pytest.raises(services.KeyRevoked):
            enrol(person, wg0, key, at=timezone.now() + timedelta(days=3650))
        with pytest.raises(services.KeyRevoked):
            replace(rows.peer(person, wg0), key, person)


def test_a_replaced_key_is_refused_for_anyone_for_ever(alice, bob, wg0, laptop):
    key = laptop.key.public_key
    replace(laptop, rows.public_key(), alice)
    for person in (alice, bob):
        with pytest.raises(services.KeyRevoked):
            enrol(person, wg0, key)
    with pytest.raises(services.KeyRevoked):
        replace(laptop, key, alice)


def test_somebody_elses_key_is_in_use(bob, wg0, laptop):
    with pytest.raises(services.KeyInUse):
        enrol(bob, wg0, laptop.key.public_key)
    with pytest.raises(services.KeyInUse):
        replace(rows.peer(bob, wg0), laptop.key.public_key, bob)


def test_ones_own_key_on_another_interface_is_in_use(alice, laptop):
    with pytest.raises(services.KeyInUse):
        enrol(alice, rows.interface("wg1"), laptop.key.public_key)


def test_an_interfaces_own_key_is_in_use(alice, wg0, laptop):
    other = rows.interface("wg1")
    for key in (wg0.public_key, other.public_key):
        with pytest.raises(services.KeyInUse):
            enrol(alice, wg0, key)
        with pytest.raises(services.KeyInUse):
            replace(laptop, key, alice)


@pytest.mark.parametrize("how", ["revoke", "replace"])
def test_a_key_that_is_retired_while_its_owner_enrols_it_again_is_refused(alice, wg0, laptop, database, how):
    key, answers = laptop.key.public_key, []
    with closing(psycopg2.connect(database.url(WEB))) as other, other.cursor() as cursor:
        cursor.execute("UPDATE peers_peerkey SET retired_at = now()")
        if how == "revoke":
            cursor.execute("UPDATE peers_peer SET revoked_at = now()")
        else:
            cursor.execute("UPDATE peers_peer SET preshared_key = ''")
            cursor.execute(
                "INSERT INTO peers_peerkey (peer_id, public_key, enrolled_at) VALUES (%s, %s, now())",
                [str(laptop.pk), rows.public_key()],
            )
        racer = threading.Thread(target=lambda: answers.append(told(lambda: enrol(alice, wg0, key))))
        racer.start()
        wait_for_a_lock(database)
        other.commit()
        racer.join(10)
    assert answers == ["KeyRevoked"]


def told(change):
    """Return what came of a change in a thread of its own: the name of its exception, or what it returned."""
    try:
        return change()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return type(error).__name__
    finally:
        connection.close()


def wait_for_a_lock(database, waiters=1):
    """Return once as many sessions as ``waiters`` wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    for _ in range(200):
        if int(database.sql(waiting)) >= waiters:
            return
    raise AssertionError("nothing waits for a lock")


# --- Who may enrol ---


def test_nothing_is_enrolled_before_the_gateway_has_published_its_key(alice, wg0):
    with pytest.raises(services.NotReady):
        enrol(alice, rows.interface("wg1", public_key=None))
    assert not Peer.objects.exists()


NOT_ENTITLED = {
    "lacks the group": {"groups_claim": ["visitors"]},
    "has no group": {"groups_claim": []},
    "is inactive": {"is_active": False},
    "signed in longer ago than the lease": {"signed_in_at": timezone.now() - timedelta(days=8)},
    "has never signed in": {"signed_in_at": None},
}


def test_who_may_not_be_on_the_interface_cannot_enrol(wg0, subtests):
    Interface.objects.update(enrol_groups=["employees"])
    wg0.refresh_from_db()
    for case, fields in NOT_ENTITLED.items():
        with subtests.test(case):
            with pytest.raises(services.NotEntitled):
                enrol(rows.person(**fields), wg0)
            assert not Peer.objects.exists()
            assert not PeerKey.objects.exists()


def test_who_may_no_longer_be_on_the_interface_gets_no_peer_with_its_own_key_again(wg0, subtests):
    Interface.objects.update(enrol_groups=["employees"])
    for case, fields in NOT_ENTITLED.items():
        with subtests.test(case):
            person = rows.person()
            key = rows.peer(person, wg0).key.public_key
            User.objects.filter(pk=person.pk).update(**fields)
            with pytest.raises(services.NotEntitled):
                enrol(person, wg0, key)


def test_a_suspended_peer_is_not_answered_for_with_its_own_key(alice, wg0, laptop):
    Peer.objects.update(suspended_at=timezone.now())
    with pytest.raises(services.NotEntitled):
        enrol(alice, wg0, laptop.key.public_key)


def test_an_enrolment_that_has_already_expired_is_refused(alice, wg0):
    with pytest.raises(services.NotEntitled):
        enrol(alice, wg0, expires_at=timezone.now() - timedelta(seconds=1))


def test_the_device_limit_counts_what_is_neither_revoked_nor_expired(alice, bob, wg0, laptop):
    Interface.objects.update(device_limit=2)
    wg0.refresh_from_db()
    expired(alice, wg0)
    revoke(rows.peer(alice, wg0), alice)
    second = rows.peer(alice, wg0)
    with pytest.raises(services.PeerLimit, match="2 devices"):
        enrol(alice, wg0)
    rows.peer(alice, rows.interface("wg1"))  # another interface, another count
    rows.peer(bob, wg0)
    revoke(second, alice)
    rows.peer(alice, wg0)


def test_the_device_limit_holds_for_enrolments_at_once(alice, wg0, database):
    Interface.objects.update(device_limit=3)
    wg0.refresh_from_db()
    answers = at_once(10, lambda: told(lambda: enrol(alice, wg0).created))
    assert sorted(map(str, answers)) == ["PeerLimit"] * 7 + ["True"] * 3
    assert Peer.objects.count() == 3


def at_once(number, act):
    """Return what ``number`` threads answer that all begin together."""
    barrier, answers = threading.Barrier(number), []

    def run():
        barrier.wait(20)
        answers.append(act())

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


# --- In the place of another device ---


@pytest.fixture
def at_the_limit(alice, wg0, laptop):
    Interface.objects.update(device_limit=1)
    wg0.refresh_from_db()
    with pytest.raises(services.PeerLimit):
        enrol(alice, wg0)
    return laptop


def test_at_the_limit_a_device_is_enrolled_in_the_place_of_another_at_once(
    alice, wg0, at_the_limit, database
):
    old = at_the_limit
    key, addresses = old.key.public_key, [str(address) for address in old.addresses]
    with listening(database) as heard:
        new = enrol(alice, wg0, name="new", in_place_of=old).peer
        assert set(heard()) == {f"peer:{old.pk}", f"peer:{new.pk}"}
    assert set(Peer.objects.entitled(timezone.now())) == {new}
    old.refresh_from_db()
    assert (old.revoked_by, old.revoke_reason) == (alice, "Replaced by new.")
    events = AuditEvent.objects.order_by("-pk")[:2]
    assert [(event.action, event.peer, event.actor) for event in events] == [
        ("enrol", new, alice),
        ("revoke", old, alice),
    ]
    assert events[1].old == {"public_key": key, "addresses": addresses}
    assert events[1].reason == "Replaced by new."


def test_asking_again_with_the_same_key_replaces_nothing_more(alice, wg0, at_the_limit):
    key = rows.public_key()
    new = enrol(alice, wg0, key, in_place_of=at_the_limit).peer
    before = everything()
    again = enrol(alice, wg0, key, in_place_of=at_the_limit)
    assert (again.peer, again.created) == (new, False)
    assert everything() == before


def test_a_device_that_was_revoked_before_can_be_named_where_there_is_room(alice, wg0, at_the_limit):
    revoke(at_the_limit, alice)
    assert enrol(alice, wg0, in_place_of=at_the_limit).created
    assert AuditEvent.objects.filter(action="revoke").count() == 1
    with pytest.raises(services.PeerLimit):
        enrol(alice, wg0, in_place_of=at_the_limit)


def test_nobody_elses_device_and_none_of_another_interface_can_be_replaced(alice, bob, wg0, at_the_limit):
    others = [rows.peer(bob, wg0), rows.peer(alice, rows.interface("wg1"))]
    before = everything()
    for peer in others:
        with pytest.raises(services.NotActive):
            enrol(alice, wg0, in_place_of=peer)
        assert everything() == before


def failing_enrolments(person, on):
    """Return what an enrolment may fail at, as what breaks it, the key that it is tried with, and the refusal."""
    others = rows.peer(rows.person(), on).key.public_key
    return {
        "a key in use": (lambda: None, others, services.KeyInUse),
        "a person who lost the group": (lambda: Interface.objects.update(enrol_groups=["x"]), None, services.NotEntitled),
        "a limit lowered since": (lambda: Interface.objects.update(device_limit=0), None, services.PeerLimit),
    }  # fmt: skip


@pytest.mark.parametrize("case", ["a key in use", "a person who lost the group", "a limit lowered since"])
def test_nothing_is_revoked_when_the_enrolment_in_its_place_is_refused(alice, wg0, at_the_limit, case):
    spoil, key, refusal = failing_enrolments(alice, wg0)[case]
    spoil()
    wg0.refresh_from_db()
    before = everything()
    with pytest.raises(refusal):
        enrol(alice, wg0, key, in_place_of=at_the_limit)
    assert everything() == before


@pytest.mark.parametrize(
    "step", ["UPDATE peers_peer", "INSERT peers_peer", "INSERT peers_peerkey", "INSERT peers_auditevent"]
)
def test_nothing_is_revoked_when_the_enrolment_in_its_place_dies(alice, wg0, at_the_limit, database, step):
    before = everything()
    event, table = step.split()
    break_at(database, table, event)
    with pytest.raises(DatabaseError, match="the disk is full"):
        enrol(alice, wg0, in_place_of=at_the_limit)
    assert everything() == before


def test_one_device_is_replaced_by_one_however_often_at_once(alice, wg0, at_the_limit):
    answers = at_once(10, lambda: told(lambda: enrol(alice, wg0, in_place_of=at_the_limit).created))
    assert sorted(map(str, answers)) == ["PeerLimit"] * 9 + ["True"]


# --- Rename, replace_key, revoke ---


def test_a_rename_changes_the_name_and_nothing_else(alice, laptop):
    before = Peer.objects.values().get()
    assert services.rename(actor=actor(alice), peer=laptop, name="new name").name == "new name"
    assert Peer.objects.values().get() == {**before, "name": "new name"}


def test_a_replaced_key_keeps_the_address_and_the_peer(alice, laptop):
    old, new = laptop.key.public_key, rows.public_key()
    replaced = replace(laptop, new, alice)
    assert (replaced.pk, replaced.host, replaced.key.public_key) == (laptop.pk, laptop.host, new)
    assert PeerKey.objects.get(public_key=old).retired_at is not None
    assert list(PeerKey.objects.filter(retired_at=None).values_list("public_key", flat=True)) == [new]


def test_replacing_the_key_with_itself_changes_nothing(alice, laptop):
    before = everything()
    assert replace(laptop, laptop.key.public_key, alice) == laptop
    assert everything() == before


def test_renaming_to_the_same_name_changes_nothing(alice, laptop):
    before = everything()
    services.rename(actor=actor(alice), peer=laptop, name=laptop.name)
    assert everything() == before


def test_a_revoked_peer_says_when_by_whom_and_why(alice, bob, laptop):
    at = timezone.now()
    services.revoke(actor=actor(bob), peer=laptop, at=at, reason="stolen")
    laptop.refresh_from_db()
    assert (laptop.revoked_at, laptop.revoked_by, laptop.revoke_reason) == (at, bob, "stolen")
    assert laptop.key is None
    assert not Peer.objects.entitled(at).exists()


def test_revoking_twice_changes_nothing(alice, bob, laptop):
    revoke(laptop, alice)
    before = everything()
    revoke(laptop, bob)
    assert everything() == before


def test_a_revoked_peer_can_be_neither_renamed_nor_given_a_key(alice, laptop):
    revoke(laptop, alice)
    before = everything()
    with pytest.raises(services.NotActive):
        services.rename(actor=actor(alice), peer=laptop, name="new")
    with pytest.raises(services.NotActive):
        replace(laptop, rows.public_key(), alice)
    assert everything() == before


# --- Preshared keys ---


def test_a_preshared_key_is_made_where_the_interface_wants_one_and_only_there(alice, wg0, laptop):
    assert laptop.preshared_key == ""
    other = rows.interface("wg1", use_preshared_keys=True)
    assert len(rows.peer(alice, other).preshared_key) == 44


def test_a_preshared_key_never_reaches_the_database_in_clear(alice, database):
    peer = rows.peer(alice, rows.interface("wg1", use_preshared_keys=True))
    clear = [peer.preshared_key]
    clear.append(replace(peer, rows.public_key(), alice).preshared_key)
    assert len(set(clear)) == 2
    stored = database.sql("SELECT preshared_key FROM peers_peer WHERE preshared_key <> ''")
    assert stored.startswith("gAAAAA")
    tables = database.sql("SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public'").split()
    dump = "".join(database.sql(f"SELECT to_jsonb(t) FROM {table} t") for table in tables)
    assert stored in dump
    assert not any(key in dump for key in clear)
    peer.refresh_from_db()
    assert peer.preshared_key == clear[1]


# --- One change, one audit row ---


def changes(person, on):
    """Return each change as (what makes it, old, new) on a peer of its own."""
    peer = rows.peer(person, on)
    old_key, key, fresh = peer.key.public_key, rows.public_key(), rows.public_key()
    addresses = [str(address) for address in peer.addresses]
    return {
        "rename": (lambda: services.rename(actor=actor(person), peer=peer, name="new"), {"name": "laptop"}, {"name": "new"}),
        "replace_key": (lambda: replace(peer, key, person), {"public_key": old_key}, {"public_key": key}),
        "revoke": (lambda: revoke(peer, person), {"public_key": old_key, "addresses": addresses}, {}),
        "enrol": (lambda: enrol(person, on, fresh), {}, {"name": "laptop", "public_key": fresh}),
        "release_brake": (
            lambda: services.release_brake(actor=actor(person), interface=on), {}, {},
        ),
        "change_interface": (lambda: set_mtu(person, on, 1380), {"mtu": "1420"}, {"mtu": "1380"}),
    }  # fmt: skip


ACTIONS = ["rename", "replace_key", "revoke", "enrol", "release_brake", "change_interface"]


def set_mtu(person, on, mtu):
    on.mtu = mtu
    return services.save_interface(actor=actor(person), interface=on)


def test_a_change_writes_one_audit_row_that_says_who_what_and_from_where(alice, wg0, subtests):
    for action in ACTIONS:
        with subtests.test(action):
            act, old, new = changes(alice, wg0)[action]
            before = AuditEvent.objects.count()
            act()
            assert AuditEvent.objects.count() == before + 1
            event = AuditEvent.objects.latest("pk")
            assert (event.action, event.actor_kind, event.actor, event.source) == (
                action,
                "person",
                alice,
                SOURCE,
            )
            assert event.interface == wg0
            assert abs(event.at - timezone.now()) < timedelta(minutes=1)
            if action not in ("release_brake", "change_interface"):
                assert (event.person, event.peer) == (alice, Peer.objects.latest("enrolled_at"))
            assert event.old == old
            assert new.items() <= event.new.items()
            assert event.reason == ("lost" if action == "revoke" else "")


def test_a_command_is_recorded_as_one(wg0, alice):
    services.enrol(
        actor=services.Actor(),
        owner=alice,
        interface=wg0,
        public_key=rows.public_key(),
        name="x",
        at=timezone.now(),
    )
    event = AuditEvent.objects.get()
    assert (event.actor_kind, event.actor, event.source) == ("command", None, None)


def test_without_its_audit_row_a_change_does_not_happen(alice, wg0, database, subtests):
    acts = {action: act for action, (act, *_) in changes(alice, wg0).items()}
    before = everything()
    break_at(database, "peers_auditevent", "INSERT")
    for action in ACTIONS:
        with subtests.test(action):
            with pytest.raises(DatabaseError, match="the disk is full"):
                acts[action]()
            assert everything() == before


# --- Before or after, never between ---


def break_at(database, table, event):
    """Make ``event`` on ``table`` fail once it has been made, as a crash at that step would."""
    database.sql(
        "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the disk is full' USING ERRCODE = 'disk_full'; END $$;"
        f"CREATE TRIGGER broken AFTER {event} ON {table} FOR EACH ROW EXECUTE FUNCTION broken()"
    )


STEPS = {
    "enrol": [
        "DELETE peers_freednumber",
        "INSERT peers_peerkey",
        "INSERT peers_peer",
        "INSERT peers_auditevent",
    ],
    "replace_key": ["UPDATE peers_peerkey", "INSERT peers_peerkey", "UPDATE peers_peer"],
    "revoke": ["UPDATE peers_peerkey", "UPDATE peers_peer"],
    "rename": ["UPDATE peers_peer"],
}


@pytest.mark.parametrize("action", list(STEPS))
def test_a_change_that_dies_at_a_step_never_happened_and_can_be_made_again(
    alice, wg0, database, subtests, action
):
    act, *_ = changes(alice, wg0)[action]
    before = everything()
    for step in STEPS[action]:
        with subtests.test(step):
            event, table = step.split()
            break_at(database, table, event)
            with pytest.raises(DatabaseError, match="the disk is full"):
                act()
            assert everything() == before
            database.sql(f"DROP TRIGGER broken ON {table}")
    act()
    assert AuditEvent.objects.latest("pk").action == action


def test_a_renewal_that_dies_at_its_address_never_happened(alice, bob, wg0, database):
    Interface.objects.update(address_rest=timedelta(0))
    wg0.refresh_from_db()
    old = expired(alice, wg0)
    rows.peer(bob, wg0)
    before = everything()
    break_at(database, "peers_freednumber", "DELETE")
    with pytest.raises(DatabaseError, match="the disk is full"):
        enrol(alice, wg0, old.key.public_key)
    assert everything() == before


def test_a_change_whose_session_is_killed_before_the_commit_never_happened(alice, wg0, database, subtests):
    acts = {action: act for action, (act, *_) in changes(alice, wg0).items()}
    before = everything()
    for action in ACTIONS:
        with subtests.test(action):
            with suppress(DatabaseError), transaction.atomic():
                acts[action]()
                pid = connection.connection.get_backend_pid()
                database.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
            connection.close()
            assert everything() == before


# --- An interface's settings ---


def test_saving_settings_takes_back_neither_a_number_that_was_given_nor_a_published_key(alice, wg0, database):
    stale = Interface.objects.get()
    database.sql("UPDATE peers_interface SET next_host = 7")
    saved = set_mtu(alice, stale, 1300)
    assert (saved.next_host, saved.mtu) == (7, 1300)
    unpublished = rows.interface("wg1", public_key=None)
    key = rows.public_key()
    database.sql(f"UPDATE peers_interface SET public_key = '{key}' WHERE name = 'wg1'")
    assert set_mtu(alice, unpublished, 1300).public_key == key


def test_saving_settings_waits_for_no_enrolment_and_none_waits_for_it(alice, wg0, database):
    with closing(psycopg2.connect(database.url(WEB))) as enrolment, enrolment.cursor() as cursor:
        cursor.execute("SELECT FROM peers_interface FOR KEY SHARE")  # as every row that points to it does
        with transaction.atomic():
            with connection.cursor() as own:
                own.execute("SET LOCAL lock_timeout = '1s'")
            assert set_mtu(alice, wg0, 1300).mtu == 1300


def test_settings_that_did_not_change_are_not_recorded(alice, wg0):
    before = everything()
    services.save_interface(actor=actor(alice), interface=wg0)
    assert everything() == before


def test_lists_and_networks_are_recorded_as_an_administrator_would_write_them(alice, wg0):
    wg0.dns, wg0.client_allowed_ips = ["10.0.0.53", "fd00::53"], ["10.0.0.0/8"]
    services.save_interface(actor=actor(alice), interface=wg0)
    event = AuditEvent.objects.get()
    assert event.new == {"dns": "10.0.0.53, fd00::53", "client_allowed_ips": "10.0.0.0/8"}
    assert event.old == {"dns": "", "client_allowed_ips": ""}


# --- NOTIFY ---


@contextmanager
def listening(database):
    """Give a function that returns the payloads that have arrived since, in order, each once."""
    with closing(psycopg2.connect(database.url("latchkey_gateway"))) as ear:
        ear.autocommit = True
        with ear.cursor() as cursor:
            cursor.execute("LISTEN latchkey")

        def heard(wait=0.5):
            select.select([ear], [], [], wait)
            ear.poll()
            found = [notify.payload for notify in ear.notifies]
            ear.notifies.clear()
            return found

        yield heard


def test_a_change_is_told_at_its_commit_and_not_before(alice, wg0, laptop, database):
    with listening(database) as heard:
        with transaction.atomic():
            revoke(laptop, alice)
            assert heard(0.2) == []
        assert heard() == [f"peer:{laptop.pk}"]


def test_a_change_that_is_rolled_back_is_never_told(alice, wg0, laptop, database):
    with listening(database) as heard:
        with transaction.atomic():
            revoke(laptop, alice)
            transaction.set_rollback(True)
        assert heard(0.2) == []


def test_each_change_of_a_peer_is_told_once(alice, wg0, database, subtests):
    for action in ("rename", "replace_key", "revoke", "enrol"):
        act, *_ = changes(alice, wg0)[action]
        with subtests.test(action), listening(database) as heard:
            act()
            assert heard() == [f"peer:{Peer.objects.latest('enrolled_at').pk}"]


def test_a_change_of_an_interface_or_a_person_is_told(alice, wg0, database):
    with listening(database) as heard:
        set_mtu(alice, wg0, 1300)
        assert heard() == [f"interface:{wg0.pk}"]
        services.release_brake(actor=actor(alice), interface=wg0)
        assert heard() == [f"interface:{wg0.pk}"]
        alice.is_active = False
        alice.save(update_fields=["is_active"])
        assert heard() == [f"owner:{alice.pk}"]


def test_a_last_login_alone_wakes_no_gateway(alice, database):
    with listening(database) as heard:
        alice.last_login = timezone.now()
        alice.save(update_fields=["last_login"])
        assert heard(0.2) == []
        alice.save(update_fields=["last_login", "signed_in_at"])
        assert heard() == [f"owner:{alice.pk}"]


def test_no_notification_says_more_than_which_row(alice, wg0, database):
    with listening(database) as heard:
        enrol(alice, wg0, name="Alice's secret laptop")
        assert "secret" not in json.dumps(heard())
