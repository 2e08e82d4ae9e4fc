"""What is said of a peer: every state from rows as gateways write them, and nothing that was not read back."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers.models import Peer
from peers.states import State, database_now, standing, standings
from tests import rows

AT = timezone.now()
SECOND = timedelta(seconds=1)


def text(value):
    """Return ``value`` as a literal of SQL; a timedelta counts back from AT."""
    if isinstance(value, timedelta):
        value = AT - value
    return "NULL" if value is None else "ARRAY[]::text[]" if value == [] else f"'{value}'"


def insert(table, **columns):
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(map(text, columns.values()))});"


def gateway(name="gw1", silent=SECOND, *, attached=True, passed=SECOND):
    """Return a gateway that reported ``silent`` ago, and whose last good pass was ``passed`` ago."""
    return lambda peer: insert(
        "peers_gatewaystatus", gateway=name, interface_id=peer.interface_id, version="1", attached=attached,
        started_at=timedelta(days=9), heartbeat_at=silent, last_pass_at=passed, drift_found=0, left_alone=[],
        unexplained=0, held=0, problem="",
    )  # fmt: skip


def seen(
    name="gw1", *, on=True, since=timedelta(minutes=9), handshake=None, connected_since=None, key=None, held=False,
    problem="",
):  # fmt: skip
    """Return what the gateway ``name`` read back of the peer; ``key`` is its own unless told."""
    return lambda peer: insert(
        "peers_peerstatus", gateway=name, peer_id=peer.pk, public_key=peer.first_key if key is None else key,
        present=on, since=since, latest_handshake=handshake, connected_since=connected_since, endpoint="", rx_bytes=0,
        tx_bytes=0, held=held, problem=problem,
    )  # fmt: skip


def peer_is(**columns):
    return lambda peer: (
        f"UPDATE peers_peer SET {', '.join(f'{name} = {text(value)}' for name, value in columns.items())};"
    )


def sql(statement):
    return lambda peer: f"{statement};"


ON_DEMAND = sql("UPDATE peers_interface SET mode = 'on_demand'")
INACTIVE = sql("UPDATE portal_user SET is_active = false")
LEASE_OVER = sql("UPDATE portal_user SET signed_in_at = now() - interval '8 days'")
GROUP_LOST = sql("UPDATE peers_interface SET enrol_groups = '{staff}'")
ACCESS_ENDED = sql(
    f"UPDATE portal_user SET access_ended_at = '{AT - timedelta(minutes=2)}', access_end_reason = 'refused'"
)
LOSS_HELD = sql(
    "INSERT INTO portal_heldloss (person_id, reason, found_at) SELECT id, 'refused', now() FROM portal_user"
)
REVOKED = peer_is(revoked_at=timedelta(minutes=2))
EXPIRED = peer_is(expires_at=timedelta(minutes=2))
SUSPENDED = peer_is(suspended_at=timedelta(minutes=2))
KEY_REPLACED = lambda peer: (  # noqa: E731 - one of the changes, as the others
    "UPDATE peers_peerkey SET retired_at = now();"
    + insert("peers_peerkey", public_key=rows.public_key(), peer_id=peer.pk, enrolled_at=AT)
)
SILENT = timedelta(seconds=16)
HOUR = timedelta(hours=1)

CASES = {
    # entitled
    "no gateway has ever reported": ([], State.UNKNOWN),
    "not yet on": ([gateway()], State.PENDING),
    "off, on its way back": ([gateway(), seen(on=False)], State.PENDING),
    "on, never a handshake": ([gateway(), seen()], State.LIVE),
    "on, a handshake just under three minutes ago": ([gateway(), seen(handshake=179 * SECOND)], State.CONNECTED),
    "on, a handshake three minutes ago": ([gateway(), seen(handshake=180 * SECOND)], State.LIVE),
    "off, with a recent handshake": ([gateway(), seen(on=False, handshake=SECOND)], State.PENDING),
    "on demand, not loaded": ([ON_DEMAND, gateway()], State.IDLE),
    "on demand, taken off": ([ON_DEMAND, gateway(), seen(on=False)], State.IDLE),
    "on demand, loaded": ([ON_DEMAND, gateway(), seen(handshake=SECOND)], State.CONNECTED),
    "on with a key that was replaced since": ([gateway(), seen(handshake=SECOND), KEY_REPLACED], State.PENDING),
    "put aside": ([gateway(), seen(on=False, key="", problem="It is odd.")], State.INVALID),
    "put aside by a gateway that is silent now": (
        [gateway(), gateway("gw2", SILENT), seen("gw2", on=False, key="", problem="It is odd."), seen()], State.LIVE,
    ),
    "heard 15 seconds ago": ([gateway(silent=15 * SECOND), seen()], State.LIVE),
    "silent for longer than 15 seconds": ([gateway(silent=SILENT), seen(handshake=SECOND)], State.UNKNOWN),
    "on demand, and the gateway silent": ([ON_DEMAND, gateway(silent=SILENT)], State.UNKNOWN),
    "an unattached gateway alone": ([gateway(attached=False)], State.UNKNOWN),
    "on, says a gateway that is not attached": ([gateway(attached=False), seen(handshake=SECOND)], State.UNKNOWN),
    "on, says one that is not attached beside one that is": (
        [gateway(), gateway("gw2", attached=False), seen("gw2", handshake=SECOND)], State.PENDING,
    ),
    "on, says a gateway of another interface": (
        [gateway(), seen("elsewhere", handshake=SECOND)], State.PENDING,
    ),
    "two gateways, on one of them": ([gateway(), gateway("gw2"), seen("gw2")], State.LIVE),
    "two gateways, the one that has it silent": ([gateway(), gateway("gw2", SILENT), seen("gw2")], State.PENDING),
    "two gateways, connected at the other": (
        [gateway(), gateway("gw2"), seen(), seen("gw2", handshake=SECOND)], State.CONNECTED,
    ),
    "the loss of its owner's access held": ([LOSS_HELD, gateway(), seen(handshake=SECOND)], State.HELD),
    "the loss held, put aside": ([LOSS_HELD, gateway(), seen(on=False, key="", problem="It is odd.")], State.INVALID),
    "the loss held, no gateway": ([LOSS_HELD], State.UNKNOWN),
    # not entitled
    "revoked, still on": ([REVOKED, gateway(), seen()], State.REVOKING),
    "revoked, still on at one of two": ([REVOKED, gateway(), gateway("gw2"), seen(on=False), seen("gw2")], State.REVOKING),
    "revoked, on with a key that was replaced before": ([KEY_REPLACED, REVOKED, gateway(), seen()], State.REVOKING),
    "revoked and off": ([REVOKED, gateway(), seen(on=False)], State.REVOKED),
    "revoked, never on": ([REVOKED, gateway()], State.REVOKED),
    "revoked, no gateway ever": ([REVOKED], State.REVOKED),
    "revoked, held": ([REVOKED, gateway(), seen(held=True)], State.HELD),
    "revoked, the gateway that has it silent": ([REVOKED, gateway(silent=SILENT), seen()], State.UNKNOWN),
    "revoked, off at one, the other that has it silent": (
        [REVOKED, gateway(), gateway("gw2", SILENT), seen(on=False), seen("gw2")], State.UNKNOWN,
    ),
    "revoked, held by a gateway that is silent": ([REVOKED, gateway(silent=SILENT), seen(held=True)], State.UNKNOWN),
    "revoked, on at a gateway that is no longer attached": ([REVOKED, gateway(attached=False), seen()], State.UNKNOWN),
    "revoked and off long before the gateway fell silent": (
        [REVOKED, gateway(silent=SILENT, passed=SILENT), seen(on=False)], State.REVOKED,
    ),
    "revoked after the last pass of a gateway that is silent": (
        [REVOKED, gateway(silent=HOUR, passed=HOUR)], State.UNKNOWN,
    ),
    "revoked, and the only gateway never finished a pass": ([REVOKED, gateway(silent=HOUR, passed=None)], State.UNKNOWN),
    "revoked, a retired host silent beside one that reports": ([REVOKED, gateway("old", HOUR, passed=HOUR), gateway()], State.REVOKED),
    "expired and off": ([EXPIRED, gateway(), seen(on=False)], State.EXPIRED),
    "expired, still on": ([EXPIRED, gateway(), seen()], State.REVOKING),
    "expired after the last pass of a gateway that is silent": ([EXPIRED, gateway(silent=HOUR, passed=HOUR)], State.UNKNOWN),
    "suspended and off": ([SUSPENDED, gateway(), seen(on=False)], State.SUSPENDED),
    "its owner inactive": ([INACTIVE, gateway(), seen(on=False)], State.SUSPENDED),
    "its owner inactive, still on": ([INACTIVE, gateway(), seen()], State.REVOKING),
    "the lease over": ([LEASE_OVER, gateway(), seen(on=False)], State.SIGNED_OUT),
    "the lease over, still on": ([LEASE_OVER, gateway(), seen()], State.REVOKING),
    "its owner's access ended": ([ACCESS_ENDED, gateway(), seen(on=False)], State.SIGNED_OUT),
    "its owner's access ended, not looked since": ([ACCESS_ENDED, gateway(passed=HOUR)], State.REVOKING),
    "its owner's access ended while the gateway is silent": ([ACCESS_ENDED, gateway(silent=HOUR, passed=HOUR)], State.UNKNOWN),
    "the group lost": ([GROUP_LOST, gateway()], State.SIGNED_OUT),
    "revoked and expired": ([REVOKED, EXPIRED, gateway()], State.REVOKED),
    "expired and suspended": ([EXPIRED, SUSPENDED, gateway()], State.EXPIRED),
}  # fmt: skip


@pytest.fixture
def laptop(database):
    made = rows.peer(rows.person(signed_in_at=AT), rows.interface(), at=AT - timedelta(days=1))
    made.first_key = made.key.public_key
    return made


@pytest.fixture
def judged(database, laptop):
    """Give a function that makes rows and returns the peer's standing."""

    def judge(*makers):
        database.sql("".join(make(laptop) for make in makers))
        return standing(laptop, AT)

    return judge


