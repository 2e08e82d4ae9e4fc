"""Decide what a pass may change. Pure: the brake and first contact, no database, no interface."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from peers.wireguard.state import Changes, ObservedPeer, PeerSettings, diff

BRAKE_AT_LEAST = 5
BRAKE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Brake:
    """``unexplained`` removals since the operator's word ``released_at``; ``at`` is when it engaged, None: it is off."""

    unexplained: int = 0
    at: datetime | None = None
    released_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The changes to make, the removals that the brake holds, and the brake after it.

    ``whole`` is false when only some peers were looked at: then it says nothing about what is held.
    """

    changes: Changes
    held: frozenset[str]
    brake: Brake
    whole: bool = True


def spoken(brake: Brake, word: datetime | None) -> tuple[Brake, bool]:
    """Return the brake after the operator's word of ``word``, and whether that word lets go what it held."""
    if word is None or (brake.released_at is not None and word <= brake.released_at):
        return brake, False
    return Brake(released_at=word), brake.at is not None


def decide(
    desired: Mapping[str, PeerSettings],
    observed: Mapping[str, ObservedPeer],
    *,
    left_alone: Collection[str],
    explained: Collection[str],
    brake: Brake,
    released: bool,
    on_interface: int | None,
    at: datetime,
) -> Decision:
    """Return what to do about the difference.

    ``left_alone`` are the unknown keys of the first contact, ``explained`` those whose row says why they go,
    ``on_interface`` is how many peers it holds; None when ``desired`` and ``observed`` are a part of them: then what is
    unexplained waits for the next full pass. ``released`` lets everything go.
    """
    strangers = set(left_alone).difference(desired, explained)
    changes = diff(desired, {key: peer for key, peer in observed.items() if key not in strangers})
    unexplained = changes.remove.difference(explained)
    if on_interface is None:
        return Decision(
            replace(changes, remove=changes.remove - unexplained), frozenset(), brake, whole=False
        )
    count = brake.unexplained + len(unexplained)
    if not unexplained:
        return Decision(changes, frozenset(), replace(brake, at=None))
    if released:
        return Decision(changes, frozenset(), brake)
    if brake.at is None and count <= max(BRAKE_AT_LEAST, int(on_interface * BRAKE_SHARE)):
        return Decision(changes, frozenset(), replace(brake, unexplained=count))
    return Decision(
        replace(changes, remove=changes.remove - unexplained), unexplained, replace(brake, at=brake.at or at)
    )
