"""What an owner is told once: a device of theirs asked for its tunnel when it was not entitled to one."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from peers.models import PeerKey, RefusedHandshake
from peers.presentation import WORDS, Device
from peers.states import State

UNCLEAR = (State.UNKNOWN, State.REVOKING)  # why it was not let in is told once that can be said
READY = (State.PENDING, State.LIVE, State.CONNECTED, State.IDLE)  # it may be on again


@dataclass(frozen=True, slots=True)
class Notice:
    """That a device was not let in, with what its owner does about it as it stands now."""

    device: Device
    refused: RefusedHandshake
    advice: str

    @property
    def waits_for_sign_in(self) -> bool:
        return self.device.state == State.SIGNED_OUT


def untold(devices: Iterable[Device]) -> list[Notice]:
    """Return what the owner of ``devices``, whose peers came with their refused handshakes, has not been told yet."""
    clear = [device for device in devices if device.peer.revoked_at or device.state not in UNCLEAR]
    news = [(device, refused) for device in clear if (refused := device.refused) and not refused.is_told]
    keys = _keys([device.peer.pk for device, _refused in news])
    return [Notice(device, refused, _advice(device, refused, keys)) for device, refused in news]


def _keys(peers: Collection[UUID]) -> dict[UUID, PeerKey]:
    """Return the key in use of each of ``peers`` that has one."""
    if not peers:
        return {}
    return {key.peer_id: key for key in PeerKey.objects.filter(peer__in=peers, retired_at=None)}


def _advice(device: Device, refused: RefusedHandshake, keys: Mapping[UUID, PeerKey]) -> str:
    if device.peer.revoked_at:
        return _(
            "It was revoked, and nobody gets in with it. If you still use it, enrol it as a new device; if it is no longer in your hands, tell your administrator that somebody tried."
        )
    if device.state == State.SUSPENDED:
        return str(WORDS[State.SUSPENDED].explanation)  # what to do; its page has the administrator's reason
    if device.state not in READY:
        return device.explanation
    key = keys.get(device.peer.pk)
    # A key that came after the device itself has taken the place of another, which is refused for ever.
    if key and device.peer.enrolled_at < key.enrolled_at <= refused.latest_at:
        when = date_format(key.enrolled_at, pgettext("date format", "j F Y, H:i"))
        return _(
            "Its key was replaced on %(when)s UTC: it connects with the configuration made then, and with no older one. If you no longer have that, replace the key again."
        ) % {"when": when}
    if device.state == State.CONNECTED:
        return _("It is connected again: there is nothing to do.")
    return _("It is ready now: connect again.")
