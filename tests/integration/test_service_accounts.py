"""Accounts and their tokens: made, changed, suspended, revoked, each on record, and nothing secret with it."""

from datetime import timedelta
from ipaddress import ip_network
from threading import Thread

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from peers import services
from peers.models import ApiToken, AuditEvent, Peer, PeerKey, ServiceAccount
from tests import rows
from tests.integration.programs import PROGRAMS_ADDRESS, Program
from tests.integration.test_services import at_once, break_at, listening, told, wait_for_a_lock

AT = timezone.now()


def by(person):
    return services.Actor(user=person, source="203.0.113.9")


def save(root, account, *interfaces):
    return services.save_account(actor=by(root), account=account, interfaces=interfaces)


def everything():
    models = (ServiceAccount, ServiceAccount.interfaces.through, ApiToken, Peer, PeerKey, AuditEvent)
    return [list(model.objects.order_by("pk").values()) for model in models]


# --- Accounts ---


def test_an_account_that_is_made_is_on_record_with_all_that_it_may(root, wg0):
    made = save(root, ServiceAccount(name="ci", team="build", source_networks=["10.0.0.0/8"]), wg0)
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.service_account) == ("create_account", root, made)
    assert event.new == {
        "name": "ci", "team": "build", "device_limit": "100", "default_ttl": "1:00:00", "max_ttl": "1 day, 0:00:00",
        "idle_after": "None", "source_networks": "10.0.0.0/8", "interfaces": "wg0",
    }  # fmt: skip
    assert list(made.interfaces.all()) == [wg0]


def test_a_change_is_on_record_with_what_it_was_before(root, builders, wg0):
    other = rows.interface("wg1")
    builders.device_limit, builders.source_networks = 5, [ip_network("10.0.0.0/8")]
    save(root, builders, wg0, other)
    event = AuditEvent.objects.get()
    assert event.action == "change_account"
    assert event.old == {"device_limit": "100", "source_networks": "", "interfaces": "wg0"}
    assert event.new == {"device_limit": "5", "source_networks": "10.0.0.0/8", "interfaces": "wg0, wg1"}


def test_what_did_not_change_is_not_recorded(root, builders, wg0):
    before = everything()
    save(root, builders, wg0)
    assert everything() == before


def test_saving_settings_does_not_restore_a_suspended_account(root, builders, wg0):
    stale = ServiceAccount.objects.get(pk=builders.pk)
    services.suspend_account(actor=by(root), account=builders, at=AT, reason="x")
    save(root, stale, wg0)
    builders.refresh_from_db()
    assert builders.suspended_at == AT


def test_two_accounts_of_one_name_are_refused_with_nothing_left(root, builders, wg0):
    before = everything()
    with pytest.raises(IntegrityError, match="serviceaccount_name_key"):
        save(root, ServiceAccount(name="builders", team="x"), wg0)
    assert everything() == before


def test_an_interface_that_is_taken_from_an_account_takes_its_machines_off_there(root, builders, wg0):
    other = rows.interface("wg1")
    save(root, builders, wg0, other)
    kept, cut = rows.machine(builders, wg0), rows.machine(builders, other)
    save(root, builders, wg0)
    assert set(Peer.objects.entitled(timezone.now())) == {kept}
    save(root, builders, wg0, other)
    assert set(Peer.objects.entitled(timezone.now())) == {kept, cut}


def test_suspending_cuts_every_machine_and_restoring_brings_it_back(root, builders, wg0):
    machine = rows.machine(builders, wg0)
    services.suspend_account(actor=by(root), account=builders, at=AT, reason="leaked")
    assert not Peer.objects.entitled(timezone.now()).exists()
    services.restore_account(actor=by(root), account=builders, reason="rotated")
    assert list(Peer.objects.entitled(timezone.now())) == [machine]
    suspended, restored = AuditEvent.objects.order_by("-pk")[:2][::-1]
    assert [(event.action, event.reason) for event in (suspended, restored)] == [
        ("suspend", "leaked"),
        ("restore", "rotated"),
    ]
    assert restored.old == {"suspended_at": AT.isoformat(), "suspend_reason": "leaked"}
    assert {event.service_account for event in (suspended, restored)} == {builders}


