"""The peers in a state, found by SQL: exactly those of which the judgement of one peer says it."""

import itertools
from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers.models import Interface, Peer
from peers.state_queries import in_state
from peers.states import State, standings
from portal.models import HeldLoss, User
from tests import rows, scene

AT = timezone.now()
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
PEERS_AN_INTERFACE = 70

ENDS = (  # of a row: revoked_at, expires_at, suspended_at, each so long ago
    (None, None, None), (None, None, None), (None, -HOUR, None), (2 * MINUTE, None, None), (-MINUTE, None, None),
    (None, 2 * MINUTE, None), (None, timedelta(0), None), (None, None, 2 * MINUTE), (2 * MINUTE, HOUR, None),
    (None, 2 * MINUTE, HOUR), (None, -HOUR, 2 * MINUTE),
)  # fmt: skip
STATUSES = tuple(  # of a gateway: present, since, latest_handshake, which key, held, problem
    (present, since, handshake, key, held, problem)
    for present in (True, False)
    for since in (MINUTE, 2 * MINUTE, 9 * MINUTE)
    for handshake in (None, SECOND, 179 * SECOND, 180 * SECOND, HOUR)
    for key in ("current", "current", "retired", "")
    for held in (False, False, present)
    for problem in ("", "", "It is odd.")
)
RULES = ({}, {"lease": None}, {"enrol_groups": ["employees"]})
WATCHES = (  # gateways of an interface: name, attached, silent for, last pass so long ago
    (),
    (("gw1", True, SECOND, SECOND),),
    (("gw1", True, 15 * SECOND, HOUR),),
    (("gw1", True, 16 * SECOND, HOUR),),
    (("gw1", True, 16 * SECOND, SECOND),),
    (("gw1", True, HOUR, None),),
    (("gw1", False, SECOND, SECOND),),
    (("gw1", True, SECOND, None), ("gw2", True, SECOND, 2 * MINUTE)),
    (("gw1", True, SECOND, HOUR), ("gw2", True, SECOND, SECOND)),
    (("gw1", True, SECOND, SECOND), ("gw2", True, HOUR, HOUR)),
    (("gw1", True, HOUR, HOUR), ("gw2", True, 16 * SECOND, SECOND)),
    (("gw1", False, SECOND, SECOND), ("gw2", True, 16 * SECOND, HOUR)),
)


def literal(value):
    if isinstance(value, timedelta):
        value = AT - value
    return "NULL" if value is None else f"'{value}'"


def insert(database, table, columns, values):
    """Insert many rows as the superuser: the web role writes no status."""
    if values:
        lines = ",".join(f"({','.join(map(literal, row))})" for row in values)
        database.sql(f"INSERT INTO {table} ({columns}) VALUES {lines}")


def owners():
    """Return one owner for each thing that may be wrong with one."""
    ended = {"access_ended_at": AT - MINUTE, "access_end_reason": "refused"}
    return [
        rows.person(signed_in_at=AT, **ended),
        losing(None),
        losing(["guests"]),
        losing(["employees", "guests"]),
        rows.person(signed_in_at=AT),
        rows.person(signed_in_at=AT, groups_claim=[]),
        rows.person(signed_in_at=AT - timedelta(days=7)),
        rows.person(signed_in_at=None),
        rows.person(signed_in_at=AT, is_active=False),
    ]


def accounts(admitting):
    """Return one service account for each thing that may be wrong with one; all but the last may be on the interfaces."""
    return [
        rows.account(*admitting),
        rows.account(*admitting, suspended_at=AT - HOUR),
        rows.account(*admitting, suspended_at=AT - MINUTE),
        rows.account(),
    ]


def losing(groups):
    """Return a person of whom the identity brake holds that they would be left with ``groups``."""
    person = rows.person(signed_in_at=AT)
    HeldLoss.objects.create(person=person, reason="group_lost", groups=groups, found_at=AT)
    return person


def interfaces():
    """Return interfaces of both modes and every rule, watched in every way."""
    kinds = itertools.product(WATCHES, Interface.Mode, RULES)
    return [
        (rows.interface(f"wg{number}", mode=mode, **rules), watch)
        for number, (watch, mode, rules) in enumerate(kinds)
    ]


