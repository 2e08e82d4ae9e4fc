"""How many came in within a minute: the same in the database and in Redis, whoever else counts meanwhile."""

import threading
import time
from contextlib import closing

import psycopg2
import pytest
from django.db import connection

from portal import counters
from portal.counters import Away, Count, count
from tests.integration.conftest import free_port

THREADS, TIMES = 8, 40


@pytest.fixture
def left(database, request, store):
    """Give a function after which so many milliseconds are left of the minute of everything that was counted."""

    def leave(milliseconds):
        if store == "database":
            database.sql(f"UPDATE portal_count SET until = clock_timestamp() + interval '{milliseconds} ms'")
            return
        with request.getfixturevalue("redis_server").client() as client:
            for key in client.scan_iter("latchkey:count:*"):
                client.pexpire(key, milliseconds)

    return leave


def in_threads(act):
    """Let eight threads do ``act`` again and again at once, and return all that came of it."""
    barrier, answers = threading.Barrier(THREADS), []

    def run(number):
        barrier.wait(20)
        try:
            answers.extend([act(number) for _ in range(TIMES)])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            answers.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def counted(*keys):
    return count(dict.fromkeys(keys, 1_000_000))


def test_each_key_is_counted_by_itself(store):
    assert counted("a")["a"].number == 1
    assert {key: found.number for key, found in counted("a", "b").items()} == {"a": 2, "b": 1}
    assert counted() == {}


def test_what_comes_after_a_key_that_is_at_its_limit_is_not_counted(store):
    limits = {"narrow": 2, "wide": 10}
    assert [set(count(limits)) for _ in range(4)] == [{"narrow", "wide"}] * 2 + [{"narrow"}] * 2
    assert count(limits)["narrow"].number == 5
    assert counted("wide")["wide"].number == 3


def test_a_minute_begins_with_the_first_and_is_not_prolonged_by_the_others(store, left):
    assert counted("a") == {"a": Count(1, 60)}
    left(30_000)
    number, seconds = counted("a")["a"]
    assert number == 2
    assert 1 <= seconds <= 30
    left(1)
    time.sleep(0.01)
    assert counted("a")["a"].number == 1


def test_nobody_is_forgotten_however_many_count_at_once(store):
    numbers = [answer["a"].number for answer in in_threads(lambda _: counted("a"))]
    assert sorted(numbers) == list(range(1, THREADS * TIMES + 1))


def test_those_who_count_the_same_in_another_order_do_not_wait_for_each_other(store):
    keys = [f"key-{number}" for number in range(6)]
    answers = in_threads(lambda number: counted(*keys if number % 2 else keys[::-1]))
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert {found.number for found in counted(*keys).values()} == {THREADS * TIMES + 1}


def test_what_is_over_is_tidied_away_and_what_is_not_stays(database, monkeypatch):
    counted("over", "held")
    database.sql("UPDATE portal_count SET until = now() - interval '1 s'")
    monkeypatch.setattr(counters, "TIDY_EVERY", 1)
    with closing(psycopg2.connect(database.url("latchkey_web"))) as other, other.cursor() as cursor:
        cursor.execute("SELECT FROM portal_count WHERE key = 'held' FOR UPDATE")
        with connection.cursor() as own:
            own.execute("SET lock_timeout = '2s'")
        counted("now")
    assert sorted(database.sql("SELECT key FROM portal_count").split()) == ["held", "now"]


def test_redis_keeps_a_count_no_longer_than_its_minute(redis_server, settings):
    settings.REDIS_URL = redis_server.url
    counted("kept")
    with redis_server.client() as client:
        assert 0 < client.ttl("latchkey:count:kept") <= 60


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}/0", "unix:///nowhere/redis.sock"])
def test_a_redis_that_is_not_there_is_away(settings, url):
    settings.REDIS_URL = url.format(port=free_port())
    with pytest.raises(Away):
        counted("a")
