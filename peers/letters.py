"""What is written to the owner of a device or of a token."""

import textwrap
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from peers.models import ApiToken, Peer
from portal import mail
from portal.models import User

WIDTH = 76  # columns
FACT = "  "  # how a line of the list of facts begins
SUBJECT_LENGTH = 200
NAMED = 10  # devices in a letter about many


def new_device(peer: Peer, *, source: str | None) -> None:
    """Tell the owner that a device was enrolled in their name."""
    subject = _("A device was added to your account: %(name)s")
    _tell(peer, "mail/new_device.txt", subject, at=peer.enrolled_at, source=source)


def replaced_key(peer: Peer, *, at: datetime, source: str | None) -> None:
    """Tell the owner that the device has another key: whoever holds it is on the network."""
    _tell(peer, "mail/replaced_key.txt", _("Your device has a new key: %(name)s"), at=at, source=source)


def new_token(token: ApiToken, *, source: str | None) -> None:
    """Tell the owner that a token was made in their name; nothing for a service account, or without an e-mail address."""
    if token.owner is None or not token.owner.email:
        return
    context = {
        "owner": _printable(str(token.owner)),
        "name": _printable(token.name),
        "may": token.may,
        "at": token.made_at,
        "ends_at": token.expires_at,
        "source": source,
        "url": f"{settings.LATCHKEY_URL}{reverse('tokens')}",
    }
    subject = _("A token was made for your account: %(name)s") % {"name": context["name"]}
    body = _wrapped(render_to_string("mail/new_token.txt", context))
    mail.queue(to=token.owner.email, subject=subject[:SUBJECT_LENGTH], body=body)


def lease_ends(person: User, peers: Sequence[Peer]) -> None:
    """Tell the person that their sign-in ends, and that ``peers``, those of ``lease_ending``, go off with it."""
    context = {
        "owner": _printable(str(person)),
        "ends_at": peers[0].signed_in_until,
        "devices": [
            {"name": _printable(peer.name), "ends_at": peer.signed_in_until} for peer in peers[:NAMED]
        ],
        "more": len(peers) - NAMED if len(peers) > NAMED else 0,
        "full_tunnel": any(peer.interface.full_tunnel for peer in peers),
        "portal": settings.LATCHKEY_URL,
    }
    subject = _("Sign in again, or your devices go off the network")[:SUBJECT_LENGTH]
    mail.queue(
        to=person.email, subject=subject, body=_wrapped(render_to_string("mail/lease_ends.txt", context))
    )


def _tell(peer: Peer, template: str, subject: str, *, at: datetime, source: str | None) -> None:
    """Queue the letter; nothing for a machine, or when the provider gave no e-mail address."""
    if peer.owner is None or not peer.owner.email:
        return
    context = {
        "owner": _printable(str(peer.owner)),
        "name": _printable(peer.name),
        "platform": "" if peer.platform == Peer.Platform.OTHER else peer.get_platform_display(),
        "interface": peer.interface,
        "at": at,
        "source": source,
        "url": f"{settings.LATCHKEY_URL}{peer.get_absolute_url()}",
        "portal": settings.LATCHKEY_URL,
    }
    subject = (subject % {"name": context["name"]})[:SUBJECT_LENGTH]
    mail.queue(to=peer.owner.email, subject=subject, body=_wrapped(render_to_string(template, context)))


def _printable(text: str) -> str:
    """Return ``text`` without characters that end a line, hide or turn the text around."""
    return "".join(character if character.isprintable() else " " for character in text)


def _wrapped(text: str) -> str:
    """Return the letter with its long lines broken between words; an address is never broken."""
    return "".join(f"{_filled(line)}\n" for line in text.strip().splitlines())


def _filled(line: str) -> str:
    indent = FACT * 2 if line.startswith(FACT) else ""
    return textwrap.fill(
        line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