def test_suspending_or_restoring_twice_changes_nothing(root, builders):
    for act in (
        lambda: services.suspend_account(actor=by(root), account=builders, at=timezone.now(), reason="x"),
        lambda: services.restore_account(actor=by(root), account=builders),
    ):
        act()
        before = everything()
        act()
        assert everything() == before


def test_the_gateway_is_told_of_what_becomes_of_an_account(root, builders, wg0, database):
    with listening(database) as heard:
        services.suspend_account(actor=by(root), account=builders, at=AT, reason="x")
        assert heard() == [f"account:{builders.pk}"]
        services.restore_account(actor=by(root), account=builders)
        assert heard() == [f"account:{builders.pk}"]
        save(root, builders)
        assert set(heard()) == {f"account:{builders.pk}"}


# --- Tokens ---


def test_a_token_that_is_made_is_on_record_without_its_secret(root, builders):
    expires_at = timezone.now() + timedelta(days=30)
    token, text = services.make_token(
        actor=by(root), holder=builders, name="deploy", scopes={"peers:read", "peers:enrol"}, at=timezone.now(),
        expires_at=expires_at, use_limit=7,
    )  # fmt: skip
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.service_account, event.token) == (
        "make_token",
        root,
        builders,
        None,
    )
    assert event.new == {
        "name": "deploy", "token": text[:17], "scopes": ["peers:enrol", "peers:read"],
        "expires_at": expires_at.isoformat(), "use_limit": 7,
    }  # fmt: skip
    assert token.made_by == root
    assert text not in repr(token) + str(token) + repr(vars(token))


def test_a_revoked_token_stays_so_and_says_by_whom(root, alice, builders):
    token, _ = rows.token(builders)
    services.revoke_token(actor=by(root), token=token, at=AT, reason="leaked")
    before = everything()
    services.revoke_token(actor=by(alice), token=token, at=timezone.now())
    assert everything() == before
    token.refresh_from_db()
    assert (token.revoked_at, token.revoked_by) == (AT, root)
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.reason, event.service_account) == ("revoke_token", "leaked", builders)
    assert event.old == {"name": token.name, "token": token.beginning}


@pytest.fixture
def enrolled(builders, wg0):
    """Return two tokens of the account's, the machines that the first enrolled, and those that are left when it goes."""
    tokens = [rows.token(builders)[0] for _ in range(2)]
    made = [rows.machine(builders, wg0, actor=services.Actor(token=token)) for token in (*tokens, tokens[0])]
    return *tokens, {made[0], made[2]}, {made[1], rows.machine(builders, wg0)}


def test_revoking_a_token_leaves_its_machines_unless_it_is_asked_to_take_them(root, enrolled):
    token, _, mine, others = enrolled
    services.revoke_token(actor=by(root), token=token, at=AT)
    assert set(Peer.objects.entitled(timezone.now())) == mine | others
    services.revoke_token(actor=by(root), token=token, at=AT, with_peers=True, reason="leaked")
    assert set(Peer.objects.entitled(timezone.now())) == others


def test_what_a_token_takes_with_it_is_on_record_one_by_one(root, enrolled):
    token, _, mine, _ = enrolled
    services.revoke_token(actor=by(root), token=token, at=AT, with_peers=True, reason="leaked")
    events = AuditEvent.objects.filter(action="revoke")
    assert {event.peer for event in events} == mine
    assert {(event.actor, event.reason) for event in events} == {(root, "leaked")}
    assert not PeerKey.objects.filter(peer__in=mine, retired_at=None).exists()


