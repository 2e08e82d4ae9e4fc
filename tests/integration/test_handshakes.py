"""What gateways keep of handshakes, in the database that they share."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from peers.gateway.on_demand import refusals, timestamps
from peers.models import HandshakeTimestamp, RefusedHandshake
from tests import rows
from tests.conftest import GATEWAY
from tests.gateway.acting import key_of, revoke
from tests.initiator import tai64n

NOW = 1_800_000_000


@pytest.fixture
def wg0(database):
    return rows.interface()


@pytest.fixture
def laptop(wg0):
    return rows.peer(rows.person("alice"), wg0)


@pytest.fixture
def key(laptop):
    return key_of(laptop)


@pytest.fixture
def as_gateway(database, key):
    with database.as_role(GATEWAY):
        yield


def advance(wg0, key, seconds):
    return timestamps.advance(wg0, {key: tai64n(seconds)})


def test_a_timestamp_is_news_once_and_only_a_later_one_is_again(wg0, key, as_gateway):
    news = [advance(wg0, key, seconds)[key].newer for seconds in (NOW, NOW, NOW - 1, NOW + 0.1, NOW)]
    assert news == [True, False, False, True, False]
    assert bytes(HandshakeTimestamp.objects.get().tai64n) == tai64n(NOW + 0.1)


def test_a_key_of_nobody_or_of_another_interface_is_not_known(wg0, key, database):
    elsewhere = rows.interface("wg1")
    with database.as_role(GATEWAY):
        assert advance(wg0, rows.public_key(), NOW) == {}
        assert advance(elsewhere, key, NOW) == {}
        assert not HandshakeTimestamp.objects.exists()


def test_many_are_asked_at_once_and_a_retired_key_is_known(wg0, laptop, database):
    old, other = key_of(laptop), rows.peer(rows.person("bob"), wg0)
    second = key_of(other)
    revoke(laptop)
    asked = dict.fromkeys([old, second, rows.public_key()], tai64n(NOW))
    with database.as_role(GATEWAY):
        found = timestamps.advance(wg0, asked)
    assert found == {old: (str(laptop.pk), True), second: (str(other.pk), True)}
    assert timestamps.advance(wg0, {}) == {}


def test_of_two_gateways_that_are_shown_one_packet_only_one_takes_it_for_new(wg0, key, as_gateway):
    news, ready = [], threading.Barrier(8)

    def shown():
        ready.wait()
        news.append(advance(wg0, key, NOW)[key].newer)
        connection.close()

    gateways = [threading.Thread(target=shown) for _ in range(8)]
    for each in gateways:
        each.start()
    for each in gateways:
        each.join()
    assert sorted(news) == [False] * 7 + [True]


def test_who_is_taken_off_has_what_it_sent_before_behind_it(wg0, key, as_gateway):
    """A handshake that no gateway saw, because it was away or too much came at once, is none to come back by."""
    slow = 3600.0  # seconds that the device's clock is behind
    advance(wg0, key, timezone.now().timestamp() - slow)
    taken_off_at = timezone.now() + timedelta(minutes=20)
    timestamps.pass_over({key: None}, taken_off_at)
    unseen = taken_off_at.timestamp() - slow - 900
    assert not advance(wg0, key, unseen)[key].newer
    assert advance(wg0, key, taken_off_at.timestamp() - slow)[key].newer, "what it sends from then on counts"


def test_what_the_gateway_has_seen_itself_is_not_judged_by_the_databases_clock(
    wg0, key, as_gateway, database
):
    now = timezone.now()
    advance(wg0, key, now.timestamp())
    database.sql(
        "UPDATE peers_handshaketimestamp SET seen_at = seen_at - interval '1 day'"
    )  # a clock that was behind
    timestamps.pass_over({key: 1200.0}, now + timedelta(seconds=1200))
    assert not advance(wg0, key, now.timestamp() + 1000)[key].newer
    assert advance(wg0, key, now.timestamp() + 1200)[key].newer


def test_nothing_is_put_back_by_a_clock_that_is_wrong(wg0, key, as_gateway):
    advance(wg0, key, NOW)
    timestamps.pass_over(dict.fromkeys([key, rows.public_key()]), timezone.now() - timedelta(days=1))
    assert bytes(HandshakeTimestamp.objects.get().tai64n) == tai64n(NOW)


def test_refusals_are_counted_and_an_hour_apart_begin_anew(laptop, database, as_gateway):
    for _ in range(3):
        refusals.note({str(laptop.pk)})
    found = RefusedHandshake.objects.get()
    assert (found.peer_id, found.count, found.told_at) == (laptop.pk, 3, None)
    for ago, is_new in (("59 minutes", False), ("61 minutes", True)):
        long_ago = timezone.now() - timedelta(days=1)
        database.sql(
            f"UPDATE peers_refusedhandshake SET first_at = '{long_ago}', latest_at = now() - interval '{ago}'"
        )
        refusals.note({str(laptop.pk)})
        assert (RefusedHandshake.objects.get().first_at > long_ago) == is_new
    refusals.note(set())
