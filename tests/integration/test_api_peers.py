"""The list and its pages, one peer, its name and its end; and that another's peers are not there."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers.models import AuditEvent, Interface, Peer, ServiceAccount
from peers.states import State
from tests import rows
from tests.integration.programs import INTERFACES, PEERS, Program, told


def program(holder, *scopes, **fields):
    return Program(rows.token(holder, *scopes, **fields)[1])


@pytest.fixture
def machine(builders, wg0):
    return rows.machine(builders, wg0)


def machines(builders, wg0, number):
    """Return the ids of new machines, the newest first."""
    return [str(rows.machine(builders, wg0, f"build-{n}").pk) for n in range(number)][::-1]


def pages(program, **query):
    """Return the pages of a list, each as ids, by following the cursor."""
    found = []
    for _ in range(500):
        body = program.get(**query).json()
        found.append([item["id"] for item in body["items"]])
        if body["next"] is None:
            return found
        query["cursor"] = body["next"]
    raise AssertionError("the list has no end")


# --- The list ---


def test_a_list_is_all_that_the_answer_to_an_enrolment_says(builder):
    made = builder.enrol(ttl=60).json()
    body = builder.get().json()
    assert body == {"items": [made], "next": None}
    assert builder.get(f"{PEERS}/{made['id']}").json() == made


def test_a_list_goes_page_by_page_the_newest_first(builder, builders, wg0):
    ids = machines(builders, wg0, 7)
    assert pages(builder, limit=3) == [ids[:3], ids[3:6], ids[6:]]
    assert pages(builder, limit=7) == [ids]


def test_a_page_has_fifty_unless_it_is_asked_for_more(builder, builders, wg0):
    Interface.objects.update(ipv4_pool=None)
    ids = machines(builders, wg0, 52)
    assert [len(page) for page in pages(builder)] == [50, 2]
    assert pages(builder, limit=200) == [ids]


def test_peers_enrolled_at_one_moment_are_each_on_one_page(builder, builders, wg0):
    at = timezone.now()
    ids = {str(rows.machine(builders, wg0, at=at).pk) for _ in range(5)}
    found = [pk for page in pages(builder, limit=2) for pk in page]
    assert len(found) == 5
    assert set(found) == ids


def test_what_is_enrolled_and_revoked_meanwhile_moves_nothing(builder, builders, wg0):
    ids = machines(builders, wg0, 6)
    first = builder.get(limit=2).json()
    machines(builders, wg0, 3)
    builder.revoke(ids[0])
    builder.revoke(ids[3])
    rest = pages(builder, limit=2, cursor=first["next"])
    assert [[item["id"] for item in first["items"]], *rest] == [ids[:2], [ids[2], ids[4]], [ids[5]]]


def test_no_peer_is_on_two_pages_or_on_none_while_others_enrol(builder, builders, wg0):
    ServiceAccount.objects.update(device_limit=100_000)
    builders.refresh_from_db()
    before, stop = set(machines(builders, wg0, 30)), threading.Event()

    def enrol():
        while not stop.is_set():
            rows.machine(builders, wg0)
        connection.close()

    enrolling = threading.Thread(target=enrol)
    enrolling.start()
    try:
        for _ in range(2):
            found = [pk for page in pages(builder, limit=7) for pk in page]
            assert len(found) == len(set(found))
            assert before <= set(found)
    finally:
        stop.set()
        enrolling.join(20)


def test_a_list_costs_a_number_of_queries_that_does_not_grow(builder, builders, wg0):
    machines(builders, wg0, 2)
    builder.get()  # the token's use is noted
    with CaptureQueriesContext(connection) as few:
        builder.get()
    machines(builders, wg0, 20)
    with CaptureQueriesContext(connection) as many:
        builder.get()
    assert len(many) == len(few)


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", ""])
def test_a_page_has_one_to_two_hundred(builder, limit):
    assert told(builder.get(limit=limit)) == (400, "invalid", "limit")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%00",
        "\u00e9",
        "MjAyNi0wMS0wMQ",
        "bm93IDEyMzQ",
        "OTk5OS0xMi0zMVQyMzo1OTo1OS0yMzo1OSAx",
        "====",
        " ",
    ],
)
def test_a_cursor_is_one_that_an_answer_gave(builder, cursor):
    assert told(builder.get(cursor=cursor)) == (400, "bad_cursor", "cursor")


def test_a_cursor_is_short(builder):
    assert told(builder.get(cursor="x" * 101)) == (400, "invalid", "cursor")


# --- What a list is narrowed to ---


def test_a_list_can_be_that_of_one_name(builder, builders, wg0):
    one = rows.machine(builders, wg0, "Bu\u0308ro".replace("u\u0308", "\u00fc"))
    rows.machine(builders, wg0, "other")
    assert builder.ids(name="Bu\u0308ro") == [str(one.pk)]
    assert builder.ids(name="nobody") == []


def in_each_state(builders, wg0, status):
    """Return one machine in each state that there is while its gateway reports, by the state's word."""
    past = timezone.now() - timedelta(minutes=5)
    made = {
        state: rows.machine(builders, wg0)
        for state in ("pending", "live", "connected", "revoking", "revoked", "suspended", "held", "invalid")
    }
    made["expired"] = rows.machine(builders, wg0, at=past, expires_at=past + timedelta(seconds=60))
    status(made["live"])
    status(made["connected"], handshake="now()")
    status(made["revoking"])
    status(made["held"], held="true")
    status(made["invalid"], present="false", problem="'no address'")
    ended = ("revoking", "revoked", "held")
    Peer.objects.filter(pk__in=[made[state].pk for state in ended]).update(revoked_at=past)
    Peer.objects.filter(pk=made["suspended"].pk).update(suspended_at=past)
    return made


