"""What pages say: the words for each state, and the first guess at what a new device is called."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from peers.models import ApiToken, Peer, RefusedHandshake
from peers.states import Standing, State


@dataclass(frozen=True, slots=True)
class Words:
    """A state as a page shows it: ``label``, what it means and what to do, and a shape: colour alone says nothing."""

    label: str | Promise
    explanation: str | Promise
    shape: str
    tone: str


WORDS = {
    State.PENDING: Words(
        _("Pending"),
        _(
            "The network has not taken this device in yet. That takes a second; if it stays, tell your administrator."
        ),
        "ring",
        "waiting",
    ),
    State.LIVE: Words(
        _("Live"), _("The network is ready for this device. Switch its tunnel on to connect."), "dot", "good"
    ),
    State.CONNECTED: Words(_("Connected"), _("On the network and in use."), "tick", "good"),
    State.IDLE: Words(
        _("Ready"),
        _("It connects when you switch its tunnel on. Until then nothing on the network can reach it."),
        "ring",
        "good",
    ),
    State.REVOKING: Words(
        _("Revoking"), _("No longer allowed; the network is taking it off."), "ring", "waiting"
    ),
    State.REVOKED: Words(
        _("Revoked"),
        _("Off the network for good. To use this device again, enrol it afresh."),
        "cross",
        "off",
    ),
    State.EXPIRED: Words(_("Expired"), _("Its time is over. Enrol the device again."), "cross", "off"),
    State.SUSPENDED: Words(
        _("Suspended"), _("An administrator has paused it. Ask them to let it back in."), "pause", "off"
    ),
    State.SIGNED_OUT: Words(
        _("Sign-in over"),
        _("Your last sign-in is too long ago. Sign in again, and the device is back as it was."),
        "pause",
        "waiting",
    ),
    State.HELD: Words(
        _("Held"),
        _("No longer allowed but still connected: an administrator has to confirm the removal."),
        "warning",
        "bad",
    ),
    State.INVALID: Words(
        _("Invalid"),
        _("The network cannot use this device's entry. Ask your administrator."),
        "warning",
        "bad",
    ),
    State.UNKNOWN: Words(
        _("Unknown"),
        _("The network has not reported for a while, so nobody can say. Try the tunnel; it may well work."),
        "warning",
        "bad",
    ),
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

    @property
    def explanation(self) -> str:
        """What the state means for this device, with an administrator's reason, and what its owner may do about it."""
        reason = self.peer.suspend_reason or self.peer.holder.suspend_reason
        if self.state == State.SUSPENDED and reason:
            return _("An administrator has paused it: %(reason)s") % {"reason": reason}
        if self.state == State.SIGNED_OUT and self.peer.owner and self.peer.owner.access_ended_at:
            return gettext(
                "Your company's sign-in no longer vouches for you. Sign in again, and the device is back as it was; if you are refused, ask your administrator."
            )
        return str(self.words.explanation)

    @property
    def refused(self) -> RefusedHandshake | None:
        """The handshakes of it that were refused; None where none ever were. It asks for a peer that came with them."""
        return getattr(self.peer, "refused_handshake", None)

    @property
    def signed_in_until(self) -> datetime | None:
        """When the sign-in that the device stands on runs out; None where none does, or where it is over already.

        It asks for a peer of ``with_lease``.
        """
        return None if self.peer.holder_ended_at else self.peer.signed_in_until


class TokenState(StrEnum):
    """Whether a token acts; ``ASLEEP``: not while its owner's sign-in is over, or while its account is suspended."""

    USABLE = "usable"
    ASLEEP = "asleep"
    EXPIRED = "expired"
    REVOKED = "revoked"


TOKEN_WORDS = {
    TokenState.USABLE: Words(_("Usable"), "", "tick", "good"),
    TokenState.ASLEEP: Words(
        _("Asleep"),
        _(
            "It works again once its owner signs in again, or once its service account is no longer suspended."
        ),
        "pause",
        "waiting",
    ),
    TokenState.EXPIRED: Words(_("Expired"), "", "cross", "off"),
    TokenState.REVOKED: Words(_("Revoked"), "", "cross", "off"),
}


def token_state(token: ApiToken) -> TokenState:
    """Return the state of a token that ``with_usable`` found."""
    if token.revoked_at is not None:
        return TokenState.REVOKED
    if token.expires_at <= token.seen_at:
        return TokenState.EXPIRED
    return TokenState.USABLE if token.is_usable else TokenState.ASLEEP


@dataclass(frozen=True, slots=True)
class TokenLine:
    """A token with its state, as a list shows it."""

    token: ApiToken
    state: TokenState

    @property
    def words(self) -> Words:
        return TOKEN_WORDS[self.state]


def token_lines(tokens: Iterable[ApiToken]) -> list[TokenLine]:
    """Return each of ``tokens``, which ``with_usable`` found, with its state."""
    return [TokenLine(token, token_state(token)) for token in tokens]


@dataclass(frozen=True, slots=True)
class Guess:
    """What a new device probably is, and a name to start from."""

    platform: Peer.Platform
    name: str | Promise


# Read in order: an Android browser also says Linux. iPads say Macintosh; only the page itself can tell them apart.
USER_AGENTS = (
    (r"iPhone|iPod", Guess(Peer.Platform.IOS, "iPhone")),
    (r"iPad", Guess(Peer.Platform.IOS, "iPad")),
    (r"Android.*Mobile", Guess(Peer.Platform.ANDROID, _("Android phone"))),
    (r"Android", Guess(Peer.Platform.ANDROID, _("Android tablet"))),
    (r"Windows", Guess(Peer.Platform.WINDOWS, _("Windows laptop"))),
    (r"Macintosh", Guess(Peer.Platform.MACOS, "Mac")),
    (r"CrOS", Guess(Peer.Platform.OTHER, "Chromebook")),
    (r"Linux", Guess(Peer.Platform.LINUX, _("Linux laptop"))),
)


def guess(user_agent: str, taken: Iterable[str]) -> Guess:
    """Return what ``user_agent`` says of the device, under a name that is not yet ``taken``."""
    found = (guess for pattern, guess in USER_AGENTS if re.search(pattern, user_agent))
    first = next(found, Guess(Peer.Platform.OTHER, _("My device")))
    names, number, name = set(taken), 2, str(first.name)
    while name in names:
        name, number = f"{first.name} {number}", number + 1
    return Guess(first.platform, name)
