"""Machines that nobody uses end, as what gateways read back shows; none ends for what nobody could see."""

from datetime import timedelta

import pytest
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, Peer, ServiceAccount
from peers.services.machines import IDLE, NEVER_USED
from peers.states import database_now
from tests import rows
from tests.integration.test_services import at_once, break_at, listening, told

IDLE_AFTER = timedelta(minutes=10)
DAY_AGO = "now() - interval '24 hours 1 second'"
HOURS_AGO = "now() - interval '23 hours'"


def minutes_ago(number):
    return f"now() - interval '{number} minutes'"


@pytest.fixture
def ephemeral(wg0):
    """Return an account whose machines end after ten minutes without a handshake."""
    return rows.account(wg0, idle_after=IDLE_AFTER)


@pytest.fixture
def reporting(gateway):
    gateway()


@pytest.fixture
def machine(builders, wg0):
    return rows.machine(builders, wg0)


def expire():
    return services.expire_unused(actor=services.Actor(), at=database_now())


def entitled(peer):
    return Peer.objects.entitled(timezone.now()).filter(pk=peer.pk).exists()


def handshake_was(database, peer):
    """Leave a sample of the peer's traffic, as a gateway writes one after a handshake."""
    database.sql(
        "INSERT INTO peers_trafficsample (gateway_id, peer_id, at, rx_bytes, tx_bytes)"
        f" SELECT id, '{peer.pk}', now(), 1, 1 FROM peers_gatewaystatus LIMIT 1"
    )


# --- Never a first handshake ---


def test_a_machine_that_never_shook_hands_in_a_day_ends(machine, reporting, status):
    status(machine, since=DAY_AGO)
    assert expire() == 1
    assert not entitled(machine)
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.peer, event.service_account, event.reason) == (
        "expire",
        machine,
        machine.service_account,
        NEVER_USED,
    )
    assert event.old == {"expires_at": None, "addresses": [str(address) for address in machine.addresses]}
    assert event.actor_kind == "command"


def test_it_ends_once(machine, reporting, status):
    status(machine, since=DAY_AGO)
    assert [expire(), expire()] == [1, 0]


def test_how_long_a_first_handshake_may_take_is_a_setting(machine, reporting, status, settings):
    status(machine, since=HOURS_AGO)
    assert expire() == 0
    settings.LATCHKEY_FIRST_HANDSHAKE_WITHIN = timedelta(hours=22)
    assert expire() == 1


def test_a_machine_that_shook_hands_once_stays(machine, reporting, status):
    status(machine, since=DAY_AGO, handshake=HOURS_AGO)
    assert expire() == 0


def test_an_interface_that_was_made_anew_has_forgotten_the_handshakes_that_there_were(
    machine, reporting, status, database
):
    status(machine, since=DAY_AGO)
    handshake_was(database, machine)
    assert expire() == 0
    assert entitled(machine)


def test_a_persons_device_never_ends_for_that(laptop, reporting, status):
    status(laptop, since=DAY_AGO)
    assert expire() == 0


def test_its_key_may_come_back_as_it_was(machine, builder, reporting, status):
    status(machine, since=DAY_AGO)
    expire()
    back = builder.enrol(machine.key.public_key)
    assert (back.status_code, back.json()["id"]) == (200, str(machine.pk))
    assert back.json()["addresses"] == [str(address) for address in machine.addresses]


def test_it_is_called_expired_once_it_is_off(machine, builder, reporting, status, database):
    status(machine, since=DAY_AGO)
    expire()
    assert builder.ids(state="revoking") == [str(machine.pk)]
    database.sql("UPDATE peers_peerstatus SET present = false, since = now()")
    assert builder.ids(state="expired") == [str(machine.pk)]


# --- Idle ---


def test_an_ephemeral_accounts_machine_ends_after_so_long_without_a_handshake(
    ephemeral, wg0, reporting, status
):
    idle, busy = (rows.machine(ephemeral, wg0) for _ in range(2))
    status(idle, since=DAY_AGO, handshake=minutes_ago(11))
    status(busy, since=DAY_AGO, handshake=minutes_ago(9))
    assert expire() == 1
    assert (entitled(idle), entitled(busy)) == (False, True)
    assert AuditEvent.objects.latest("pk").reason == IDLE


def test_one_that_never_shook_hands_is_idle_from_when_it_came_on(ephemeral, wg0, reporting, status):
    fresh, idle = (rows.machine(ephemeral, wg0) for _ in range(2))
    status(fresh, since=minutes_ago(9))
    status(idle, since=minutes_ago(11))
    assert expire() == 1
    assert (entitled(fresh), entitled(idle)) == (True, False)


