"""Host numbers under contention: one winner for the last, none given twice, and a rest before another has it."""

import threading
from collections import Counter
from contextlib import closing
from datetime import timedelta
from ipaddress import ip_interface

import psycopg2
import pytest
from django.db import connection, transaction
from django.utils import timezone

from peers import services
from peers.allocation import AHEAD
from peers.models import AuditEvent, FreedNumber, Interface, Peer, PeerKey
from tests import rows
from tests.conftest import WEB

RACERS = 50
ROUNDS = 2  # the full count is among the long tests


def small(**fields):
    """Return an interface with the numbers 2 to 6 to give."""
    return rows.interface(ipv6_pool=None, **{"ipv4_pool": "10.0.0.0/29", **fields})


def fill(on, number):
    """Enrol ``number`` peers, each of a person of its own."""
    return [rows.peer(rows.person(), on) for _ in range(number)]


def release(peer, ago=timedelta(0)):
    """Revoke ``peer`` as if it had been done ``ago``."""
    services.revoke(actor=services.Actor(), peer=peer, at=timezone.now() - ago)


def race(holders, on, key=None, actor=None):
    """Let all ``holders`` enrol at the same moment and count what came of it: an exception's name, or "enrolled"."""
    barrier, answers = threading.Barrier(len(holders)), []

    def run(holder):
        try:
            barrier.wait(30)
            answers.append(
                "enrolled"
                if services.enrol(
                    actor=actor or services.Actor(), owner=holder, interface=on, name="laptop",
                    public_key=key or rows.public_key(), at=timezone.now(),
                ).created
                else "known"
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            answers.append(type(error).__name__)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[holder]) for holder in holders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return Counter(answers)


def race_for_the_last_number(database, people, on, *, released):
    """Set the interface up so that one number is left, never given or released long ago, and let ``people`` race."""
    database.sql(
        "UPDATE peers_peer SET host = NULL; ALTER TABLE peers_interface DISABLE TRIGGER interface_mark_only_rises;"
        f"UPDATE peers_interface SET next_host = {on.last_host}"
    )
    if released:
        on.refresh_from_db()
        release(rows.peer(rows.person(), on), ago=timedelta(days=2))
    answers = race(people, on)
    assert answers == {"enrolled": 1, "NoFreeAddress": len(people) - 1}
    assert Peer.objects.filter(host=on.last_host).count() == 1
    assert Peer.objects.exclude(host=None).count() == 1
    Peer.objects.filter(revoked_at=None).update(revoked_at=timezone.now())


def hosts():
    return sorted(Peer.objects.exclude(host=None).values_list("host", flat=True))


# --- Races ---


@pytest.mark.parametrize("released", [False, True], ids=["never given", "released"])
def test_of_fifty_racers_for_the_last_number_one_wins_and_the_others_are_told(database, released):
    on = rows.interface()
    people = [rows.person() for _ in range(RACERS)]
    for _ in range(ROUNDS):
        race_for_the_last_number(database, people, on, released=released)


def test_racers_for_the_numbers_of_pruned_peers_take_each_once(database):
    on = small()
    fill(on, 2)
    database.sql(
        "DELETE FROM peers_freednumber;"
        f"INSERT INTO peers_freednumber (interface_id, host) SELECT {on.pk}, n FROM generate_series(4, 6) n"
    )
    assert race([rows.person() for _ in range(RACERS)], on) == {"enrolled": 3, "NoFreeAddress": RACERS - 3}
    assert hosts() == [2, 3, 4, 5, 6]
    assert not FreedNumber.objects.exists()