def fill(database, peers_an_interface=PEERS_AN_INTERFACE):
    """Make peers of every kind on every kind of interface: the same ones each time."""
    columns = ("gateways", "peers", "keys", "statuses")
    made, kinds, random = {name: [] for name in columns}, interfaces(), Random(0)
    holders = owners() + accounts([wg for wg, _ in kinds])
    for wg, watch in kinds:
        for name, attached, silent, passed in watch:
            made["gateways"].append((name, wg.pk, "1", attached, AT, silent, passed, 0, "{}", 0, 0, ""))
        for host in range(1, peers_an_interface + 1):
            peer(made, wg, random.choice(holders), host, random)
    insert(database, "peers_gatewaystatus", "gateway, interface_id, version, attached, started_at, heartbeat_at, last_pass_at,"
           " drift_found, left_alone, unexplained, held, problem", made["gateways"])  # fmt: skip
    insert(database, "peers_peer", "id, interface_id, owner_id, service_account_id, name, platform, host, preshared_key,"
           " enrolled_at, revoked_at, expires_at, suspended_at, revoke_reason", made["peers"])  # fmt: skip
    insert(database, "peers_peerkey", "public_key, peer_id, enrolled_at, retired_at", made["keys"])
    insert(database, "peers_peerstatus", "gateway, peer_id, public_key, present, since, latest_handshake, endpoint, rx_bytes,"
           " tx_bytes, held, problem", made["statuses"])  # fmt: skip


def peer(made, wg, holder, host, random):
    pk = f"00000000-0000-0000-{wg.pk:04x}-{host:012x}"
    of = (holder.pk, None) if isinstance(holder, User) else (None, holder.pk)
    made["peers"].append((pk, wg.pk, *of, "x", "other", host, "", HOUR, *random.choice(ENDS), ""))
    keys = {"": ""}
    for which in ("current", "retired"):
        keys[which] = scene.made_up_key(len(made["keys"]))
        retired = None if which == "current" and random.random() < 0.9 else HOUR
        made["keys"].append((keys[which], pk, HOUR, retired))
    for gateway in ("gw1", "gw2", "elsewhere"):
        if random.random() < 0.6:
            present, since, handshake, key, held, problem = random.choice(STATUSES)
            made["statuses"].append(
                (gateway, pk, keys[key], present, since, handshake, "", 0, 0, held, problem)
            )


def test_the_peers_in_each_state_are_those_that_are_judged_to_be_in_it(database, subtests):
    fill(database)
    judged = {pk: found.state for pk, found in standings(Peer.objects.all(), AT).items()}
    assert len(judged) == len(WATCHES) * len(Interface.Mode) * len(RULES) * PEERS_AN_INTERFACE
    assert min(Counter(judged.values()).values()) >= 5
    for state in State:
        with subtests.test(state.value):
            found = list(in_state(Peer.objects.all(), state, AT).values_list("pk", flat=True))
            assert len(found) == len(set(found))
            assert set(found) == {pk for pk, was in judged.items() if was == state}
    assert set(judged.values()) == set(State)


def test_without_any_gateway_every_peer_is_unknown_or_off(database):
    laptop, phone = (rows.peer(rows.person(), rows.interface(name)) for name in ("wg0", "wg1"))
    Peer.objects.filter(pk=phone.pk).update(revoked_at=AT)
    at = timezone.now()
    found = {state: list(in_state(Peer.objects.all(), state, at)) for state in State}
    assert {state: peers for state, peers in found.items() if peers} == {
        State.UNKNOWN: [laptop], State.REVOKED: [phone],
    }  # fmt: skip


def test_only_those_it_is_asked_of_are_found(database):
    laptop = rows.peer(rows.person("alice"), rows.interface())
    rows.peer(rows.person("bob"), laptop.interface)
    assert list(in_state(Peer.objects.filter(owner=laptop.owner), State.UNKNOWN, AT)) == [laptop]


@pytest.mark.parametrize("state", State)
def test_it_costs_two_queries_whatever_the_number_of_gateways(database, state):
    for number in range(3):
        wg = rows.interface(f"wg{number}")
        gateways = [(f"gw{one}", wg.pk, "1", True, AT, SECOND, SECOND, 0, "{}", 0, 0, "") for one in range(3)]
        insert(database, "peers_gatewaystatus", "gateway, interface_id, version, attached, started_at, heartbeat_at,"
               " last_pass_at, drift_found, left_alone, unexplained, held, problem", gateways)  # fmt: skip
    with CaptureQueriesContext(connection) as queries:
        list(in_state(Peer.objects.all(), state, AT))
    assert len(queries) == 2
