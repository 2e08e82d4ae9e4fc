"""Hand an enrolment over to another device: a link that works once, for ten minutes, while its session lives."""

import secrets
from datetime import datetime, timedelta

from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import QuerySet

from peers.audit import Actor, record
from peers.models import EnrolLink, Interface, Peer
from peers.services.enrolment import Enrolled, enrol
from peers.services.refused import LinkInvalid
from peers.tokens import digest
from portal.models import User

LIFETIME = timedelta(minutes=10)
TOKEN_BYTES = 32


@transaction.atomic
def make_link(
    *, actor: Actor, owner: User, interface: Interface, session_key: str, at: datetime
) -> tuple[EnrolLink, str]:
    """Return a new link and its token, which is kept nowhere; an unused one of the same session dies.

    Raises LinkInvalid when there is no such session.
    """
    _queue(owner)
    EnrolLink.objects.filter(session=session_key, used_at=None).delete()
    # Links first, then their session: a sign-out goes the same way.
    sessions = Session.objects.select_for_update(no_key=True)
    if sessions.filter(pk=session_key, expire_date__gt=at).first() is None:
        raise LinkInvalid
    token = secrets.token_urlsafe(TOKEN_BYTES)
    link = EnrolLink.objects.create(
        token_hash=digest(token), owner=owner, interface=interface, session_id=session_key, made_at=at,
        expires_at=at + LIFETIME,
    )  # fmt: skip
    record("make_link", actor, link, new={"link": str(link.pk)})
    return link, token


@transaction.atomic
def redeem(
    *, token: str, public_key: str, name: str, platform: str, source: str | None, at: datetime
) -> Enrolled:
    """Return the peer that the link enrols, in its owner's name; asking again with the same key returns it again.

    Raises LinkInvalid, and whatever ``enrol`` raises; the link then still stands.
    """
    link = _live(token, at)
    if link.peer is not None:
        return _again(link.peer, public_key)
    actor = Actor(user=link.owner, source=source)
    enrolled = enrol(
        actor=actor, owner=link.owner, interface=link.interface, public_key=public_key, name=name,
        platform=platform, at=at,
    )  # fmt: skip
    link.used_at, link.peer = at, enrolled.peer
    link.save(update_fields=["used_at", "peer"])
    record("use_link", actor, enrolled.peer, new={"link": str(link.pk)})
    return enrolled


def owner_of_link(*, token: str, at: datetime) -> User:
    """Return in whose name the link enrols; raise LinkInvalid."""
    if (seen := _links(token, at).select_related("owner").first()) is None:
        raise LinkInvalid
    return seen.owner


def _links(token: str, at: datetime) -> QuerySet[EnrolLink]:
    """Return the link, if there is one that works at ``at``."""
    live = {"expires_at__gt": at, "session__expire_date__gt": at, "owner__is_active": True}
    return EnrolLink.objects.filter(token_hash=digest(token), **live)


def _live(token: str, at: datetime) -> EnrolLink:
    """Return the link, locked with its owner, so that of two who redeem it at once the second finds it used."""
    _queue(owner_of_link(token=token, at=at))
    locked = _links(token, at).select_for_update(of=("self",)).select_related("owner", "interface", "peer")
    if (link := locked.first()) is None:
        raise LinkInvalid
    return link


def _queue(owner: User) -> None:
    """Lock the owner's row, which an enrolment locks too: always before a link's, or two would wait for each other."""
    User.objects.select_for_update(no_key=True).get(pk=owner.pk)


def _again(peer: Peer, public_key: str) -> Enrolled:
    """Return what the link enrolled to the device that lost the answer, and to no other."""
    if not peer.keys.filter(public_key=public_key, retired_at=None).exists():
        raise LinkInvalid
    return Enrolled(peer, created=False)
