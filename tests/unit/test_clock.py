"""The database's time as a gateway keeps it, between its last answer and the next."""

from datetime import UTC, datetime, timedelta

from peers.gateway.clock import Clock, monotonic

NOW = datetime(2026, 8, 3, 14, 2, 11, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_an_answer_that_took_a_second_to_come_may_be_a_second_old():
    clock = Clock()
    clock.set(NOW, monotonic() - 1)
    assert NOW <= clock.now() < NOW + SECOND / 2  # by which deadlines are kept: never before they are due
    assert NOW + SECOND <= clock.latest() < NOW + SECOND * 3 / 2