def test_every_state_is_among_the_cases():
    assert {state for _, state in CASES.values()} == set(State)


def test_each_state_follows_from_what_was_written_and_read_back(database, laptop, subtests):
    # As the owner, and undone each time: the web role may write neither status.
    connection.close()
    connection.settings_dict["USER"] = "latchkey_owner"
    for case, (makers, expected) in CASES.items():
        with subtests.test(case), transaction.atomic():
            with connection.cursor() as cursor:
                for make in makers:
                    cursor.execute(make(laptop))
            assert standing(laptop, AT).state == expected
            transaction.set_rollback(True)


ACCOUNT_SUSPENDED = sql(f"UPDATE peers_serviceaccount SET suspended_at = '{AT - timedelta(minutes=2)}'")
ACCOUNT_BARRED = sql("DELETE FROM peers_serviceaccount_interfaces")
CASES_OF_A_MACHINE = {
    "on": ([gateway(), seen()], State.LIVE),
    "connected": ([gateway(), seen(handshake=SECOND)], State.CONNECTED),
    "expired": ([EXPIRED, gateway()], State.EXPIRED),
    "expired, and still on": ([EXPIRED, gateway(), seen()], State.REVOKING),
    "its account suspended": ([ACCOUNT_SUSPENDED, gateway()], State.SUSPENDED),
    "its account suspended, and it still on": ([ACCOUNT_SUSPENDED, gateway(), seen()], State.REVOKING),
    "its account suspended since the gateway last looked": (
        [ACCOUNT_SUSPENDED, gateway(passed=timedelta(minutes=3))], State.REVOKING,
    ),
    "its account suspended, and the gateway silent": (
        [ACCOUNT_SUSPENDED, gateway(silent=SILENT, passed=HOUR)], State.UNKNOWN,
    ),
    "its account no longer on its interface": ([ACCOUNT_BARRED, gateway()], State.SIGNED_OUT),
    "revoked, of a suspended account": ([REVOKED, ACCOUNT_SUSPENDED, gateway()], State.REVOKED),
    "every person inactive": ([INACTIVE, LEASE_OVER, gateway(), seen()], State.LIVE),
}  # fmt: skip


