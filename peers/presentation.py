"""What pages say: the words for each state, and the first guess at what a new device is called."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from peers.models import Peer
from peers.states import Standing, State


@dataclass(frozen=True, slots=True)
class Words:
    """A state as a page shows it: ``label``, one sentence, and a shape, so that colour alone says nothing."""

    label: str
    explanation: str
    shape: str
    tone: str


WORDS = {
    State.PENDING: Words(
        "Pending", "The gateway has not put this device on the network yet.", "ring", "waiting"
    ),
    State.LIVE: Words("Live", "On the network; no connection in the last three minutes.", "dot", "good"),
    State.CONNECTED: Words("Connected", "On the network and in use.", "tick", "good"),
    State.IDLE: Words("Idle", "Put on the network as soon as the device connects.", "ring", "good"),
    State.REVOKING: Words("Revoking", "No longer allowed; the gateway is taking it off.", "ring", "waiting"),
    State.REVOKED: Words(
        "Revoked", "Off the network for good; its key can never be used again.", "cross", "off"
    ),
    State.EXPIRED: Words("Expired", "Its time is over. Enrol the device again.", "cross", "off"),
    State.SUSPENDED: Words(
        "Suspended", "An administrator has paused this device or your account.", "pause", "off"
    ),
    State.SIGNED_OUT: Words(
        "Sign-in over",
        "Your last sign-in is too long ago. Sign out and in again to reconnect.",
        "pause",
        "waiting",
    ),
    State.HELD: Words(
        "Held",
        "No longer allowed but still on: an administrator has to confirm the removal.",
        "warning",
        "bad",
    ),
    State.INVALID: Words(
        "Invalid", "The gateway cannot use this device's entry. Ask your administrator.", "warning", "bad"
    ),
    State.UNKNOWN: Words("Unknown", "The gateway has not reported for a while.", "warning", "bad"),
}


@dataclass(frozen=True, slots=True)
class Device:
    """A peer with its standing and the words for it."""

    peer: Peer
    standing: Standing

    @property
    def state(self) -> State:
        return self.standing.state

    @property
    def words(self) -> Words:
        return WORDS[self.standing.state]


@dataclass(frozen=True, slots=True)
class Guess:
    """What a new device probably is, and a name to start from."""

    platform: Peer.Platform
    name: str


# Read in order: an Android browser also says Linux. iPads say Macintosh; only the page itself can tell them apart.
USER_AGENTS = (
    (r"iPhone|iPod", Guess(Peer.Platform.IOS, "iPhone")),
    (r"iPad", Guess(Peer.Platform.IOS, "iPad")),
    (r"Android.*Mobile", Guess(Peer.Platform.ANDROID, "Android phone")),
    (r"Android", Guess(Peer.Platform.ANDROID, "Android tablet")),
    (r"Windows", Guess(Peer.Platform.WINDOWS, "Windows laptop")),
    (r"Macintosh", Guess(Peer.Platform.MACOS, "Mac")),
    (r"CrOS", Guess(Peer.Platform.OTHER, "Chromebook")),
    (r"Linux", Guess(Peer.Platform.LINUX, "Linux laptop")),
)


def guess(user_agent: str, taken: Iterable[str]) -> Guess:
    """Return what ``user_agent`` says of the device, under a name that is not yet ``taken``."""
    found = (guess for pattern, guess in USER_AGENTS if re.search(pattern, user_agent))
    first = next(found, Guess(Peer.Platform.OTHER, "My device"))
    names, number, name = set(taken), 2, first.name
    while name in names:
        name, number = f"{first.name} {number}", number + 1
    return Guess(first.platform, name)
