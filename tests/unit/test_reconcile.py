"""What a gateway remembers of deadlines between its passes."""

from datetime import UTC, datetime, timedelta

from peers.gateway.gather import Wanted
from peers.gateway.memory import Memory
from peers.gateway.status import Ended
from peers.wireguard.keys import ZERO_KEY
from peers.wireguard.state import PeerSettings

NOW = datetime(2026, 8, 3, 14, 2, 11, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SETTINGS = PeerSettings(frozenset(), ZERO_KEY, 0)


def test_whose_time_was_over_when_a_pass_no_longer_wants_it_ended_by_its_deadline():
    """A pass may find that out before the deadline's own timer does; who was revoked in time did not end by it."""
    memory = Memory()
    untils = {"over": NOW - SECOND, "revoked": NOW + 60 * SECOND, "for ever": None, "stays": NOW - SECOND}
    wanted = {key: Wanted(key, SETTINGS, until) for key, until in untils.items()}
    memory.want(wanted, NOW)
    memory.want({"stays": wanted["stays"]}, NOW)
    assert memory.ended == {"over": Ended(NOW - SECOND)}
