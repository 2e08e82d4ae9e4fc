"""Wait until a peer is on its interface, in a place of which there are only so many."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from itertools import chain, repeat
from threading import BoundedSemaphore

from django.conf import settings
from django.utils.translation import gettext as _

from peers.api.errors import ApiError
from peers.models import Interface, Peer
from peers.states import State, database_now, read_back, standing

REACHED = {State.LIVE, State.CONNECTED, State.IDLE}
# Seconds between two looks: a gateway takes some milliseconds, and then it may take long.
PAUSES = (0.006, 0.004, 0.005, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)
LONGEST_PAUSE = 0.25

# Of this process: a request that waits holds one of its threads, and others must still be answered.
PLACES = BoundedSemaphore(settings.LATCHKEY_WAITING) if settings.LATCHKEY_WAITING else None


@contextmanager
def place() -> Iterator[None]:
    """Take one of the places for requests that wait; raise ApiError (503) when there is none, before anything is done."""
    if PLACES is None or not PLACES.acquire(blocking=False):
        sentence = _("Too many requests wait already. Try again later, or do not wait.")
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_wait", sentence, retry_after=1)
    try:
        yield
    finally:
        PLACES.release()


def until_on(peer: Peer, public_key: str, seconds: float) -> State:
    """Return the peer's state once it is on its interface, or whatever it is when ``seconds`` are over."""
    give_up = time.monotonic() + seconds
    for pause in chain(PAUSES, repeat(LONGEST_PAUSE)):
        if (state := _reached(peer, public_key)) or (left := give_up - time.monotonic()) <= 0:
            break
        time.sleep(min(pause, left))
    return state or standing(peer, database_now()).state


def _reached(peer: Peer, public_key: str) -> State | None:
    if peer.interface.mode == Interface.Mode.PUSH:
        return read_back(peer, public_key)
    state = standing(peer, database_now()).state
    return state if state in REACHED else None