def test_a_machine_belongs_to_the_token_with_which_it_came_back(root, builders, wg0):
    first, second = (rows.token(builders)[0] for _ in range(2))
    past = timezone.now() - timedelta(minutes=5)
    machine = rows.machine(
        builders, wg0, at=past, expires_at=past + timedelta(seconds=60), actor=services.Actor(token=first)
    )
    services.enrol(
        actor=services.Actor(token=second), owner=builders, interface=wg0, name="x",
        public_key=machine.key.public_key, at=timezone.now(),
    )  # fmt: skip
    services.revoke_token(actor=by(root), token=first, at=AT, with_peers=True)
    assert Peer.objects.entitled(timezone.now()).exists()
    services.revoke_token(actor=by(root), token=second, at=AT, with_peers=True)
    assert not Peer.objects.entitled(timezone.now()).exists()


def test_a_revocation_that_dies_half_way_never_happened(root, enrolled, database):
    token, *_ = enrolled
    before = everything()
    break_at(database, "peers_apitoken", "UPDATE")
    with pytest.raises(DatabaseError, match="the disk is full"):
        services.revoke_token(actor=by(root), token=token, at=AT, with_peers=True)
    assert everything() == before


@pytest.mark.parametrize("table", ["peers_peer", "peers_peerkey"])
def test_a_revocation_that_dies_among_the_machines_has_ended_the_token_and_can_be_made_again(
    root, enrolled, database, table
):
    token, _, mine, others = enrolled
    break_at(database, table, "UPDATE")
    with pytest.raises(DatabaseError, match="the disk is full"):
        services.revoke_token(actor=by(root), token=token, at=AT, with_peers=True)
    token.refresh_from_db()
    assert token.revoked_at == AT
    assert set(Peer.objects.entitled(timezone.now())) == mine | others
    database.sql(f"DROP TRIGGER broken ON {table}")
    services.revoke_token(actor=by(root), token=token, at=AT, with_peers=True)
    assert set(Peer.objects.entitled(timezone.now())) == others


def test_revoking_a_token_while_machines_enrol_with_it_leaves_none_of_them(builders, wg0):
    token = rows.token(builders)[0]
    enrolled = rows.machine(builders, wg0, actor=services.Actor(token=token))

    def act(number):
        if number:
            return rows.machine(builders, wg0, actor=services.Actor(token=token))
        return services.revoke_token(actor=services.Actor(), token=token, at=AT, with_peers=True)

    numbers = iter(range(12))
    answers = at_once(12, lambda: told(lambda: act(next(numbers))))
    assert {answer for answer in answers if isinstance(answer, str)} <= {"TokenInvalid"}
    assert not Peer.objects.filter(revoked_at=None).exists()
    enrolled.refresh_from_db()
    assert enrolled.revoked_at == AT


ACTS = {
    "enrol": lambda peer, actor: rows.machine(peer.service_account, peer.interface, actor=actor),
    "come back": lambda peer, actor: services.enrol(
        actor=actor, owner=peer.service_account, interface=peer.interface, public_key=peer.key.public_key, name="x",
        at=timezone.now() + timedelta(hours=1),
    ),
    "renew": lambda peer, actor: services.renew(actor=actor, peer=peer, ttl=timedelta(hours=2), at=timezone.now()),
    "rename": lambda peer, actor: services.rename(actor=actor, peer=peer, name="new"),
    "revoke": lambda peer, actor: services.revoke(actor=actor, peer=peer, at=timezone.now()),
}  # fmt: skip


@pytest.mark.parametrize("act", ACTS)
def test_nothing_is_done_any_more_with_a_token_that_was_revoked_after_it_was_looked_at(builders, wg0, act):
    token = rows.token(builders)[0]
    peer = rows.machine(builders, wg0, expires_at=timezone.now() + timedelta(seconds=60))
    services.revoke_token(actor=services.Actor(), token=token, at=AT)
    before = everything()
    with pytest.raises(services.TokenInvalid):
        ACTS[act](peer, services.Actor(token=token))
    assert everything() == before


