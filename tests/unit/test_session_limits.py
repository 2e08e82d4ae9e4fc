"""When a session is over, and how its person is told."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.models import User
from portal.session_limits import Limits, Over, limits, over, sentence

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
LIMITS = Limits(age=12 * HOUR, idle=HOUR)


@pytest.mark.parametrize(
    ("began", "last_act", "why"),
    [
        (12 * HOUR - SECOND, SECOND, None),
        (12 * HOUR, SECOND, Over.AGE),
        (2 * HOUR, HOUR - SECOND, None),
        (2 * HOUR, HOUR, Over.IDLE),
        (13 * HOUR, 2 * HOUR, Over.AGE),
        (timedelta(0), timedelta(0), None),
    ],
)
def test_a_session_is_over_at_its_age_or_after_too_long_without_use(began, last_act, why):
    assert over(LIMITS, began_at=NOW - began, last_act_at=NOW - last_act, at=NOW) == why


def test_whoever_may_see_the_administration_has_tighter_limits():
    assert limits(User()) == Limits(12 * HOUR, HOUR)
    assert limits(User(is_staff=True)) == Limits(8 * HOUR, 15 * MINUTE)


@pytest.mark.parametrize(
    ("why", "length", "said"),
    [
        (Over.IDLE, HOUR, "You were signed out after an hour without use."),
        (Over.IDLE, 3 * HOUR, "You were signed out after 3 hours without use."),
        (Over.IDLE, 15 * MINUTE, "You were signed out after 15 minutes without use."),
        (Over.IDLE, SECOND, "You were signed out after a minute without use."),
        (Over.AGE, HOUR, "You were signed out, because you signed in an hour ago."),
        (Over.AGE, 12 * HOUR, "You were signed out, because you signed in 12 hours ago."),
        (Over.AGE, 90 * MINUTE, "You were signed out, because you signed in 90 minutes ago."),
    ],
)
def test_a_person_is_told_why_and_that_their_devices_stay(why, length, said):
    assert sentence(why, Limits(length, length)) == f"{said} Your devices stay connected."
