"""What pages say of a device's end: when it was, and when each gateway had it off the network."""

from collections.abc import Sequence
from datetime import UTC, datetime

from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from peers.models import Peer
from peers.receipts import DUE, Receipt

ENDED = {
    "revoke": _("Revoked at %(at)s"),
    "suspend": _("Suspended at %(at)s"),
    "access_ended": _("Access ended at %(at)s"),
    "groups_changed": _("Groups changed at %(at)s"),
    "change_account": _("Service account changed at %(at)s"),
    "expire": _("Expired at %(at)s"),
    "expired": _("Expired at %(at)s"),
    DUE: _("Sign-in over at %(at)s"),
}
DELAYS = (
    (10_000, 1, "ms"),
    (600_000, 1000, "s"),
    (36_000_000, 60_000, "min"),
)  # up to how many ms, in which unit


def taken_off(peer: Peer, found: Sequence[Receipt]) -> str:
    """Return in an employee's words what gateways say of a device's end, each by its name where there are several."""
    days = sorted({one.removed_at.astimezone(UTC).date() for one in found if one.removed_at})
    sentences = [told(one, peer) if len(found) == 1 else f"{one.gateway}: {told(one, peer)}" for one in found]
    if not days:
        return "; ".join(sentences)
    day = date_format(days[-1], str(_("j F Y")))
    return _("%(day)s (UTC): %(sentences)s") % {"sentences": "; ".join(sentences), "day": day}


def told(receipt: Receipt, peer: Peer) -> str:
    """Return a gateway's receipt in words, with times of day in UTC."""
    if receipt.removed_at is None:
        return str(_("Not yet confirmed"))
    if receipt.at is None or receipt.milliseconds is None or receipt.after not in ENDED:
        return _("Off the network at %(removed_at)s") % {"removed_at": _clock(receipt.removed_at)}
    after = "expired" if receipt.after == DUE and receipt.at == peer.expires_at else receipt.after
    return _("%(ended)s, off the network at %(removed_at)s (%(delay)s later)") % {
        "ended": ENDED[after] % {"at": _clock(receipt.at)},
        "removed_at": _clock(receipt.removed_at),
        "delay": delay(receipt.milliseconds),
    }


def delay(milliseconds: int) -> str:
    """Return a time in the unit that a reader wants it in, such as 83 ms."""
    amount, unit = next(
        ((size, name) for most, size, name in DELAYS if milliseconds < most), (3_600_000, "h")
    )
    return f"{milliseconds // amount} {unit}"


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S}"
