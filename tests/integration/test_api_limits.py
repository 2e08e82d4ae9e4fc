"""How often programs may ask: by token, account, person and address; and what is never refused for it."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from peers.models import Peer, Scope
from tests import rows
from tests.integration.conftest import free_port
from tests.integration.pages import signed_in
from tests.integration.programs import INTERFACES, PEERS, Program, told

OFF = dict.fromkeys(("token", "account", "person", "address", "bad_token", "read", "revoke"), 0)
TOO_MANY = (429, "too_many_requests", None)


@pytest.fixture
def limits(settings):
    """Give a function that sets these rates a minute, and no others."""

    def set_rates(**rates):
        settings.LATCHKEY_RATE_LIMITS = {**OFF, **rates}

    return set_rates


def statuses(act, times):
    return [act().status_code for _ in range(times)]


def enrolling(program, times):
    """Return the statuses of attempts to enrol, which are counted whatever comes of them."""
    return statuses(lambda: program.enrol("x"), times)


def program(holder, *scopes, address="198.51.100.9", **headers):
    return Program(rows.token(holder, *scopes)[1], address, **headers)


# --- What is counted ---


def test_a_token_enrols_so_often_and_another_of_its_account_is_not_counted_with_it(builders, limits, store):
    limits(token=3)
    first, second = program(builders), program(builders)
    assert enrolling(first, 5) == [400, 400, 400, 429, 429]
    assert enrolling(second, 3) == [400] * 3


def test_an_account_is_counted_over_all_its_tokens(builders, wg0, limits, store):
    limits(account=4)
    tokens = [program(builders) for _ in range(3)]
    assert [enrolling(tokens[number % 3], 1)[0] for number in range(6)] == [400] * 4 + [429] * 2
    assert enrolling(program(rows.account(wg0)), 1) == [400]


def test_who_asks_too_often_uses_up_no_count_of_others(builders, wg0, limits, store):
    limits(token=3, account=10, address=20)
    broken, sound = program(builders), program(builders)
    assert enrolling(broken, 30) == [400] * 3 + [429] * 27
    assert enrolling(sound, 3) == [400] * 3  # of the same account
    assert enrolling(program(rows.account(wg0)), 3) == [400] * 3  # of another, at the same address


def test_a_person_is_counted_over_all_their_tokens(alice, limits, store):
    limits(person=2)
    tokens = [program(alice) for _ in range(2)]
    assert [enrolling(tokens[number % 2], 1)[0] for number in range(4)] == [400, 400, 429, 429]
    assert enrolling(program(rows.person()), 1) == [400]


def test_an_address_is_counted_over_all_who_call_from_it(wg0, limits, store):
    limits(address=2)
    assert [enrolling(program(rows.account(wg0)), 1)[0] for _ in range(3)] == [400, 400, 429]
    assert enrolling(program(rows.account(wg0), address="198.51.100.10"), 1) == [400]


@pytest.mark.parametrize(
    ("other", "status"),
    [("2001:db8:0:1:ffff::2", 429), ("2001:db8:0:2::1", 400), ("::ffff:198.51.100.9", 400)],
)
def test_of_ipv6_the_network_is_counted_that_one_host_has(builders, limits, other, status):
    limits(address=1)
    assert enrolling(program(builders, address="2001:db8:0:1::1"), 2) == [400, 429]
    assert enrolling(program(builders, address=other), 1) == [status]


def test_who_calls_from_nowhere_known_is_counted_too(builders, limits):
    limits(address=1)
    assert enrolling(program(builders, address=""), 2) == [400, 429]


def test_renewing_renaming_and_registering_are_counted_with_enrolling(builders, wg0, limits):
    pk = rows.machine(builders, wg0).pk
    caller = program(builders)
    limits(token=4)
    acts = [
        lambda: caller.renew(pk, ttl=60),
        lambda: caller.rename(pk, "x"),
        lambda: caller.register("x"),
        lambda: caller.enrol("x"),
    ]
    assert [act().status_code for act in acts] == [200, 200, 400, 400]
    assert [act().status_code for act in acts] == [429] * 4


def test_reading_and_revoking_have_counts_of_their_own(builders, wg0, limits):
    ids = [rows.machine(builders, wg0).pk for _ in range(4)]
    caller = program(builders)
    limits(token=1, account=1, address=1, read=2, revoke=3)
    assert enrolling(caller, 2) == [400, 429]
    assert statuses(caller.get, 3) == [200, 200, 429]
    assert told(caller.get(INTERFACES)) == TOO_MANY
    assert [caller.revoke(pk).status_code for pk in ids] == [204, 204, 204, 429]


def test_who_enrols_and_reads_too_often_can_still_revoke_sixty_times_a_minute(builders, wg0, limits):
    pk = rows.machine(builders, wg0).pk
    caller = program(builders)
    limits(token=1, read=1, bad_token=1, address=1, account=1, revoke=60)
    enrolling(caller, 3)
    statuses(caller.get, 3)
    assert statuses(lambda: caller.revoke(pk), 61) == [204] * 60 + [429]


def test_a_rate_of_none_is_no_limit(builders, limits):
    limits()
    caller = program(builders)
    assert enrolling(caller, 30) == [400] * 30
    assert statuses(caller.get, 30) == [200] * 30


# --- What is answered ---


def test_who_asks_too_often_is_told_when_to_come_again(builders, limits, database, store):
    limits(token=1)
    caller = program(builders)
    caller.enrol("x")
    answer = caller.enrol("x")
    assert told(answer) == TOO_MANY
    assert 50 <= int(answer["Retry-After"]) <= 60
    assert answer["Retry-After"] in answer.json()["error"]["message"]
    registered = caller.register("x")
    assert (registered.status_code, type(registered.json()["error"])) == (429, str)
    assert int(registered["Retry-After"]) >= 50


def test_when_the_minute_is_over_it_may_ask_again(builders, limits, database):
    limits(token=1)
    caller = program(builders)
    assert enrolling(caller, 2) == [400, 429]
    database.sql("UPDATE portal_count SET until = now() - interval '1 ms'")
    assert enrolling(caller, 2) == [400, 429]


def test_what_is_refused_for_it_is_not_done(builders, limits):
    limits(token=1)
    caller = program(builders)
    caller.enrol()
    assert told(caller.enrol()) == TOO_MANY
    assert Peer.objects.count() == 1


# --- Bad tokens ---


def test_who_guesses_tokens_is_refused_and_who_has_one_at_the_same_address_is_not(builders, limits, store):
    limits(bad_token=3)
    guess = Program("latchkey_" + "x" * 43)
    assert statuses(guess.get, 5) == [401, 401, 401, 429, 429]
    assert told(guess.get()) == TOO_MANY
    assert statuses(program(builders).get, 3) == [200] * 3
    assert Program("guess", "198.51.100.10").get().status_code == 401
    assert guess.register().status_code == 429


def test_guesses_are_counted_whatever_is_asked_for_and_by_network(limits, wg0):
    limits(bad_token=4)
    acts = [Program.get, Program.enrol, Program.register, lambda guess: guess.revoke("x")]
    found = [act(Program(f"guess-{n}", f"2001:db8::{n}")).status_code for n, act in enumerate(acts)]
    assert found == [401, 401, 401, 404]
    assert statuses(Program("guess", "2001:db8::ffff").get, 2) == [401, 429]


def test_who_sends_no_token_at_all_has_guessed_nothing(limits, wg0):
    limits(bad_token=1)
    assert statuses(Program().get, 4) == [401] * 4


def test_a_token_that_is_good_no_more_counts_as_a_guess(builders, limits):
    limits(bad_token=1)
    past = timezone.now() - timedelta(hours=2)
    _, text = rows.token(builders, at=past, expires_at=past + timedelta(hours=1))
    assert statuses(Program(text).get, 2) == [401, 429]


# --- Whose address it is ---


def test_a_token_that_is_shown_where_it_is_not_good_counts_as_a_guess(builders, wg0, limits):
    limits(bad_token=3)
    reader = Program(rows.token(builders, Scope.READ)[1])
    elsewhere = Program(
        rows.token(rows.account(wg0, source_networks=["10.0.0.0/8"]))[1], address="203.0.113.1"
    )
    for one in (reader, elsewhere):
        assert enrolling(one, 4) == [403] * 3 + [429]


def test_an_address_that_the_client_claims_counts_for_nothing(builders, limits, settings):
    settings.LATCHKEY_TRUSTED_PROXY_HOPS = 0
    limits(address=1)
    callers = [program(builders, **{"X-Forwarded-For": f"203.0.113.{n}"}) for n in range(3)]
    assert [enrolling(caller, 1)[0] for caller in callers] == [400, 429, 429]


def test_an_address_that_trusted_proxies_vouch_for_counts(builders, limits, settings):
    settings.LATCHKEY_TRUSTED_PROXY_HOPS = 1
    limits(address=1)
    forwarded = ["203.0.113.1", "203.0.113.2", "203.0.113.9, 203.0.113.1", "203.0.113.1, 203.0.113.3"]
    callers = [program(builders, **{"X-Forwarded-For": value}) for value in forwarded]
    assert [enrolling(caller, 1)[0] for caller in callers] == [400, 400, 429, 400]


# --- The store away ---


@pytest.fixture
def store_away(settings, limits):
    """Have the portal count in a Redis that is not there."""
    limits(token=100, account=100, person=100, address=100, bad_token=100, read=100, revoke=100)
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"


def test_what_cannot_be_counted_is_not_enrolled_renewed_or_renamed(builders, wg0, store_away):
    pk = rows.machine(builders, wg0).pk
    caller = program(builders)
    for answer in (caller.enrol(), caller.renew(pk, ttl=60), caller.rename(pk, "x")):
        assert told(answer) == (503, "unavailable", None)
    answer = caller.register()
    assert (answer.status_code, answer["Retry-After"], type(answer.json()["error"])) == (503, "10", str)
    assert Peer.objects.count() == 1


def test_reading_and_revoking_go_on_while_nobody_can_count(builders, wg0, store_away):
    pk = rows.machine(builders, wg0).pk
    caller = program(builders)
    assert statuses(caller.get, 2) == [200, 200]
    assert caller.get(f"{PEERS}/{pk}").status_code == 200
    assert caller.get(INTERFACES).status_code == 200
    assert statuses(lambda: caller.revoke(pk), 2) == [204, 204]
    assert not Peer.objects.entitled(timezone.now()).exists()


def test_a_bad_token_stays_one_while_nobody_can_count(store_away, wg0):
    assert statuses(Program("guess").get, 2) == [401, 401]


def test_that_nobody_could_count_is_in_the_log_without_a_secret(builders, store_away, caplog):
    caller = program(builders, Scope.READ)
    caller.get()
    assert [record.rates for record in caplog.records if record.message == "not_counted"] == [["read"]]


# --- The pages that are limited by the same store ---


@pytest.fixture
def cache_away(settings):
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{free_port()}/0",
        }
    }


@pytest.mark.parametrize("path", ["/accounts/oidc/demo/login/", "/break-glass/guess", "/enrol/"])
def test_a_page_that_cannot_be_counted_is_unavailable(wg0, cache_away, path):
    answer = Client(raise_request_exception=False).post(path, {"token": "guess"})
    assert (answer.status_code, answer["Retry-After"]) == (503, "10")


def test_pages_that_are_not_limited_know_nothing_of_the_store(alice, laptop, cache_away):
    browser = signed_in(alice)
    assert browser.get("/").status_code == 200
    assert browser.post(f"/devices/{laptop.pk}/revoke").status_code == 303


def test_a_sign_in_is_limited_in_redis_as_in_the_database(wg0, redis_server, settings):
    with redis_server.client() as client:
        client.flushall()
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": redis_server.url,
                                   "BACKEND": "django.core.cache.backends.redis.RedisCache"}}  # fmt: skip
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "break_glass": "2/m/ip"}
    assert [Client().post("/break-glass/guess").status_code for _ in range(3)] == [403, 403, 429]