def test_one_that_came_on_lately_is_not_idle_for_a_handshake_of_long_ago(ephemeral, wg0, reporting, status):
    machine = rows.machine(ephemeral, wg0)
    status(machine, since=minutes_ago(9), handshake=minutes_ago(60))
    assert expire() == 0


def test_an_account_without_that_setting_has_no_idle_machines(machine, reporting, status):
    status(machine, since=DAY_AGO, handshake=HOURS_AGO)
    assert expire() == 0


# --- What nobody could see ---


@pytest.mark.parametrize(
    "columns",
    [{"age": "16 s"}, {"attached": "false"}, {"name": "another"}],
    ids=["silent", "without its interface", "another than the one that saw it"],
)
def test_nothing_ends_for_what_a_gateway_said_that_reports_no_more(
    machine, ephemeral, wg0, gateway, status, columns
):
    idle = rows.machine(ephemeral, wg0)
    gateway(**columns)
    status(machine, since=DAY_AGO)
    status(idle, since=DAY_AGO, handshake=minutes_ago(60))
    assert expire() == 0


def test_nothing_ends_that_no_gateway_saw(builders, wg0, reporting):
    rows.machine(builders, wg0, at=timezone.now() - timedelta(days=3))
    assert expire() == 0


def test_nothing_ends_that_is_off(machine, reporting, status):
    status(machine, since=DAY_AGO, present="false")
    assert expire() == 0


def test_nothing_ends_that_another_gateway_sees_in_use(ephemeral, wg0, gateway, status):
    gateway("gw1")
    gateway("gw2")
    machine = rows.machine(ephemeral, wg0)
    status(machine, "gw1", since=DAY_AGO, handshake=minutes_ago(60))
    status(machine, "gw2", since=DAY_AGO, handshake=minutes_ago(1))
    assert expire() == 0


def test_nothing_ends_while_another_gateway_that_has_it_is_silent(ephemeral, wg0, gateway, status):
    gateway("gw1")
    gateway("gw2", age="1 hour")
    machine = rows.machine(ephemeral, wg0)
    status(machine, "gw1", since=DAY_AGO, handshake=minutes_ago(60))
    status(machine, "gw2", since=DAY_AGO, handshake=minutes_ago(60))
    assert expire() == 0


def test_what_ended_already_is_left_as_it_was(ephemeral, wg0, reporting, status):
    machine = rows.machine(ephemeral, wg0)
    status(machine, since=DAY_AGO)
    services.revoke(actor=services.Actor(), peer=machine, at=timezone.now())
    before = list(Peer.objects.values())
    assert expire() == 0
    assert list(Peer.objects.values()) == before


# --- Many, twice, at once, and half-way ---


def many(ephemeral, wg0, status, number):
    for _ in range(number):
        status(rows.machine(ephemeral, wg0), since=DAY_AGO, handshake=minutes_ago(60))


def test_more_than_a_batch_ends_in_batches(ephemeral, wg0, reporting, status, monkeypatch):
    monkeypatch.setattr("peers.services.machines.AT_ONCE", 3)
    many(ephemeral, wg0, status, 8)
    assert expire() == 8
    assert AuditEvent.objects.filter(action="expire").count() == 8


def test_of_many_who_look_at_once_each_machine_is_ended_by_one(ephemeral, wg0, reporting, status):
    many(ephemeral, wg0, status, 12)
    at = database_now()
    ended = at_once(4, lambda: told(lambda: services.expire_unused(actor=services.Actor(), at=at)))
    assert sum(ended) == 12
    assert AuditEvent.objects.filter(action="expire").count() == 12


def test_without_its_audit_row_nothing_ends(ephemeral, wg0, reporting, status, database):
    many(ephemeral, wg0, status, 2)
    break_at(database, "peers_auditevent", "INSERT")
    assert told(expire) == "OperationalError"
    assert Peer.objects.entitled(timezone.now()).count() == 2


def test_the_gateway_is_told_of_each(ephemeral, wg0, reporting, status, database):
    many(ephemeral, wg0, status, 2)
    with listening(database) as heard:
        expire()
        assert sorted(heard()) == sorted(f"peer:{peer.pk}" for peer in Peer.objects.all())


def test_an_account_that_got_patience_meanwhile_keeps_its_machines(ephemeral, wg0, reporting, status):
    many(ephemeral, wg0, status, 1)
    ServiceAccount.objects.update(idle_after=timedelta(hours=2))
    assert expire() == 0
