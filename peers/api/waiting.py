"""Wait until a peer is on its interface, in a place of which there are only so many."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from select import POLLIN, poll
from threading import BoundedSemaphore

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _

from peers import services
from peers.api.errors import ApiError, told
from peers.models import Interface, Peer, PeerKey
from peers.signals import READ_BACK
from peers.states import State, database_now, read_back, standing

REACHED = {State.LIVE, State.CONNECTED, State.IDLE}
UNDECIDED = {State.PENDING, State.UNKNOWN}
LONGEST_PAUSE = 0.25  # seconds without a word from a gateway, after which it is asked whether one was missed

# Of this process: a request that waits holds one of its threads, and others must still be answered.
PLACES = BoundedSemaphore(settings.LATCHKEY_WAITING) if settings.LATCHKEY_WAITING else None


@contextmanager
def place() -> Iterator[None]:
    """Take one of the places for requests that wait; raise ApiError (503) when there is none, before anything is done.

    What gateways read back from then on is heard by ``until_on``.
    """
    if PLACES is None or not PLACES.acquire(blocking=False):
        sentence = _("Too many requests wait already. Try again later, or do not wait.")
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_wait", sentence, retry_after=1)
    try:
        _execute(f"LISTEN {READ_BACK}")
        yield
    finally:
        PLACES.release()
        _execute(f"UNLISTEN {READ_BACK}")


def until_on(enrolled: services.Enrolled, public_key: str, seconds: float) -> State:
    """Return the peer's state once it is on its interface or can no longer come on, or as it is after ``seconds``.

    Call it in a ``place`` that was taken before the peer was enrolled. Raise ApiError when it is revoked meanwhile.
    """
    peer, give_up = enrolled.peer, time.monotonic() + seconds
    at_once = enrolled.created and peer.interface.mode == Interface.Mode.PUSH  # too early to look
    state = State.PENDING if at_once else _state(peer)
    while state in UNDECIDED and (left := give_up - time.monotonic()) > 0:
        heard = _heard(peer, min(left, LONGEST_PAUSE))
        state = (heard and read_back(peer, public_key)) or _state(peer)
    if state in {State.REVOKING, State.REVOKED} and not _may_come_back(peer, public_key):
        raise told(services.KeyRevoked())
    return state


def _state(peer: Peer) -> State:
    return standing(peer, database_now()).state


def _may_come_back(peer: Peer, public_key: str) -> bool:
    return PeerKey.objects.filter(
        peer=peer, public_key=public_key, retired_at=None, peer__revoked_at=None
    ).exists()


def _heard(peer: Peer, seconds: float) -> bool:
    """Say whether a gateway has told within ``seconds`` that it read the peer back; nothing named stands for all."""
    give_up, driver = time.monotonic() + seconds, connection.connection
    waited_for = poll()  # select() knows no file beyond the first 1,024
    waited_for.register(driver, POLLIN)
    while True:
        driver.poll()
        words = [notification.payload for notification in driver.notifies]
        driver.notifies.clear()
        if any(not word or str(peer.pk) in word for word in words):
            return True
        if (left := give_up - time.monotonic()) <= 0:
            return False
        waited_for.poll(left * 1000)


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
