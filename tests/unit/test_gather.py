"""Every row is hostile: what the interface is told is valid and inside the pool, whatever the database holds."""

from datetime import UTC, datetime
from ipaddress import ip_network
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from peers.gateway.gather import Row, forget, remembered, validated
from peers.models import Interface
from peers.wireguard import keys, wg
from peers.wireguard.state import MEMOS, addresses, parse_dump
from portal.encryption import encrypt
from tests import rows

POOLS = (ip_network("10.77.0.0/24"), ip_network("fd00:77::/64"))
INTERFACE = Interface(name="wg0", ipv4_pool=POOLS[0], ipv6_pool=POOLS[1], public_key=rows.public_key())
GOOD = [rows.public_key() for _ in range(8)]
PSK = encrypt(keys.generate_preshared_key())

some_keys = st.one_of(
    st.sampled_from([*GOOD, INTERFACE.public_key, keys.ZERO_KEY, "", "\n", "A" * 44]),
    st.text(max_size=60),
    st.binary(min_size=32, max_size=32).map(keys._encoded),
)
hosts = st.one_of(st.none(), st.integers(-3, 260), st.integers(-(2**63), 2**63 - 1))
tokens = st.one_of(st.just(""), st.just(PSK), st.text(max_size=40), st.builds(encrypt, st.text(max_size=50)))
some_rows = st.builds(Row, st.uuids().map(str), some_keys, hosts, tokens, st.none())


@given(st.lists(some_rows, max_size=8))
def test_wg_sees_only_valid_values_inside_the_pool(hostile):
    desired = validated(INTERFACE, hostile)
    text = wg.add_config(desired.settings)
    assert {wanted.peer for wanted in desired.peers.values()} | set(desired.problems) == {
        row.peer for row in hostile
    }
    given_to = [network for settings in desired.settings.values() for network in settings.allowed_ips]
    assert len(given_to) == len(set(given_to)), "an address with two holders"
    for network in given_to:
        pool = POOLS[network.version == 6]
        assert network.num_addresses == 1 and network.subnet_of(pool)
        assert network.network_address not in {pool[0], pool[1]}
        assert network.version == 6 or network.broadcast_address != pool.broadcast_address
    for line in text.splitlines():
        assert line == "[Peer]" or line.split(" = ")[0] in {
            "PublicKey",
            "PresharedKey",
            "AllowedIPs",
            "PersistentKeepalive",
        }


def row(number, **columns):
    values = {
        "peer": str(UUID(int=number)),
        "key": GOOD[number],
        "host": number + 2,
        "token": "",
        "until": None,
        **columns,
    }
    return Row(**values)


def test_one_poisoned_row_is_put_aside_and_every_other_is_kept():
    poisoned = {
        "key": {"key": "not a key"},
        "own key": {"key": INTERFACE.public_key},
        "no host": {"host": None},
        "host zero": {"host": 0},
        "the interface's host": {"host": 1},
        "beyond the pool": {"host": 255},
        "broadcast": {"host": 255},
        "not decrypted": {"token": "gAAAA-nonsense"},
        "no preshared key inside": {"token": encrypt("short")},
    }
    for name, columns in poisoned.items():
        desired = validated(INTERFACE, [row(0), row(1, **columns), row(2)])
        assert set(desired.peers) == {GOOD[0], GOOD[2]}, name
        assert set(desired.problems) == {str(UUID(int=1))}, name


def test_the_second_holder_of_a_number_is_put_aside():
    desired = validated(INTERFACE, [row(0), row(1, host=2)])
    assert (set(desired.peers), set(desired.problems)) == ({GOOD[0]}, {str(UUID(int=1))})


def test_no_reason_holds_a_value_of_the_row():
    secret = keys.generate_preshared_key()
    desired = validated(
        INTERFACE, [row(0, token=encrypt(secret + secret)), row(1, key=secret[:-2] + "!=", peer=str(uuid4()))]
    )
    assert secret[:20] not in repr(desired)


def test_a_row_whose_deadline_has_changed_is_not_decrypted_again():
    forget()
    for until in (None, datetime(2026, 8, 3, tzinfo=UTC)):
        desired = validated(INTERFACE, [row(0, token=PSK, until=until)])
        assert desired.peers[GOOD[0]].until == until
    assert (remembered.cache_info().misses, remembered.cache_info().hits) == (1, 1)


def test_what_is_wanted_and_what_is_read_back_are_one_object_so_that_to_compare_them_costs_nothing():
    desired = validated(INTERFACE, [row(0), row(1, token=PSK)]).settings
    lines = (
        "\t".join([key, given.preshared_key, "(none)", addresses(given.allowed_ips), "0", "0", "0", "off"])
        for key, given in desired.items()
    )
    found = parse_dump("\n".join(["(none)\t(none)\t0\toff", *lines])).peers
    assert len(found) == 2
    assert all(found[key].settings is given for key, given in desired.items())


def test_what_is_remembered_of_peers_long_gone_can_be_forgotten():
    before = validated(INTERFACE, [row(0), row(1, token=PSK)])
    forget()
    assert not any(memo.cache_info().currsize for memo in (remembered, *MEMOS))
    assert validated(INTERFACE, [row(0), row(1, token=PSK)]) == before