def test_a_revocation_waits_for_what_is_being_done_with_the_token(builders, wg0, database):
    token, peer = rows.token(builders)[0], rows.machine(builders, wg0)

    def revoke():
        services.revoke_token(actor=services.Actor(), token=token, at=timezone.now())
        connection.close()

    revoking = Thread(target=revoke)
    with transaction.atomic():
        services.rename(actor=services.Actor(token=token), peer=peer, name="new")
        revoking.start()
        wait_for_a_lock(database)
    revoking.join(20)
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert AuditEvent.objects.order_by("-pk").values_list("action", flat=True)[0] == "revoke_token"


# --- A machine's enrolment: before or after, never between ---

STEPS = [
    "INSERT peers_peerkey", "UPDATE peers_apitoken", "UPDATE peers_interface", "INSERT peers_peer",
    "INSERT peers_auditevent",
]  # fmt: skip


def test_a_machines_enrolment_that_dies_at_a_step_never_happened_and_can_be_made_again(
    builders, wg0, database, subtests
):
    token, _ = rows.token(builders, use_limit=1)
    key, before = rows.public_key(), everything()
    for step in STEPS:
        with subtests.test(step):
            event, table = step.split()
            break_at(database, table, event)
            with pytest.raises(DatabaseError, match="the disk is full"):
                rows.machine(builders, wg0, actor=services.Actor(token=token), public_key=key)
            assert everything() == before
            database.sql(f"DROP TRIGGER broken ON {table}")
    assert rows.machine(builders, wg0, actor=services.Actor(token=token), public_key=key).host == 2


def test_an_account_that_is_suspended_meanwhile_enrols_nothing(builders, wg0):
    stale = ServiceAccount.objects.get(pk=builders.pk)
    services.suspend_account(actor=services.Actor(), account=builders, at=AT, reason="x")
    with pytest.raises(services.NotEntitled):
        rows.machine(stale, wg0)
    services.restore_account(actor=services.Actor(), account=builders)
    builders.interfaces.clear()
    with pytest.raises(services.InterfaceNotAllowed):
        rows.machine(stale, wg0)
    assert not Peer.objects.exists()


def test_suspending_while_machines_enrol_leaves_none_of_them_entitled(builders, wg0):
    def act(number):
        if number:
            return rows.machine(builders, wg0)
        return services.suspend_account(actor=services.Actor(), account=builders, at=AT, reason="x")

    numbers = iter(range(12))
    answers = at_once(12, lambda: told(lambda: act(next(numbers))))
    assert not Peer.objects.entitled(timezone.now()).exists()
    assert {answer for answer in answers if isinstance(answer, str)} <= {"NotEntitled"}


# --- What the audit says of a program ---


def test_every_act_of_a_program_says_with_which_token_for_whom_and_from_where(builders, wg0):
    token, text = rows.token(builders)
    program = Program(text)
    pk = program.enrol(ttl=600).json()["id"]
    program.rename(pk, "new")
    program.renew(pk, ttl=60)
    program.revoke(pk)
    events = AuditEvent.objects.exclude(action="make_token").order_by("pk")
    assert [event.action for event in events] == ["enrol", "rename", "renew", "revoke"]
    for event in events:
        assert (event.actor_kind, event.actor, event.token, event.service_account, event.person) == (
            "machine",
            None,
            token,
            builders,
            None,
        )
        assert (str(event.peer_id), event.interface, event.source) == (pk, wg0, PROGRAMS_ADDRESS)


def test_a_persons_program_is_the_person_with_a_token(alice, wg0):
    token, text = rows.token(alice)
    Program(text).enrol()
    event = AuditEvent.objects.latest("pk")
    assert (event.actor_kind, event.actor, event.token, event.person, event.service_account) == (
        "person",
        alice,
        token,
        alice,
        None,
    )