@pytest.fixture
def machine(database):
    wg0 = rows.interface()
    made = rows.machine(rows.account(wg0), wg0, at=AT - timedelta(days=1))
    made.first_key = made.key.public_key
    return made


def test_each_state_of_a_machine_follows_in_the_same_way(database, machine, subtests):
    connection.close()
    connection.settings_dict["USER"] = "latchkey_owner"
    for case, (makers, expected) in CASES_OF_A_MACHINE.items():
        with subtests.test(case), transaction.atomic():
            with connection.cursor() as cursor:
                for make in makers:
                    cursor.execute(make(machine))
            assert standing(machine, AT).state == expected
            transaction.set_rollback(True)


def test_unknown_says_since_when_the_gateway_is_silent(judged):
    found = judged(gateway(silent=SILENT), gateway("gw2", silent=HOUR), seen())
    assert (found.state, found.since) == (State.UNKNOWN, AT - SILENT)


def test_unknown_counts_from_the_gateway_that_is_silent_not_from_the_one_that_reports(judged):
    found = judged(REVOKED, gateway(), gateway("gw2", silent=HOUR), seen(on=False), seen("gw2"))
    assert (found.state, found.since) == (State.UNKNOWN, AT - HOUR)


def test_a_live_peer_shows_since_when_and_its_latest_handshake(judged):
    found = judged(gateway(), gateway("gw2"), seen(since=2 * HOUR), seen("gw2", since=HOUR, handshake=SECOND))
    assert (found.state, found.since, found.latest_handshake) == (State.CONNECTED, AT - HOUR, AT - SECOND)
    assert found.removed_at is None


