"""How often one may enrol on the pages: counted by the person and the address, refused with when to come again."""

import pytest
from django.core.cache import cache
from django.test import Client

from peers.models import ApiToken, Peer
from tests import rows
from tests.integration.conftest import free_port
from tests.integration.pages import JSON, enrolment, signed_in
from tests.integration.test_link_pages import redeem, token_from

TOKENS = "/accounts/tokens/"
TOKEN = {"name": "build server", "scopes": ["peers:enrol"], "days": "30"}


@pytest.fixture
def client(alice):
    return signed_in(alice)


@pytest.fixture
def rates(settings):
    """Return a function that sets some of the rates."""
    return lambda **changed: setattr(
        settings, "LATCHKEY_RATE_LIMITS", {**settings.LATCHKEY_RATE_LIMITS, **changed}
    )


@pytest.fixture
def uncounted(settings):
    """Let nobody be there who counts."""
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"


@pytest.fixture
def ways(alice, client, laptop):
    """Return each way to enrol on the pages, by its name: a function that takes headers and returns the answer."""
    cache.clear()
    link = token_from(client)
    return {
        "a device": lambda headers: client.post("/", enrolment(), headers=headers),
        "another key": lambda headers: client.post(
            f"{laptop.get_absolute_url()}replace-key", {"public_key": rows.public_key()}, headers=headers
        ),
        "a link": lambda headers: redeem(Client(REMOTE_ADDR="192.0.2.7"), link, headers),
        "a token": lambda headers: client.post(TOKENS, TOKEN, headers=headers),
    }


def enrolled():
    return Peer.objects.count(), ApiToken.objects.count(), list(Peer.objects.values_list("keys", flat=True))


def test_one_too_many_is_refused_with_when_to_come_again_whatever_the_way(client, ways, rates, subtests):
    rates(person=1)
    assert client.post("/", enrolment()).status_code == 303
    before = enrolled()
    for name, way in ways.items():
        with subtests.test(f"{name}, as JSON"):
            answer = way(JSON)
            assert answer.status_code == 429
            assert answer.json()["error"]["code"] == "too_many_requests"
            assert 1 <= int(answer["Retry-After"]) <= 60
        with subtests.test(f"{name}, as a page"):
            answer = way({})
            assert answer.status_code == 429
            assert answer["Content-Type"].startswith("text/html")
            assert 1 <= int(answer["Retry-After"]) <= 60
    assert enrolled() == before


def test_each_way_counts_towards_the_same_rate(ways, rates):
    rates(person=len(ways))
    statuses = [way(JSON).status_code for way in ways.values()]
    assert all(status < 300 for status in statuses), statuses
    assert ways["a device"](JSON).status_code == 429


def test_another_person_at_another_address_is_not_refused_and_one_at_the_same_is(client, wg0, rates):
    rates(address=1)
    assert client.post("/", enrolment()).status_code == 303
    bob = rows.person("bob")
    assert signed_in(bob).post("/", enrolment()).status_code == 429
    assert signed_in(bob, "192.0.2.1").post("/", enrolment()).status_code == 303


def test_what_is_refused_for_itself_is_not_counted(client, laptop, rates):
    rates(person=1)
    for _ in range(3):
        assert client.post("/", enrolment(public_key="rubbish")).status_code == 400
    assert client.post("/", enrolment()).status_code == 303


def test_whoever_may_enrol_no_more_may_still_look_rename_and_revoke(client, alice, laptop, rates):
    rates(person=1)
    token = rows.token(alice)[0]
    assert [client.post("/", enrolment()).status_code for _ in range(2)] == [303, 429]
    assert client.get("/").status_code == 200
    assert client.post(f"{laptop.get_absolute_url()}rename", {"name": "Other"}).status_code == 303
    for path in (f"{laptop.get_absolute_url()}revoke", f"{TOKENS}{token.pk}/revoke"):
        for _ in range(61):
            assert client.post(path).status_code == 303
    assert not Peer.objects.filter(name="Other", revoked_at=None).exists()


def test_a_rate_of_nothing_is_no_limit(client, wg0, rates):
    rates(person=0, address=0)
    assert {client.post("/", enrolment()).status_code for _ in range(5)} == {303}


# --- While nobody counts ---


def test_while_nobody_can_count_enrolling_is_refused_and_the_rest_goes_on(
    client, laptop, ways, uncounted, subtests
):
    before = enrolled()
    for name, way in ways.items():
        for headers in (JSON, {}):
            with subtests.test(f"{name} {headers}"):
                answer = way(headers)
                assert answer.status_code == 503
                assert answer["Retry-After"] == "10"
                assert (headers == JSON) == (answer["Content-Type"] == "application/json")
    assert enrolled() == before
    assert client.get("/").status_code == 200
    assert client.post(f"{laptop.get_absolute_url()}revoke").status_code == 303
    laptop.refresh_from_db()
    assert laptop.revoked_at is not None


def test_a_page_whose_cache_is_away_is_a_503_with_when_to_retry(settings, wg0):
    location = f"redis://127.0.0.1:{free_port()}/0"
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location}
    }
    browser = Client(raise_request_exception=False)
    answer = browser.post("/enrol/", {"token": "guessed"})
    assert answer.status_code == 503
    assert answer["Retry-After"] == "10"
    assert "The cache cannot be reached." in answer.content.decode()
    assert browser.get("/accounts/login/").status_code == 200