@pytest.mark.parametrize("table", ["peers_freednumber", "peers_peer"], ids=["of a pruned peer", "rested"])
def test_a_number_that_somebody_is_taking_is_passed_by(database, table):
    on = small()
    peers = fill(on, 5)
    if table == "peers_peer":
        for peer in peers[:2]:
            release(peer, ago=timedelta(days=2))
    else:
        database.sql(f"DELETE FROM {table}; UPDATE peers_peer SET host = NULL WHERE host < 4;"
                     f"INSERT INTO {table} (interface_id, host) VALUES ({on.pk}, 2), ({on.pk}, 3)")  # fmt: skip
    with closing(psycopg2.connect(database.url(WEB))) as other, connection.cursor() as here:
        other.cursor().execute(f"SELECT FROM {table} WHERE host = 2 FOR UPDATE")
        here.execute("SET lock_timeout = '2s'")
        assert rows.peer(rows.person(), on).host == 3


def test_racers_for_more_numbers_than_there_are_take_each_once(database):
    on = rows.interface(ipv6_pool=None, ipv4_pool="10.0.0.0/27")
    for peer in fill(on, 10):
        release(peer, ago=timedelta(days=2))
    assert race([rows.person() for _ in range(RACERS)], on) == {"enrolled": 29, "NoFreeAddress": RACERS - 29}
    assert hosts() == list(range(2, 31))


def test_the_same_key_fifty_times_at_once_from_one_person_is_one_peer(database):
    on, person = rows.interface(), rows.person()
    answers = race([person] * RACERS, on, rows.public_key())
    assert answers == {"enrolled": 1, "known": RACERS - 1}
    assert (Peer.objects.count(), PeerKey.objects.count()) == (1, 1)


def test_the_same_key_fifty_times_at_once_from_different_people_has_one_winner(database):
    on, people = rows.interface(), [rows.person() for _ in range(RACERS)]
    assert race(people, on, rows.public_key()) == {"enrolled": 1, "KeyInUse": RACERS - 1}
    assert (Peer.objects.count(), PeerKey.objects.count()) == (1, 1)


# --- Which numbers there are ---


def test_every_number_of_a_pool_is_given_once_and_neither_the_interfaces_own_nor_the_broadcast(database):
    on = small()
    given = [str(peer.addresses[0].ip) for peer in fill(on, 5)]
    assert sorted(given) == [f"10.0.0.{number}" for number in range(2, 7)]
    with pytest.raises(services.NoFreeAddress):
        rows.peer(rows.person(), on)


@pytest.mark.parametrize("own", [3, 6])
def test_the_interfaces_own_number_is_stepped_over_wherever_it_is(database, own):
    on = small(host=own)
    fill(on, 5)
    assert hosts() == [number for number in range(1, 7) if number != own]
    with pytest.raises(services.NoFreeAddress):
        rows.peer(rows.person(), on)


def test_a_refused_enrolment_uses_up_no_number(database):
    on = small()
    Interface.objects.update(device_limit=1)
    on.refresh_from_db()
    taken = rows.peer(rows.person(), on)
    for person in (taken.owner, rows.person(is_active=False)):
        with pytest.raises(services.Refused):
            rows.peer(person, on)
    fill(on, 4)
    assert hosts() == [2, 3, 4, 5, 6]


POOLS = {
    "IPv4 alone": ({"ipv4_pool": "10.9.0.0/24", "ipv6_pool": None}, ["10.9.0.2/32"]),
    "IPv6 alone": ({"ipv4_pool": None, "ipv6_pool": "fd09::/64"}, ["fd09::2/128"]),
    "both": ({"ipv4_pool": "10.8.0.0/24", "ipv6_pool": "fd08::/64"}, ["10.8.0.2/32", "fd08::2/128"]),
}


def test_one_number_gives_an_address_in_each_pool_that_there_is(database, subtests):
    for number, (case, (pools, addresses)) in enumerate(POOLS.items()):
        with subtests.test(case):
            on = rows.interface(f"wg{number}", **pools)
            assert list(rows.peer(rows.person(), on).addresses) == [ip_interface(text) for text in addresses]