def test_a_connected_peer_shows_since_when_at_the_gateway_of_its_latest_handshake(judged):
    found = judged(
        gateway(), gateway("gw2"), seen(handshake=100 * SECOND, connected_since=2 * HOUR),
        seen("gw2", handshake=SECOND, connected_since=HOUR),
    )  # fmt: skip
    assert (found.state, found.connected_since) == (State.CONNECTED, AT - HOUR)


@pytest.mark.parametrize(
    "other",
    [
        [gateway("gw2", silent=SILENT), seen("gw2", handshake=20 * SECOND, connected_since=9 * HOUR)],
        [gateway("gw2"), seen("gw2", handshake=SECOND, connected_since=9 * HOUR, key=rows.public_key())],
    ],
    ids=["silent", "with a replaced key"],
)
def test_of_a_connected_peer_only_what_makes_it_so_is_said(judged, other):
    found = judged(gateway(), seen(handshake=100 * SECOND, connected_since=HOUR), *other)
    assert (found.state, found.connected_since) == (State.CONNECTED, AT - HOUR)
    assert found.latest_handshake == AT - 100 * SECOND


NO_LONGER_CONNECTED = {
    "on, the last handshake three minutes ago": (
        [gateway(), seen(handshake=180 * SECOND, connected_since=HOUR)], State.LIVE,
    ),
    "the gateway silent": ([gateway(silent=SILENT), seen(handshake=SECOND, connected_since=HOUR)], State.UNKNOWN),
    "revoked, still on": ([REVOKED, gateway(), seen(handshake=SECOND, connected_since=HOUR)], State.REVOKING),
    "off": ([gateway(), seen(on=False, handshake=SECOND, connected_since=HOUR)], State.PENDING),
}  # fmt: skip


@pytest.mark.parametrize(("makers", "state"), NO_LONGER_CONNECTED.values(), ids=NO_LONGER_CONNECTED)
def test_connected_since_is_said_only_of_who_is_connected(judged, makers, state):
    found = judged(*makers)
    assert (found.state, found.connected_since) == (state, None)


def test_the_time_to_judge_by_is_the_databases(database):
    at = database_now()
    assert at.tzinfo is not None
    assert database.sql(f"SELECT now() BETWEEN '{at}' AND timestamptz '{at}' + interval '1 minute'") == "t"


def test_removed_at_is_when_the_last_gateway_read_it_back_as_gone(judged):
    found = judged(
        REVOKED, gateway(), gateway("gw2"),
        seen(on=False, since=100 * SECOND, handshake=HOUR), seen("gw2", on=False, since=90 * SECOND),
    )  # fmt: skip
    assert (found.state, found.removed_at, found.since) == (State.REVOKED, AT - 90 * SECOND, None)


def test_a_peer_that_was_never_on_was_never_removed(judged):
    found = judged(gateway(), seen(on=False, key="", problem="It is odd."))
    assert (found.state, found.removed_at, found.problem) == (State.INVALID, None, "It is odd.")


def test_fifty_peers_cost_as_many_queries_as_one(database):
    on = rows.interface()
    first = rows.peer(rows.person(), on)
    first.first_key = first.key.public_key
    database.sql(gateway()(first) + seen()(first))
    with CaptureQueriesContext(connection) as one:
        standings(Peer.objects.all(), AT)
    for _ in range(49):
        made = rows.peer(rows.person(), on)
    made.first_key = made.key.public_key
    database.sql(seen()(made))
    with CaptureQueriesContext(connection) as fifty:
        found = standings(Peer.objects.all(), timezone.now())
    assert len(found) == 50
    assert len(fifty) == len(one)
