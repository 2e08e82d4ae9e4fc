"""Access at the identity provider and the tunnel that stands on it: a real peer pings while the provider says one thing or another."""

import time
from datetime import timedelta

import pytest
from django.test import Client as Browser
from django.utils import timezone

from portal.access.revalidation import revalidate
from portal.models import RefreshToken, User
from tests.gateway.conftest import INSIDE
from tests.gateway.running import Pinging, last_reply
from tests.integration import provider_double as double_
from tests.integration.conftest import use_providers
from tests.integration.provider_double import TOKEN, USERINFO
from tests.integration.refreshing import Refreshing


@pytest.fixture
def idp(settings, uncollected):
    made = Refreshing()
    use_providers(settings, (made.provider(allowed_groups=frozenset({"employees"})),))
    yield made
    made.close()


@pytest.fixture
def alice(database, idp):
    idp.is_person("alice", groups=["employees"])
    return sign_in(idp)


def sign_in(idp):
    idp.out.discard("alice")
    idp.tokens["refresh_token"] = idp.token("alice")
    assert idp.sign_in(Browser()).status_code == 302
    return User.objects.get(sub="alice")


def ask():
    """Ask about everyone now, whenever they are due."""
    RefreshToken.objects.update(due_at=timezone.now())
    return revalidate(timezone.now())


def test_who_is_disabled_at_the_provider_is_off_within_one_question_and_back_once_they_sign_in(
    running, enrol, idp, alice
):
    _, client = enrol(alice)
    running.eventually(lambda: client.ping(INSIDE).received)
    assert ask() == {"fine": 1}
    idp.out.add("alice")
    asked = []
    last = last_reply(client, INSIDE, lambda: asked.append((ask(), time.time())), for_seconds=2)
    print(f"last reply {last * 1000:.0f} ms after the provider had refused")
    assert asked[0][0] == {"gone": 1}
    assert last <= 1
    assert not client.ping(INSIDE, timeout=0.5).received
    sign_in(idp)
    seconds = running.eventually(lambda: client.ping(INSIDE).received)
    print(f"first reply {seconds:.2f} s after signing in again")


def test_a_provider_that_is_out_of_order_for_hours_stops_no_ping(running, enrol, idp, alice, monkeypatch):
    _, client = enrol(alice)
    running.eventually(lambda: client.ping(INSIDE).received)
    pinging, right, at = Pinging(client, INSIDE), dict(idp.behave), timezone.now()
    monkeypatch.setattr("portal.oidc.http.BUDGET", 0.2)
    outages = {
        "500": {TOKEN: double_.fails},
        "hangs": {TOKEN: double_.hangs},
        "garbage": {USERINFO: double_.sends_garbage},
        "no groups": {USERINFO: lambda handler: handler.json({"sub": "alice"})},
    }
    for behaviour in outages.values():
        idp.behave = {**right, **behaviour}
        outcomes = []
        for _ in range(12):  # six hours
            at += timedelta(minutes=30)
            outcomes.append(revalidate(at))
        assert {"cannot_tell": 1} in outcomes
        assert all(outcome in ({}, {"cannot_tell": 1}) for outcome in outcomes)
        RefreshToken.objects.update(failures=0, due_at=at)
    lost, sent = pinging.lost()
    print(f"{lost} of {sent} lost")
    assert sent > 20
    assert lost == 0
