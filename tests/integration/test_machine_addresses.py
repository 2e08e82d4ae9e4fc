"""Host numbers of a service account's machines: each comes back to its own, and no race gives one twice."""

from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from peers import services
from peers.models import Interface, Peer, PeerKey, ServiceAccount
from tests import rows
from tests.integration.test_allocation import (
    MANY,
    RACERS,
    cost,
    fill,
    hosts,
    must_be_cheap,
    race,
    release,
    small,
)
from tests.integration.test_services import at_once, told


@pytest.fixture
def on(database):
    """Return an interface with the numbers 2 to 6 to give."""
    return small()


@pytest.fixture
def builders(on):
    return rows.account(on)


def ended(account, on, ago=timedelta(seconds=1)):
    """Return a machine whose time was over ``ago``."""
    ends_at = timezone.now() - ago
    return rows.machine(account, on, at=ends_at - timedelta(minutes=1), expires_at=ends_at)


def enrol(account, on, key):
    wanted = {"owner": account, "interface": on, "public_key": key, "name": "build-1", "at": timezone.now()}
    return services.enrol(actor=services.Actor(), **wanted)


# --- Each comes back to its own ---


def test_a_machine_that_comes_back_has_its_address_again(builders, on):
    gone = ended(builders, on)
    rows.machine(builders, on)
    rows.peer(rows.person(), on)
    back = enrol(builders, on, gone.key.public_key)
    assert (back.peer, back.created, back.peer.host) == (gone, False, gone.host)


def test_another_machine_of_the_account_has_a_number_that_nobody_had_before_one_just_given_up(builders, on):
    gone = ended(builders, on)
    assert rows.machine(builders, on).host not in (None, gone.host)
    assert Peer.objects.get(pk=gone.pk).host == gone.host


def test_another_machine_of_the_account_has_one_that_has_rested_before_one_just_given_up(builders, on):
    peers = fill(on, 4)
    gone = ended(builders, on)
    release(peers[0], ago=timedelta(days=2))
    assert rows.machine(builders, on).host == peers[0].host
    assert Peer.objects.get(pk=gone.pk).host == gone.host


def test_another_machine_of_the_account_has_what_a_revoked_one_had_before_any_other(builders, on):
    expired, revoked = ended(builders, on, ago=timedelta(seconds=9)), rows.machine(builders, on)
    services.revoke(actor=services.Actor(), peer=revoked, at=timezone.now())
    assert rows.machine(builders, on).host == revoked.host
    assert Peer.objects.get(pk=expired.pk).host == expired.host


@pytest.mark.parametrize("limit", [1, 2])
def test_an_account_uses_up_no_more_than_twice_the_numbers_that_it_may_have_machines(on, limit):
    one = rows.account(on, device_limit=limit)
    for minutes in range(18, 0, -2):
        ended(one, on, ago=timedelta(minutes=minutes))
    assert len(hosts()) <= 2 * limit
    assert rows.machine(rows.account(on), on).host


def test_the_pool_is_not_exhausted_while_there_are_numbers_that_the_account_gave_up(builders, on):
    fill(on, 3)
    gone = [ended(builders, on, ago=timedelta(seconds=seconds)) for seconds in (2, 1)]
    assert [rows.machine(builders, on).host for _ in gone] == [peer.host for peer in gone]
    with pytest.raises(services.NoFreeAddress):
        rows.machine(builders, on)
    assert hosts() == [2, 3, 4, 5, 6]


def test_what_an_account_gave_up_rests_from_others(builders, on, subtests):
    fill(on, 4)
    ended(builders, on)
    for other in (rows.person(), rows.account(on)):
        with subtests.test(type(other).__name__), pytest.raises(services.NoFreeAddress):
            enrol(other, on, rows.public_key())


def test_what_an_account_gave_up_goes_to_others_once_it_has_rested(builders, on):
    fill(on, 4)
    gone = ended(builders, on, ago=on.address_rest + timedelta(seconds=1))
    assert rows.peer(rows.person(), on).host == gone.host


def test_a_machine_whose_number_went_to_another_gets_a_new_one(builders, on):
    gone = ended(builders, on, ago=on.address_rest + timedelta(seconds=1))
    assert rows.machine(rows.account(on), on).host == gone.host
    back = enrol(builders, on, gone.key.public_key).peer
    assert (back.pk, back.host) == (gone.pk, gone.host + 1)


# --- Races ---


def test_of_fifty_machines_of_one_account_one_has_the_last_number(builders, on):
    fill(on, 4)
    assert race([builders] * RACERS, on) == {"enrolled": 1, "NoFreeAddress": RACERS - 1}
    assert hosts() == [2, 3, 4, 5, 6]


def test_of_fifty_accounts_one_has_the_last_number(on):
    fill(on, 4)
    assert race([rows.account(on) for _ in range(RACERS)], on) == {
        "enrolled": 1,
        "NoFreeAddress": RACERS - 1,
    }


