"""How much went through: differences of counters that begin again, and what a page makes of them."""

from datetime import UTC, datetime, timedelta

import pytest

from peers.models import GatewayStatus, PeerStatus, TrafficSample
from peers.traffic import INSTANT, Reading, last_day, steps
from tests import rows

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def reading(quarter: int, total: int, gateway: str = "one") -> Reading:
    return Reading(gateway, NOON + quarter * QUARTER, total)


def added(*readings: Reading, after: int = -1000) -> list[tuple[int, int]]:
    """Return (the quarter that it was counted at, bytes)."""
    found = steps(readings, after=NOON + after * QUARTER)
    return [(round((at + INSTANT - NOON) / QUARTER), total) for at, total in found]


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([], []),
        ([reading(0, 500)], []),
        ([reading(0, 500), reading(1, 700)], [(1, 200)]),
        ([reading(1, 700), reading(0, 500)], [(1, 200)]),
        ([reading(0, 500), reading(1, 500)], [(1, 0)]),
        ([reading(0, 500), reading(1, 30), reading(2, 40)], [(1, 30), (2, 10)]),
        ([reading(0, 500), reading(9, 700)], [(9, 200)]),
        ([reading(0, 500), reading(0, 1, "two"), reading(1, 3, "two")], [(1, 2)]),
    ],
    ids=[
        "nothing", "one reading", "growth", "in any order", "no growth", "counters that began again", "a gap",
        "two gateways count apart",
    ],
)  # fmt: skip
def test_what_a_reading_adds(readings, expected):
    assert added(*readings) == expected


def test_what_was_counted_before_the_time_asked_for_is_only_where_counters_stood():
    assert added(reading(0, 500), reading(1, 700), reading(2, 1000), after=1) == [(2, 300)]


@pytest.fixture
def peer(database):
    made = rows.peer(rows.person(), rows.interface())
    database.sql(
        "INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at,"
        f" drift_found, left_alone, unexplained, held, problem) VALUES ('gw', {made.interface_id}, '', true, now(),"
        " now(), 0, '{}', 0, 0, '')"
    )
    return made


def sample(database, peer, quarter: int, rx: int, tx: int) -> None:
    gateway = GatewayStatus.objects.get().pk
    database.sql(
        "INSERT INTO peers_trafficsample (gateway_id, peer_id, at, rx_bytes, tx_bytes)"
        f" VALUES ({gateway}, '{peer.pk}', '{NOON + quarter * QUARTER}', {rx}, {tx})"
    )


def present(database, peer, rx: int, tx: int, *, since: datetime) -> None:
    database.sql(
        "INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, endpoint, rx_bytes, tx_bytes,"
        f" held, problem) VALUES ('gw', '{peer.pk}', '', true, '{since}', '', {rx}, {tx}, false, '')"
    )


def test_the_quarter_that_is_not_over_counts_what_the_counters_say_now(database, peer):
    sample(database, peer, -1, 100, 20)
    sample(database, peer, 0, 150, 30)
    present(database, peer, 160, 50, since=NOON - timedelta(days=9))
    assert [total for _, total in last_day(peer, NOON + timedelta(minutes=5))] == [60, 30]


def test_counters_that_began_within_two_days_began_at_nothing(database, peer):
    present(database, peer, 160, 50, since=NOON - timedelta(minutes=5))
    assert [total for _, total in last_day(peer, NOON)] == [210]


def test_old_totals_of_a_device_that_comes_back_after_days_are_no_traffic_of_today(database, peer):
    present(database, peer, 10**9, 10**9, since=NOON - timedelta(days=9))
    assert [total for _, total in last_day(peer, NOON)] == []


def test_a_peer_that_is_off_has_the_traffic_of_its_samples(database, peer):
    sample(database, peer, -2, 100, 20)
    sample(database, peer, -1, 150, 30)
    assert PeerStatus.objects.count() == 0
    assert TrafficSample.objects.count() == 2
    assert [total for _, total in last_day(peer, NOON)] == [60]


def test_its_page_plots_it(database, peer, client):
    from peers.states import database_now

    at = database_now()
    database.sql(
        "INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, endpoint, rx_bytes, tx_bytes,"
        f" held, problem) VALUES ('gw', '{peer.pk}', '', true, '{at - QUARTER}', '', 3000000, 0, false, '')"
    )
    client.force_login(peer.owner)
    page = client.get(peer.get_absolute_url()).content.decode()
    assert "Traffic in the last 24 hours" in page
    assert "<svg" in page.split("Traffic in the last 24 hours")[1]
    assert "2.9\xa0MB" in page