def test_a_list_can_be_that_of_one_state_and_says_the_state_of_each(builder, builders, wg0, gateway, status):
    gateway()
    made = in_each_state(builders, wg0, status)
    for state, peer in made.items():
        assert builder.ids(state=state) == [str(peer.pk)], state
        assert builder.get(f"{PEERS}/{peer.pk}").json()["state"] == state
    for state in set(State) - set(made):
        assert builder.ids(state=state) == []


def test_revoked_ones_are_listed_only_when_they_are_asked_for(builder, builders, wg0, gateway, status):
    gateway()
    made = in_each_state(builders, wg0, status)
    ended = {"revoked", "revoking", "held"}
    assert set(builder.ids()) == {str(peer.pk) for state, peer in made.items() if state not in ended}


def test_a_state_that_nobody_knows_is_refused_with_those_there_are(builder):
    answer = builder.get(state="off")
    assert told(answer) == (400, "invalid", "state")
    assert "'pending'" in answer.json()["error"]["message"]


def test_while_the_gateway_is_silent_no_state_but_unknown_is_told(builder, machine, gateway, status):
    gateway(age="16 s")
    status(machine, handshake="now()")
    assert builder.get(f"{PEERS}/{machine.pk}").json()["state"] == "unknown"
    assert builder.ids(state="connected") == []
    assert builder.ids(state="unknown") == [str(machine.pk)]


# --- One peer ---


def test_a_revoked_peer_can_still_be_read_with_the_key_it_had(builder, machine):
    key = machine.key.public_key
    builder.revoke(machine.pk)
    body = builder.get(f"{PEERS}/{machine.pk}").json()
    assert (body["public_key"], body["id"]) == (key, str(machine.pk))


def test_a_peer_whose_number_went_to_another_has_no_addresses(builder, machine):
    Peer.objects.update(host=None)
    assert builder.get(f"{PEERS}/{machine.pk}").json()["addresses"] == []


def test_a_renamed_peer_has_its_new_name_and_nothing_else_changes(builder):
    made = builder.enrol(name="old").json()
    answer = builder.rename(made["id"], " new ")
    assert (answer.status_code, answer.json()) == (200, {**made, "name": "new"})


def test_a_revoked_peer_cannot_be_renamed_or_renewed(builder, machine):
    builder.revoke(machine.pk)
    assert told(builder.rename(machine.pk, "x")) == (409, "not_active", None)
    assert told(builder.renew(machine.pk, ttl=60)) == (409, "not_active", None)


