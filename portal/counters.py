"""Count what comes in within a minute, for all processes together: in the database, or in Redis where REDIS_URL says so.

A minute begins with the first of its requests. Nothing is lost with the counts but a minute's limits.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from django.conf import settings
from django.db import connection
from redis import Redis, RedisError

from portal.database.prepared import execute

WINDOW = 60  # seconds
TIDY_EVERY = 500  # counts, on average
REDIS_PATIENCE = 1  # seconds, to connect and for each answer

# One statement for all, its keys in order: of two who count the same, none waits for a row while holding another's.
COUNT = f"""
WITH wanted AS MATERIALIZED (
    SELECT key, most, place FROM unnest(%s::text[], %s::bigint[]) WITH ORDINALITY given (key, most, place)
)
INSERT INTO portal_count AS known (key, number, until)
SELECT key, 1, clock_timestamp() + interval '{WINDOW} seconds' FROM wanted WHERE NOT EXISTS (
    SELECT FROM wanted narrower JOIN portal_count counted USING (key)
    WHERE narrower.place < wanted.place AND counted.until > clock_timestamp() AND counted.number >= narrower.most
) ORDER BY key
ON CONFLICT (key) DO UPDATE SET
    number = CASE WHEN known.until > clock_timestamp() THEN known.number + 1 ELSE 1 END,
    until = CASE WHEN known.until > clock_timestamp() THEN known.until ELSE excluded.until END
RETURNING key, number, ceil(extract(epoch FROM until - clock_timestamp()))::int
"""  # noqa: S608 - a number of ours
TIDY = """
DELETE FROM portal_count WHERE key IN (
    SELECT key FROM portal_count WHERE until < clock_timestamp() LIMIT 1000 FOR UPDATE SKIP LOCKED)
"""


class Away(Exception):
    """The store cannot be reached, so nobody knows how many there were."""


class Count(NamedTuple):
    """How many there were within the minute, this one included, and the seconds until it is over."""

    number: int
    seconds_left: int


def count(limits: Mapping[str, int]) -> dict[str, Count]:
    """Count one more of each key, up to the first that has as many as its limit, and return how many there are now.

    Raise Away. Call it outside a transaction.
    """
    if not limits:  # every one of them is without a limit
        return {}
    return _count_in_redis(limits) if settings.REDIS_URL else _count_in_database(limits)


def _count_in_database(limits: Mapping[str, int]) -> dict[str, Count]:
    with connection.cursor() as cursor:
        execute(cursor, COUNT, [list(limits), list(limits.values())])
        found = {key: Count(number, seconds) for key, number, seconds in cursor.fetchall()}
        if random.randrange(TIDY_EVERY) == 0:  # noqa: S311 - no secret
            cursor.execute(TIDY)
    return found


def _count_in_redis(limits: Mapping[str, int]) -> dict[str, Count]:
    store = _redis(settings.REDIS_URL)
    try:
        keys = list(_up_to_a_full_one(limits, store.mget(map(_name, limits))))
        return _incremented(store, keys)
    except RedisError as error:
        raise Away from error


def _up_to_a_full_one(limits: Mapping[str, int], known: Iterable[bytes | str | None]) -> Iterator[str]:
    for (key, most), number in zip(limits.items(), known, strict=True):
        yield key
        if int(number or 0) >= most:
            return


def _incremented(store: Redis, keys: list[str]) -> dict[str, Count]:
    pipeline = store.pipeline()
    for name in map(_name, keys):
        pipeline.incr(name)
        pipeline.expire(name, WINDOW, nx=True)
        pipeline.ttl(name)
    answers = pipeline.execute()
    return {key: Count(answers[3 * at], answers[3 * at + 2]) for at, key in enumerate(keys)}


def _name(key: str) -> str:
    return f"latchkey:count:{key}"


@cache
def _redis(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=REDIS_PATIENCE, socket_timeout=REDIS_PATIENCE)
