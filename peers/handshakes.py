"""What handshakes say of why a peer is not connected. Pure."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from peers.configuration import stale
from peers.facts import Facts, Finding, moment
from peers.models import CONNECTED_WITHIN, PeerStatus


def awaited(facts: Facts) -> str:
    """Say that an interface on demand does not hold it now, and since when; its next handshake puts it on."""
    values = {"interface": facts.peer.interface.name}
    if not facts.of_key:
        return _("%(interface)s takes it on at its first handshake.") % values
    sentence = _("It is off %(interface)s since %(at)s; its next handshake puts it on again.")
    return sentence % {**values, "at": moment(max(status.since for status in facts.of_key))}


def latest(facts: Facts) -> Finding:
    """Find out whether its latest handshake is recent enough; an interface on demand may have taken it off since."""
    seen = next(iter(facts.on or facts.of_key), None)
    if seen is None or seen.latest_handshake is None:
        return Finding(False, _never(facts), _causes(facts))
    values = {"at": moment(seen.latest_handshake), "server": facts.peer.interface.endpoint}
    recent = facts.at - seen.latest_handshake < CONNECTED_WITHIN
    if recent and facts.on:
        return Finding(True, _("Its latest handshake was at %(at)s.") % values)
    sentence = (
        _("Its latest handshake was at %(at)s, and it was taken off since.")
        if recent
        else _("Its latest handshake was at %(at)s, more than three minutes ago.")
    )
    remedy = _(
        "The device is off or asleep, its tunnel is switched off, or its network lets no UDP through to %(server)s."
    )
    return Finding(False, sentence % values + _from_where(seen), remedy % values)


def endpoint(facts: Facts) -> Finding:
    return Finding(True, _from_where(facts.on[0]).strip() or _("The gateway has not noted where from."))


def refused(facts: Facts) -> str:
    """Return how often its handshakes were refused; "" when none ever was."""
    if facts.refused is None:
        return ""
    sentence = ngettext(
        "It asked for its tunnel %(count)d time without being let in, at %(at)s.",
        "It asked for its tunnel %(count)d times without being let in, the last at %(at)s.",
        facts.refused.count,
    )
    return sentence % {"count": facts.refused.count, "at": moment(facts.refused.latest_at)}


def _from_where(seen: PeerStatus) -> str:
    """Return the sentence that says where it was seen, with a space before it; "" where that is not noted."""
    if not seen.endpoint:
        return ""
    return " " + _("It was last seen from %(endpoint)s.") % {"endpoint": seen.endpoint}


def _never(facts: Facts) -> str:
    if not facts.on:
        return _("No handshake of it has been seen.")
    return _("No handshake of it has been seen since it came on at %(at)s.") % {
        "at": moment(facts.on[0].since)
    }


def _causes(facts: Facts) -> str:
    """Return what to look for on a device that has never been heard, the likeliest first."""
    peer, causes = facts.peer, [_("Is its tunnel switched on?")]
    if changed := stale(peer):
        causes.append(
            _("Its configuration is older than a change of: %(settings)s.") % {"settings": ", ".join(changed)}
        )
    if facts.key and facts.key.enrolled_at > peer.enrolled_at:
        values = {"at": moment(facts.key.enrolled_at)}
        causes.append(
            _("Its key was replaced at %(at)s: a configuration from before no longer works.") % values
        )
    values = {"key": facts.key.public_key[:8] if facts.key else "–", "server": peer.interface.endpoint}
    causes.append(
        _("Does the app show the public key that begins with %(key)s, and the endpoint %(server)s?") % values
    )
    causes.append(_("Does its network let UDP through to %(server)s?") % values)
    return " ".join(causes)
