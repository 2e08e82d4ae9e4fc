"""A provider double that people's refresh tokens are good at: who is out, in which groups, how it rotates, what it asks for."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from django.utils import timezone

from peers.models import Peer
from portal.models import RefreshToken, User
from tests import rows
from tests.integration.provider_double import TOKEN, USERINFO, Double

BEYOND = timedelta(minutes=7)  # an interval of the questions, with all of its jitter


@dataclass
class Refreshing(Double):
    """``out`` are refused with invalid_grant; ``groups`` are those of a person who is not in it; ``latency`` in seconds.

    A token is ``SUB.NUMBER``, and only the last one given out is good. ``questions`` counts the questions about each person.
    ``signed`` makes the id_token that comes with a refresh, of the person's ``sub``; None: there comes none.
    """

    out: set[str] = field(default_factory=set)
    groups: dict[str, list[str] | None] = field(default_factory=dict)
    claims: dict[str, object] = field(default_factory=dict)
    latency: float = 0.0
    questions: dict[str, int] = field(default_factory=dict)
    latest: dict[str, int] = field(default_factory=dict)
    signed: Callable[[str], str] | None = None
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._lock = threading.Lock()
        self.behave |= {TOKEN: self._token, USERINFO: self._userinfo}

    def token(self, sub: str) -> str:
        """Return the refresh token that is good for the person now."""
        return f"{sub}.{self.latest.setdefault(sub, 1)}"

    def hire(self, on, name, **fields):
        """Return a person of this provider's with a device on an interface, whose refresh token is due at once."""
        at = timezone.now()
        person = rows.person(name, **fields)
        User.objects.filter(pk=person.pk).update(issuer=self.issuer)
        person.refresh_from_db()
        rows.peer(person, on, f"{name}'s laptop")
        token = {"provider": self.name, "token": self.token(name), "obtained_at": at, "due_at": at}
        RefreshToken.objects.create(person=person, **token)
        return person

    def _token(self, handler) -> None:
        if "refresh_token" not in handler.form:
            handler.json(self.answer(TOKEN))
            return
        with self._counted():
            given = handler.form["refresh_token"][0]
            sub = given.rpartition(".")[0]
            with self._lock:
                self.questions[sub] = self.questions.get(sub, 0) + 1
                good = sub not in self.out and given == self.token(sub)
                self.latest[sub] += good
            if good:
                tokens = {
                    "access_token": f"of-{sub}",
                    "token_type": "Bearer",
                    "refresh_token": self.token(sub),
                }
                handler.json(tokens | ({"id_token": self.signed(sub)} if self.signed else {}))
            else:
                handler.json({"error": "invalid_grant"}, status=400)

    def _userinfo(self, handler) -> None:
        bearer = handler.headers["Authorization"].removeprefix("Bearer ")
        if not bearer.startswith("of-"):
            handler.json(self.answer(USERINFO))
            return
        with self._counted():
            sub = bearer.removeprefix("of-")
            groups = self.groups.get(sub, ["employees"])
            named = {} if groups is None else {"groups": groups}
            handler.json({"sub": sub, **named, **self.claims})

    def _counted(self):
        return _Counted(self)


class _Counted:
    """Count the requests that are being answered at once, and take the double's time over each."""

    def __init__(self, double: Refreshing) -> None:
        self.double = double

    def __enter__(self) -> None:
        with self.double._lock:
            self.double.at_once += 1
            self.double.most_at_once = max(self.double.most_at_once, self.double.at_once)
        time.sleep(self.double.latency)

    def __exit__(self, *_exception: object) -> None:
        with self.double._lock:
            self.double.at_once -= 1


def entitled():
    return set(Peer.objects.entitled(timezone.now()).values_list("owner__sub", flat=True))


def now(later=timedelta(0)):
    return timezone.now() + later
