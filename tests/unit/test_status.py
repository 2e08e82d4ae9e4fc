"""What a reading says of a peer, from the reading before it and from what the interface shows now."""

from datetime import UTC, datetime, timedelta

import pytest

from peers.gateway.samples import begin_of_quarter
from peers.gateway.status import Reading, _absent, _present
from peers.wireguard.keys import ZERO_KEY
from peers.wireguard.state import ObservedPeer, PeerSettings
from tests import rows

AT = datetime(2026, 8, 3, 12, 7, 30, tzinfo=UTC)
KEY, OTHER_KEY = rows.public_key(), rows.public_key()
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SETTINGS = PeerSettings(frozenset(), ZERO_KEY, 0)


def seen(handshake, rx_bytes=0):
    return ObservedPeer(SETTINGS, "192.0.2.7:40000", handshake, rx_bytes, 0)


def was(handshake, connected_since=None, **fields):
    return Reading(KEY, present=True, since=AT - HOUR, latest_handshake=handshake,
                   connected_since=connected_since, **fields)  # fmt: skip


FIRST = AT - 20 * MINUTE
LAST = AT - 2 * MINUTE
ALMOST = timedelta(minutes=3) - timedelta(seconds=1)

CASES = {
    "never seen before, no handshake": (None, None, None),
    "never seen before, with a handshake": (None, AT, AT),
    "no handshake, then none": (was(None), None, None),
    "the first handshake": (was(None), AT, AT),
    "the same handshake again": (was(LAST, FIRST), LAST, FIRST),
    "two minutes after the last": (was(LAST, FIRST), AT, FIRST),
    "just under three minutes after the last": (was(AT - ALMOST, FIRST), AT, FIRST),
    "three minutes after the last": (was(AT - 3 * MINUTE, FIRST), AT, AT),
    "an hour after the last": (was(AT - HOUR, AT - 2 * HOUR), AT, AT),
    "a row from before anybody counted": (was(LAST), AT, LAST),
    "the handshake is gone": (was(LAST, FIRST), None, None),
    "it was off in between": (_absent(was(LAST, FIRST), AT), AT, AT),
    "another key before": (Reading(OTHER_KEY, True, FIRST, LAST, FIRST), AT, AT),
    "the host's clock was put back": (was(AT + HOUR, AT + HOUR - MINUTE), AT, AT),
    "put aside before, but on": (was(LAST, FIRST, problem="It is odd."), AT, FIRST),
}


@pytest.mark.parametrize(("before", "handshake", "expected"), CASES.values(), ids=CASES)
def test_connected_since_is_the_first_handshake_of_those_that_follow_without_a_gap(
    before, handshake, expected
):
    assert _present(before, KEY, seen(handshake), AT, held=False).connected_since == expected


def test_a_handshake_every_two_minutes_all_day_is_one_connection():
    reading = None
    for minutes in range(0, 24 * 60, 2):
        reading = _present(reading, KEY, seen(AT + minutes * MINUTE), AT, held=False)
    assert reading.connected_since == AT


def test_an_absent_peer_keeps_when_it_was_connected_as_it_keeps_its_last_handshake():
    gone = _absent(was(LAST, FIRST), AT)
    assert (gone.present, gone.latest_handshake, gone.connected_since) == (False, LAST, FIRST)


@pytest.mark.parametrize(
    "before", [was(LAST, FIRST, endpoint="192.0.2.7:40000"), was(LAST, endpoint="192.0.2.7:40000")]
)
def test_what_has_not_changed_is_no_news(before):
    assert before.says(KEY, seen(LAST), held=False, counters=True)
    assert not before.says(KEY, seen(LAST + 2 * MINUTE), held=False, counters=True)
    assert not before.says(KEY, seen(LAST, rx_bytes=1), held=False, counters=True)
    assert before.says(KEY, seen(LAST, rx_bytes=1), held=False, counters=False)


QUARTERS = {
    "in the middle": ("12:07:30", "12:00:00"),
    "at its very beginning": ("12:15:00", "12:15:00"),
    "just before the next": ("12:14:59.999999", "12:00:00"),
    "the first of a day": ("00:00:00.000001", "00:00:00"),
}


@pytest.mark.parametrize(("at", "begun"), QUARTERS.values(), ids=QUARTERS)
def test_a_quarter_begins_when_the_clock_says_so(at, begun):
    at, begun = (datetime.fromisoformat(f"2026-08-03T{time}+00:00") for time in (at, begun))
    assert begin_of_quarter(at) == begun


def test_a_quarter_before_the_year_2000_is_one_too():
    assert begin_of_quarter(datetime(1999, 12, 31, 23, 59, tzinfo=UTC)) == datetime(
        1999, 12, 31, 23, 45, tzinfo=UTC
    )
