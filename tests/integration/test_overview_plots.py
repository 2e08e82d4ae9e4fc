"""The plots of the overview: devices enrolled by the day, connected by the quarter; what is over is counted once."""

from datetime import timedelta

from django.core.cache import cache
from django.utils import timezone

from peers.admin.overview import figures
from peers.admin.overview.page import overview
from peers.states import database_now
from tests import rows
from tests.integration.overview import INDEX, page, quarter, sampled, text


def connected(admin):
    """Return the columns of the second plot that are not zero: how many quarters ago, and how many devices."""
    request = admin.get(INDEX).wsgi_request
    columns = overview(request).plots[1].columns
    return {len(columns) - 1 - number: column.value for number, column in enumerate(columns) if column.value}


def test_devices_enrolled_are_counted_by_the_day(admin, wg0, gateway, database):
    owner = rows.person()
    for days in (0, 0, 3, 29, 31):
        rows.peer(owner, wg0, f"laptop {days}", at=timezone.now())
    database.sql(
        "UPDATE peers_peer SET enrolled_at = now() - split_part(name, ' ', 2)::int * interval '1 day'"
    )
    columns = overview(admin.get(INDEX).wsgi_request).plots[0].columns
    assert len(columns) == 30
    assert {29 - number: column.value for number, column in enumerate(columns) if column.value} == {
        0: 2,
        3: 1,
        29: 1,
    }
    assert "highest is 2 devices enrolled" in text(page(admin))


def test_devices_connected_are_counted_once_a_quarter(admin, wg0, gateway, database):
    gateway("gw1")
    gateway("gw2")
    owner = rows.person()
    first, second = rows.peer(owner, wg0, "first"), rows.peer(owner, wg0, "second")
    for back in (0, 4, 191):
        sampled(database, first, quarter(back))
    sampled(database, second, quarter(4))
    sampled(database, first, quarter(4), "gw2")  # on two gateways, and still one device
    sampled(database, first, quarter(192))
    assert connected(admin) == {0: 1, 4: 2, 191: 1}


def test_a_quarter_that_goes_on_is_counted_anew(admin, wg0, gateway, database):
    gateway()
    owner = rows.person()
    first, second = rows.peer(owner, wg0, "first"), rows.peer(owner, wg0, "second")
    sampled(database, first, quarter(3))
    sampled(database, first, quarter())
    assert connected(admin) == {0: 1, 3: 1}
    sampled(database, second, quarter())
    assert connected(admin) == {0: 2, 3: 1}


def test_a_quarter_that_is_over_is_counted_only_once(admin, wg0, gateway, database):
    gateway()
    sampled(database, rows.peer(rows.person(), wg0), quarter(3))
    assert connected(admin) == {3: 1}
    database.sql("DELETE FROM peers_trafficsample")
    assert connected(admin) == {3: 1}
    cache.clear()
    assert connected(admin) == {}


def test_a_quarter_is_counted_anew_until_its_last_samples_are_written(wg0, gateway, database):
    gateway()
    owner = rows.person()
    begin = quarter(8)
    sampled(database, rows.peer(owner, wg0, "first"), begin)
    just_over = begin + timedelta(minutes=15, seconds=30)
    assert figures.connected(begin, just_over, shared=False) == [(begin, 1)]
    sampled(database, rows.peer(owner, wg0, "late"), begin)
    assert figures.connected(begin, just_over, shared=False) == [(begin, 2)]


def test_what_was_counted_long_ago_is_forgotten(wg0, gateway, database):
    gateway()
    sampled(database, rows.peer(rows.person(), wg0), quarter(8))
    figures.connected(quarter(9), database_now(), shared=False)
    assert figures.connected(quarter(7), database_now(), shared=False) == []