def test_the_smaller_pool_bounds_the_numbers(database, subtests):
    for number, (ipv4, ipv6, last) in enumerate(
        [("10.1.0.0/30", "fd01::/64", 2), ("10.2.0.0/16", "fd02::/126", 3), (None, "fd03::/126", 3)]
    ):
        with subtests.test(f"{ipv4} {ipv6}"):
            on = rows.interface(f"wg{number}", ipv4_pool=ipv4, ipv6_pool=ipv6)
            given = [peer.host for peer in fill(on, last - 1)]
            assert given == list(range(2, last + 1))
            with pytest.raises(services.NoFreeAddress):
                rows.peer(rows.person(), on)


def test_the_last_number_of_a_huge_pool_fits_its_column(database):
    on = rows.interface(ipv4_pool=None, ipv6_pool="fd00::/8")
    database.sql(f"UPDATE peers_interface SET next_host = {on.last_host}")
    assert rows.peer(rows.person(), on).host == on.last_host
    with pytest.raises(services.NoFreeAddress):
        rows.peer(rows.person(), on)


# --- A freed number rests ---


@pytest.fixture
def full(database):
    """Return an interface without a free number, and its peers."""
    on = small()
    return on, fill(on, 5)


def test_a_freed_number_is_not_given_to_another_before_it_has_rested(full):
    on, (peer, *_) = full
    release(peer, ago=on.address_rest - timedelta(seconds=30))
    with pytest.raises(services.NoFreeAddress):
        rows.peer(rows.person(), on)
    assert Peer.objects.get(pk=peer.pk).host == peer.host


def test_a_number_that_has_rested_is_given_to_anyone_and_taken_from_its_former_peer(full):
    on, (peer, *_) = full
    release(peer, ago=on.address_rest + timedelta(seconds=1))
    assert rows.peer(rows.person(), on).host == peer.host
    assert Peer.objects.get(pk=peer.pk).host is None
    assert hosts() == [2, 3, 4, 5, 6]


def test_a_freed_number_goes_back_to_its_former_owner_at_once(full):
    on, (_, peer, *_) = full
    release(peer)
    assert rows.peer(peer.owner, on).host == peer.host


def test_a_number_that_rests_comes_before_a_freed_one_for_its_former_owner_alone(full, database):
    on, (peer, other, *_) = full
    release(peer)
    release(other, ago=timedelta(days=2))
    database.sql(
        f"UPDATE peers_peer SET host = NULL WHERE id = '{other.pk}';"
        f"INSERT INTO peers_freednumber (interface_id, host) VALUES ({on.pk}, {other.host})"
    )
    assert rows.peer(peer.owner, on).host == peer.host
    assert rows.peer(rows.person(), on).host == other.host


def test_an_expired_peers_number_rests_from_its_expiry(full):
    on, (first, second, *_) = full
    rest = on.address_rest
    Peer.objects.filter(pk=first.pk).update(expires_at=timezone.now() - rest + timedelta(minutes=1))
    with pytest.raises(services.NoFreeAddress):
        rows.peer(rows.person(), on)
    Peer.objects.filter(pk=second.pk).update(expires_at=timezone.now() - rest - timedelta(minutes=1))
    assert rows.peer(rows.person(), on).host == second.host


def test_the_number_of_a_peer_that_may_come_back_is_never_given_away(full, subtests):
    on, (peer, *_) = full
    long_ago = timezone.now() - timedelta(days=300)
    for case, change in {
        "suspended": lambda: Peer.objects.filter(pk=peer.pk).update(suspended_at=long_ago),
        "expires later": lambda: Peer.objects.filter(pk=peer.pk).update(
            expires_at=timezone.now() + timedelta(hours=1)
        ),
        "lease over": lambda: type(peer.owner).objects.filter(pk=peer.owner_id).update(signed_in_at=long_ago),
        "owner inactive": lambda: type(peer.owner).objects.filter(pk=peer.owner_id).update(is_active=False),
    }.items():
        with subtests.test(case):
            change()
            with pytest.raises(services.NoFreeAddress):
                rows.peer(rows.person(), on)


