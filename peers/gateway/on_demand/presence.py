"""Who stays on an interface on demand: whoever is on, is entitled, and was heard of late."""

import logging
from collections.abc import Set as AbstractSet
from datetime import datetime

from peers.gateway.clock import monotonic
from peers.gateway.gather import Desired, gather
from peers.gateway.on_demand import timestamps
from peers.gateway.on_demand.activity import Activity
from peers.gateway.on_demand.seen import Seen
from peers.models import Interface
from peers.wireguard import wg
from peers.wireguard.state import Observed

logger = logging.getLogger(__name__)


class Presence:
    """What a gateway's passes ask about an interface in either mode; remembers when each peer was last heard."""

    def __init__(self) -> None:
        self.seen = Seen()
        self._activity = Activity()

    def desired(self, interface: Interface, observed: Observed, wanted: AbstractSet[str]) -> Desired:
        """Return what may be on: everybody, or on demand who is, or is ``wanted`` by its key and has vanished."""
        if not interface.on_demand:
            self._activity.forget()
            return gather(interface)
        self._activity.note(observed.peers, monotonic())
        return gather(interface, keys=observed.peers.keys() | wanted)

    def idle(self, interface: Interface, desired: Desired, at: datetime) -> dict[str, str]:
        """Return the keys, with their peers, that leave now for want of use; a second look spares who has just come back."""
        if not interface.on_demand:
            return {}
        idle = self._activity.idle(monotonic(), interface.idle_minutes) & desired.peers.keys()
        if idle:
            # Before the last look: it takes a while, and harms nobody who has come back.
            timestamps.pass_over({key: self.seen.age(key, monotonic()) for key in idle}, at)
            idle = self._activity.still(idle, wg.show(interface.name, idle).peers)
            logger.info("idle", extra={"interface": interface.name, "peers": len(idle)})
        return {key: desired.peers[key].peer for key in idle}
