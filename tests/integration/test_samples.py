"""What is kept of what went through: as the gateway's own role, from the rows that it writes."""

import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from peers.gateway.decide import Brake, Decision
from peers.gateway.gather import keys_of
from peers.gateway.record import Record
from peers.models import TrafficSample
from peers.wireguard.state import Changes, ObservedPeer, PeerSettings
from tests import rows
from tests.conftest import GATEWAY, OWNER
from tests.scene import fill

QUARTER = datetime(2026, 8, 3, 12, 0, tzinfo=UTC)
AT = QUARTER + timedelta(minutes=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
NOTHING_DONE = Decision(Changes({}, {}, frozenset()), frozenset(), Brake())


@pytest.fixture
def wg0(database):
    return rows.interface()


@pytest.fixture
def laptop(wg0):
    return rows.peer(rows.person("alice"), wg0)


def begin(wg0, name="gw", *, attached=True):
    """Return the record of a gateway that starts now; from here on the connection is the gateway's."""
    if connection.settings_dict["USER"] != GATEWAY:
        connection.close()
        connection.settings_dict["USER"] = GATEWAY
    return Record.begun(name, wg0, attached=attached)


def full_pass(record, *peers, handshake=AT - SECOND, rx_bytes=10, tx_bytes=20, at=AT):
    """Write down what a full pass does that reads each of ``peers`` back so."""
    known = keys_of([str(peer.pk) for peer in peers])
    seen = ObservedPeer(PeerSettings(frozenset()), "192.0.2.7:40000", handshake, rx_bytes, tx_bytes)
    news = record.statuses.read(known, dict.fromkeys(known, seen), held=(), problems={}, ended={}, at=at)
    record.write(news, removed={}, drift={}, decision=NOTHING_DONE, ended={}, at=at, read_at=at)


def samples():
    return list(TrafficSample.objects.order_by("at").values_list("at", "rx_bytes", "tx_bytes"))


def test_a_quarter_is_sampled_once_whatever_passes_and_restarts_come(wg0, laptop):
    record = begin(wg0)
    full_pass(record, laptop)
    record.sample(AT)
    full_pass(record, laptop, rx_bytes=30, at=AT + 2 * MINUTE)
    record.sample(AT + 2 * MINUTE)
    record = begin(wg0)
    full_pass(record, laptop, rx_bytes=50, at=AT + 4 * MINUTE)
    record.sample(AT + 4 * MINUTE)
    assert samples() == [(QUARTER, 10, 20)]


def test_the_next_quarter_is_sampled_too(wg0, laptop):
    record = begin(wg0)
    full_pass(record, laptop)
    record.sample(AT)
    later = QUARTER + 15 * MINUTE
    full_pass(record, laptop, handshake=later - SECOND, rx_bytes=30, at=later)
    record.sample(later)
    assert samples() == [(QUARTER, 10, 20), (later, 30, 20)]


def test_passes_and_samples_with_nothing_new_write_nothing(wg0, laptop):
    record = begin(wg0)
    full_pass(record, laptop)
    record.sample(AT)
    with CaptureQueriesContext(connection) as asked:
        full_pass(record, laptop, at=AT + 2 * MINUTE)
        record.sample(AT + 2 * MINUTE)
    assert [query["sql"][:6] for query in asked] == ["SELECT"], "but for the test's own look at the keys"
    record = begin(wg0)
    full_pass(record, laptop, at=AT + 3 * MINUTE)  # the gateway's own row is saved once at each start
    with CaptureQueriesContext(connection) as asked:
        full_pass(record, laptop, at=AT + 4 * MINUTE)
    assert len(asked) == 1
    assert record.statuses.read({}, {}, held=(), problems={}, ended={}, at=AT) == {}


def test_what_was_written_of_a_connection_is_read_back_at_a_restart(wg0, laptop):
    first = AT - 4 * MINUTE
    for handshake in (first, first + 2 * MINUTE, first + 4 * MINUTE):
        record = begin(wg0)
        full_pass(record, laptop, handshake=handshake)
    assert laptop.statuses.get().connected_since == first


NOT_CONNECTED = {
    "never a handshake": {"handshake": None},
    "a handshake three minutes ago": {"handshake": AT - 3 * MINUTE},
}


@pytest.mark.parametrize("fields", NOT_CONNECTED.values(), ids=NOT_CONNECTED)
def test_who_is_not_connected_is_not_sampled(wg0, laptop, fields):
    record = begin(wg0)
    full_pass(record, laptop, **fields)
    record.sample(AT)
    assert samples() == []


def test_who_had_a_handshake_just_under_three_minutes_ago_is_sampled(wg0, laptop):
    record = begin(wg0)
    full_pass(record, laptop, handshake=AT - 3 * MINUTE + SECOND)
    record.sample(AT)
    assert len(samples()) == 1


def test_who_is_off_the_interface_is_not_sampled(wg0, laptop, database):
    record = begin(wg0)
    full_pass(record, laptop)
    database.sql("UPDATE peers_peerstatus SET present = false")
    record.sample(AT)
    assert samples() == []


def test_what_another_gateway_read_back_is_that_gateways_to_sample(wg0, laptop):
    record, other = begin(wg0), begin(wg0, "other")
    full_pass(other, laptop)
    record.sample(AT)
    assert samples() == []
    other.sample(AT)
    assert TrafficSample.objects.get().gateway_id == other.row.pk


def test_a_peer_that_two_gateways_read_back_has_a_sample_of_each(wg0, laptop):
    for name in ("gw", "other"):
        record = begin(wg0, name)
        full_pass(record, laptop)
        record.sample(AT)
    assert TrafficSample.objects.filter(peer=laptop.pk, at=QUARTER).count() == 2


def test_what_goes_through_another_interface_of_this_gateway_is_not_this_ones_to_sample(wg0, laptop):
    wg1 = rows.interface("wg1")
    elsewhere = rows.peer(rows.person("bob"), wg1)
    record, other = begin(wg0), begin(wg1)
    full_pass(record, laptop)
    full_pass(other, elsewhere)
    record.sample(AT)
    assert TrafficSample.objects.get().peer_id == laptop.pk


def test_a_gateway_without_an_interface_samples_nothing_that_it_had_read_back_before(wg0, laptop):
    full_pass(begin(wg0), laptop)
    begin(wg0, attached=False).sample(AT)
    assert samples() == []


def test_more_than_a_thousand_are_sampled_bit_by_bit(wg0, database):
    fill(database, wg0, 1_100)
    record = begin(wg0)
    database.sql(
        "INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, latest_handshake, endpoint,"
        f" rx_bytes, tx_bytes, held, problem) SELECT 'gw', id, '', true, now(), '{AT - SECOND}', '', 1, 2, false, ''"
        " FROM peers_peer"
    )
    counts = []
    for seconds in range(4):
        record.sample(AT + seconds * SECOND)
        counts.append(len(samples()))
    assert counts == [1_000, 1_100, 1_100, 1_100]


def insert(record, peer, at, many=1):
    """Return a statement that inserts ``many`` samples, the newest of them at ``at``."""
    return (
        "INSERT INTO peers_trafficsample (gateway_id, peer_id, at, rx_bytes, tx_bytes)"
        f" SELECT {record.row.pk}, '{peer.pk}', '{at}'::timestamptz - n * interval '15 minutes', 1, 2"
        f" FROM generate_series(0, {many - 1}) n"
    )


def test_samples_are_kept_for_48_hours(wg0, laptop, database):
    record = begin(wg0)
    kept, dropped = AT - timedelta(hours=48), AT - timedelta(hours=48, seconds=1)
    database.sql(f"{insert(record, laptop, kept)}; {insert(record, laptop, dropped)}")
    record.sample(AT)
    assert [at for at, *_ in samples()] == [kept]


def test_old_samples_of_another_gateway_are_that_gateways_to_drop(wg0, laptop, database):
    record, other = begin(wg0), begin(wg0, "other")
    database.sql(insert(other, laptop, AT - timedelta(days=3)))
    record.sample(AT)
    assert len(samples()) == 1
    other.sample(AT)
    assert samples() == []


def test_more_than_a_thousand_old_samples_are_dropped_bit_by_bit(wg0, laptop, database):
    record = begin(wg0)
    database.sql(insert(record, laptop, AT - timedelta(days=3), many=1_100))
    counts = []
    for seconds in range(2):
        record.sample(AT + seconds * SECOND)
        counts.append(len(samples()))
    assert counts == [100, 0]


def test_a_sample_that_another_writes_at_the_same_moment_is_no_error(wg0, laptop, database):
    record = begin(wg0)
    full_pass(record, laptop)
    with closing(psycopg2.connect(database.url(OWNER))) as another, another.cursor() as cursor:
        cursor.execute(insert(record, laptop, QUARTER))

        def commit_once_waited_for():
            while database.sql("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0":
                time.sleep(0.01)
            another.commit()

        committing = threading.Thread(target=commit_once_waited_for)
        committing.start()
        record.sample(AT)
        committing.join()
    assert samples() == [(QUARTER, 1, 2)]