def test_a_number_of_another_interface_is_never_taken(full):
    on, _ = full
    other = rows.interface("wg1")
    peer = rows.peer(rows.person(), other)
    release(peer, ago=timedelta(days=3))
    for person in (peer.owner, rows.person()):
        with pytest.raises(services.NoFreeAddress):
            rows.peer(person, on)


# --- The cost ---

MANY = 20_000
MOST = 50  # machines of an account
CROWDS = {
    "all in use": "NULL",
    "all resting": "now()",
    "all rested": "now() - interval '3 days'",
}


@pytest.mark.parametrize("owners", [200, 1], ids=["many owners", "one owner"])
def test_a_number_costs_no_more_among_twenty_thousand(database, subtests, owners):
    on = rows.interface()
    people = [rows.person() for _ in range(owners)]
    asking = rows.person()
    database.sql(
        "INSERT INTO peers_peer (id, interface_id, owner_id, name, platform, host, preshared_key, enrolled_at, revoke_reason)"
        f" SELECT gen_random_uuid(), {on.pk}, {people[0].pk} + n % {owners}, 'laptop', 'linux', n + 1, '', now(), ''"
        f" FROM generate_series(1, {MANY}) n; UPDATE peers_interface SET next_host = {MANY + 2}"
    )
    for case, revoked_at in CROWDS.items():
        database.sql(
            "ALTER TABLE peers_peer DISABLE TRIGGER USER;"
            f"UPDATE peers_peer SET revoked_at = {revoked_at}; ALTER TABLE peers_peer ENABLE TRIGGER USER"
        )
        database.sql("VACUUM ANALYZE peers_peer")
        for person in (asking, people[0]):
            with subtests.test(f"{case}, {'has none' if person == asking else 'has some'}"):
                must_be_cheap(cost(on, person))


def cost(on, person=None, account=None, most=MOST):
    """Return how often an allocation for a new peer of the person or the account walked all peers, and how many it fetched."""
    nobody = "00000000-0000-0000-0000-000000000000"
    values = [
        on.pk,
        person and person.pk,
        account and account.pk,
        nobody,
        most,
        24 * 3600,
        on.last_host,
        AHEAD,
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT latchkey_take_number(%s, %s, %s, %s, %s, %s, %s, %s)", values)
        assert cursor.fetchone()[0]
        cursor.execute(
            "SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'peers_peer'"
        )
        walks, fetched = cursor.fetchone()
        transaction.set_rollback(True)
    return walks, fetched


def must_be_cheap(found):
    walks, fetched = found
    assert walks == 0
    assert fetched < 100  # of all that the session has asked so far


@pytest.mark.parametrize("number", [1, 2, 255, 256, 65534, 2**32, 2**62])
def test_the_database_writes_a_numbers_addresses_as_python_does(database, number):
    pools = {"ipv4_pool": "10.0.0.0/8"} if number < 2**16 else {"ipv4_pool": None}
    for ipv6_pool in ("fd00:77::/64", "2001:db8:0:1::/64", "fd00:0:0:7:0:1::/96" if number < 2**32 else None):
        if not any((ipv6_pool, pools["ipv4_pool"])):
            continue
        on = rows.interface(f"wg{Interface.objects.count()}", ipv6_pool=ipv6_pool, **pools)
        pools = {"ipv4_pool": None}  # two interfaces share none
        with connection.cursor() as cursor:
            cursor.execute("SELECT latchkey_addresses(%s, %s)", [on.pk, number])
            assert cursor.fetchone()[0] == [str(address) for address in on.addresses_of(number)]


def test_an_enrolment_says_the_same_addresses_to_its_caller_in_the_audit_and_of_what_the_device_was_given(
    database,
):
    on = small()
    made = rows.peer(rows.person(), on)
    kept = Peer.objects.get(pk=made.pk)
    written = AuditEvent.objects.get(peer=made, action="enrol").new["addresses"]
    assert written == [str(address) for address in kept.addresses] == kept.configured["addresses"]
    assert (made.host, made.configured) == (kept.host, kept.configured)