def test_revoking_is_repeatable_and_answers_nothing(builder, machine):
    for _ in range(3):
        answer = builder.revoke(machine.pk)
        assert (answer.status_code, answer.content) == (204, b"")
    assert AuditEvent.objects.filter(action="revoke").count() == 1


# --- Another's ---


def test_another_s_peer_answers_exactly_as_one_that_is_not_there(builder, wg0, alice, laptop):
    others = {"an account's": rows.machine(rows.account(wg0), wg0).pk, "a person's": laptop.pk}
    before = Peer.objects.order_by("pk").values_list()
    for pk in others.values():
        for act in (lambda pk: builder.get(f"{PEERS}/{pk}"), lambda pk: builder.rename(pk, "x"),
                    lambda pk: builder.renew(pk, ttl=60), builder.revoke):  # fmt: skip
            found, missing = act(pk), act(uuid4())
            assert told(found) == (404, "not_found", None)
            assert found.content == missing.content
            assert dict(found.headers) == dict(missing.headers)
    assert list(Peer.objects.order_by("pk").values_list()) == list(before)
    assert builder.ids() == []


def test_a_persons_token_is_about_their_own_peers_alone(alice, laptop, phone, builders, wg0):
    rows.machine(builders, wg0)
    caller = program(alice)
    assert caller.ids() == [str(laptop.pk)]
    made = caller.enrol(name="script").json()
    assert Peer.objects.get(pk=made["id"]).owner == alice
    assert caller.ids() == [made["id"], str(laptop.pk)]
    assert caller.rename(laptop.pk, "renamed").status_code == 200
    assert caller.revoke(laptop.pk).status_code == 204
    assert told(caller.revoke(phone.pk)) == (404, "not_found", None)


NONE = "5f2f0a4c-6d1e-4b52-9e0e-1b8b5d0c6a3f"


@pytest.mark.parametrize("pk", ["x", "1", NONE[:-1], "..", "%00", NONE.upper()])
def test_an_address_that_is_none_is_not_found(builder, pk):
    assert told(builder.get(f"{PEERS}/{pk}"))[:2] == (404, "not_found")


def test_a_method_that_there_is_not_is_refused_with_those_there_are(builder, machine):
    allowed = {
        PEERS: {"GET", "POST"},
        f"{PEERS}/{machine.pk}": {"GET", "PATCH", "DELETE"},
        INTERFACES: {"GET"},
    }
    for path, methods in allowed.items():
        for method in {
            "GET",
            "POST",
            "PUT",
            "PATCH",
            "DELETE",
            "OPTIONS",
            "TRACE",
            "HEAD",
            "PROPFIND",
        } - methods:
            answer = builder.browser.generic(method, path)
            assert answer.status_code == 405, (method, path)
            assert set(answer["Allow"].replace(" ", "").split(",")) == methods
            if method != "HEAD":
                assert told(answer)[1] == "method_not_allowed"


# --- Interfaces ---


def test_the_interfaces_are_those_on_which_the_caller_may_enrol(builder, builders, alice, wg0):
    other = rows.interface("wg1", public_key=None, enrol_groups=["admins"])
    rows.interface("wg2", enrol_groups=["employees"])
    body = builder.get(INTERFACES).json()
    assert body == {
        "items": [
            {
                "name": "wg0", "public_key": wg0.public_key, "endpoint": "vpn.example.com:51820",
                "client_allowed_ips": [str(pool) for pool in wg0.pools], "dns": [], "mtu": 1420,
                "persistent_keepalive": 25,
            }
        ]
    }  # fmt: skip
    builders.interfaces.add(other)
    shown = builder.get(INTERFACES).json()["items"]
    assert [(item["name"], item["public_key"]) for item in shown] == [
        ("wg0", wg0.public_key),
        ("wg1", None),
    ]
    mine = program(alice).get(INTERFACES).json()["items"]
    assert [item["name"] for item in mine] == ["wg0", "wg2"]
