"""What a gateway remembers of deadlines between its passes."""

from datetime import UTC, datetime, timedelta

from peers.gateway.attachment import NoInterface
from peers.gateway.clock import monotonic
from peers.gateway.gather import Wanted
from peers.gateway.reconcile import Reconciler
from peers.gateway.status import Ended
from peers.wireguard.keys import ZERO_KEY
from peers.wireguard.state import PeerSettings

NOW = datetime(2026, 8, 3, 14, 2, 11, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SETTINGS = PeerSettings(frozenset(), ZERO_KEY, 0)


def test_whose_time_was_over_when_a_pass_no_longer_wants_it_ended_by_its_deadline():
    """A pass may find that out before the deadline's own timer does; who was revoked in time did not end by it."""
    gateway = Reconciler("gateway", "wg0", NoInterface(None))
    gateway.clock.set(NOW, monotonic())
    untils = {"over": NOW - SECOND, "revoked": NOW + 60 * SECOND, "for ever": None, "stays": NOW - SECOND}
    wanted = {key: Wanted(key, SETTINGS, until) for key, until in untils.items()}
    gateway._want(wanted)
    gateway._want({"stays": wanted["stays"]})
    assert gateway.memory.ended == {"over": Ended(NOW - SECOND)}