def test_of_fifty_machines_each_number_that_the_account_gave_up_goes_to_one(builders, on):
    for _ in range(5):
        ended(builders, on)
    assert race([builders] * RACERS, on) == {"enrolled": 5, "NoFreeAddress": RACERS - 5}
    assert hosts() == [2, 3, 4, 5, 6]


def test_the_same_key_fifty_times_at_once_from_one_account_is_one_machine(builders, on):
    assert race([builders] * RACERS, on, rows.public_key()) == {"enrolled": 1, "known": RACERS - 1}
    assert (Peer.objects.count(), PeerKey.objects.count()) == (1, 1)


def test_an_ended_machine_that_comes_back_fifty_times_at_once_is_one_machine(builders, on):
    gone = ended(builders, on)
    assert race([builders] * RACERS, on, gone.key.public_key) == {"known": RACERS}
    assert Peer.objects.get().host == gone.host


def test_the_same_key_fifty_times_at_once_from_different_accounts_has_one_winner(database):
    on = rows.interface()  # with room for all: whoever is told of the key holds a number until then
    accounts = [rows.account(on) for _ in range(RACERS)]
    assert race(accounts, on, rows.public_key()) == {"enrolled": 1, "KeyInUse": RACERS - 1}
    assert (Peer.objects.count(), PeerKey.objects.count()) == (1, 1)


def test_an_accounts_limit_holds_for_machines_at_once(on):
    builders = rows.account(on, device_limit=3)
    assert race([builders] * 20, on) == {"enrolled": 3, "PeerLimit": 17}


def test_an_accounts_limit_holds_for_machines_that_come_back_at_once(database):
    on = rows.interface()
    builders = rows.account(on)
    keys = iter([ended(builders, on).key.public_key for _ in range(12)])
    ServiceAccount.objects.update(device_limit=3)
    answers = at_once(12, lambda: told(lambda: enrol(builders, on, next(keys)).created))
    assert Counter(map(str, answers)) == {"False": 3, "PeerLimit": 9}


def test_a_persons_limit_holds_for_devices_that_come_back_at_once(database):
    on, alice = rows.interface(), rows.person()
    keys = iter([ended(alice, on).key.public_key for _ in range(10)])
    Interface.objects.update(device_limit=3)
    on.refresh_from_db()
    answers = at_once(10, lambda: told(lambda: enrol(alice, on, next(keys)).created))
    assert Counter(map(str, answers)) == {"False": 3, "PeerLimit": 7}


def test_a_tokens_limit_holds_for_machines_at_once(builders, on):
    token, _ = rows.token(builders, use_limit=3)
    actor = services.Actor(token=token)
    assert race([builders] * 20, on, actor=actor) == {"enrolled": 3, "UseLimit": 17}
    token.refresh_from_db()
    assert token.enrolments == 3


def test_a_machine_that_finds_no_room_costs_its_token_nothing(builders, on):
    fill(on, 4)
    token, _ = rows.token(builders, use_limit=5)
    race([builders] * 10, on, actor=services.Actor(token=token))
    token.refresh_from_db()
    assert token.enrolments == 1


# --- The cost ---


@pytest.mark.parametrize(
    "room", [0, MANY], ids=["nothing but what the account gave up", "numbers nobody had"]
)
def test_a_number_costs_no_more_among_twenty_thousand_that_the_account_gave_up(database, room):
    on = rows.interface(ipv4_pool=None)
    builders = rows.account(on)
    database.sql(
        "INSERT INTO peers_peer (id, interface_id, service_account_id, name, platform, host, preshared_key, enrolled_at,"
        f" expires_at, revoke_reason) SELECT gen_random_uuid(), {on.pk}, {builders.pk}, 'build', 'linux', n + 1, '', now(),"
        f" now(), '' FROM generate_series(1, {MANY}) n; VACUUM ANALYZE peers_peer;"
        f" UPDATE peers_interface SET next_host = {on.last_host + 1 if not room else MANY + 2}"
    )
    must_be_cheap(cost(on, account=builders))
    walks, fetched = cost(on, account=builders, most=2 * MANY)
    assert walks == 0
    assert fetched < 1200  # it counts up to a thousand


def test_a_machine_costs_no_more_among_twenty_thousand_of_its_account_when_far_from_its_limit(database):
    on = rows.interface(ipv4_pool=None)
    builders = rows.account(on, device_limit=10 * MANY)
    database.sql(
        "INSERT INTO peers_peer (id, interface_id, service_account_id, name, platform, host, preshared_key, enrolled_at,"
        f" revoke_reason) SELECT gen_random_uuid(), {on.pk}, {builders.pk}, 'build', 'linux', n + 1, '', now(), ''"
        f" FROM generate_series(1, {MANY}) n; UPDATE peers_interface SET next_host = {MANY + 2}; VACUUM ANALYZE peers_peer"
    )
    rows.machine(builders, on)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'peer_held_by_account'"
        )
        assert cursor.fetchone()[0] < 100
