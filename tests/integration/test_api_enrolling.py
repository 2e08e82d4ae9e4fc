"""`POST /api/v1/peers`: what a program is answered, and every refusal with its status, its code and its field."""

import re
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from peers.forms import peer_name
from peers.models import ApiToken, Interface, Peer, ServiceAccount
from peers.services import enrolment
from portal.models import User
from tests import rows
from tests.integration.programs import Program, told

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def program(holder, *scopes, **fields):
    return Program(rows.token(holder, *scopes, **fields)[1])


# --- What is answered ---


def test_a_key_is_given_a_place_and_all_that_its_configuration_needs(builder, builders, wg0):
    key = rows.public_key()
    answer = builder.enrol(key, name="build-7", interface="wg0", ttl=600)
    peer = Peer.objects.get()
    body = answer.json()
    assert answer.status_code == 201
    assert [body.pop(moment) for moment in ("enrolled_at", "expires_at")] == [
        moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for moment in (peer.enrolled_at, peer.expires_at)
    ]
    assert body == {
        "id": str(peer.pk),
        "name": "build-7",
        "public_key": key,
        "interface": "wg0",
        "addresses": [str(address) for address in peer.addresses],
        "state": "unknown",
        "server_public_key": wg0.public_key,
        "server_endpoint": "vpn.example.com:51820",
        "client_allowed_ips": [str(pool) for pool in wg0.pools],
        "dns": [],
        "mtu": 1420,
        "persistent_keepalive": 25,
    }
    assert [address.rpartition("/")[2] for address in body["addresses"]] == ["32", "128"]
    assert (peer.owner, peer.service_account, peer.token) == (None, builders, ApiToken.objects.get())
    assert peer.expires_at - peer.enrolled_at == timedelta(seconds=600)


def test_times_are_rfc_3339_in_utc(builder):
    body = builder.enrol(ttl=60).json()
    for moment in (body["enrolled_at"], body["expires_at"]):
        assert MOMENT.fullmatch(moment)
        assert abs(datetime.fromisoformat(moment) - timezone.now()) < timedelta(minutes=2)


def test_lists_are_lists_and_an_ipv6_endpoint_stands_in_brackets(builder):
    Interface.objects.update(
        dns=["10.0.0.53", "fd00::53"],
        client_allowed_ips=["0.0.0.0/0", "::/0"],
        endpoint="[2001:db8::1]:51820",
    )
    body = builder.enrol().json()
    assert body["dns"] == ["10.0.0.53", "fd00::53"]
    assert body["client_allowed_ips"] == ["0.0.0.0/0", "::/0"]
    assert body["server_endpoint"] == "[2001:db8::1]:51820"


def test_a_preshared_key_is_in_the_answers_of_enrolling_and_in_no_other(builder):
    Interface.objects.update(use_preshared_keys=True)
    key = rows.public_key()
    made, again = builder.enrol(key).json(), builder.enrol(key).json()
    assert made["preshared_key"] == again["preshared_key"] == Peer.objects.get().preshared_key
    pk = made["id"]
    others = [
        builder.get(),
        builder.get(f"/api/v1/peers/{pk}"),
        builder.renew(pk, ttl=60),
        builder.rename(pk, "x"),
    ]
    assert [answer.status_code for answer in others] == [200] * 4
    assert not any(b"preshared" in answer.content for answer in others)


def test_where_the_interface_has_none_there_is_no_preshared_key_in_the_answer(builder):
    assert "preshared_key" not in builder.enrol().json()


@pytest.mark.parametrize(
    ("mode", "heard", "state"),
    [("push", True, "pending"), ("on_demand", True, "idle"), ("push", False, "unknown")],
)
def test_the_first_state_is_what_can_be_known_at_once(builder, gateway, mode, heard, state):
    Interface.objects.update(mode=mode)
    gateway(age="0 s" if heard else "20 s")
    assert builder.enrol().json()["state"] == state


def test_a_machine_without_a_name_gets_one_that_is_the_same_each_time(builder, builders):
    key = rows.public_key()
    names = [builder.enrol(key).json()["name"] for _ in range(2)]
    assert names[0] == names[1] != builder.enrol().json()["name"]
    assert names[0].startswith("builders ")


def test_a_name_that_is_made_is_never_too_long(wg0):
    answer = program(rows.account(wg0, name="x" * 64)).enrol()
    assert (answer.status_code, len(answer.json()["name"])) == (201, 64)


@pytest.mark.parametrize(
    ("holder", "made"), [("Müller, Anna", "Müller Anna"), ("Bob@Example.Com", "BobExample.Com"), ("✂", "")]
)
def test_a_name_that_is_made_is_one_that_could_be_given(wg0, holder, made):
    program = Program(rows.token(rows.person(holder))[1])
    name = program.enrol().json()["name"]
    assert name[:-8].strip() == made
    assert peer_name(name) == name


def test_a_name_is_trimmed_and_composed(builder):
    assert builder.enrol(name="  Bu\u0308ro 1 ").json()["name"] == "B\u00fcro 1"


def test_what_is_null_is_left_out(builder):
    body = builder.enrol(name=None, interface=None, ttl=None)
    assert body.status_code == 201


# --- The same key again ---


def test_the_same_key_is_answered_with_the_same_peer_however_often(builder):
    key = rows.public_key()
    made = builder.enrol(key, ttl=600)
    again = [builder.enrol(key, ttl=60, name="other") for _ in range(3)]
    assert [answer.status_code for answer in (made, *again)] == [201, 200, 200, 200]
    assert all(answer.json() == made.json() for answer in again)
    assert Peer.objects.count() == 1


def test_a_machine_that_comes_back_after_its_end_has_its_address_again(builder):
    key = rows.public_key()
    made = builder.enrol(key, ttl=60).json()
    Peer.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    back = builder.enrol(key, ttl=60)
    assert back.status_code == 200
    assert (back.json()["id"], back.json()["addresses"]) == (made["id"], made["addresses"])
    assert datetime.fromisoformat(back.json()["expires_at"]) > timezone.now()


def test_anothers_key_is_in_use(builder, laptop, wg0):
    keys = {
        "a person's": laptop.key.public_key,
        "another account's": rows.machine(rows.account(wg0), wg0).key.public_key,
        "an interface's": wg0.public_key,
    }
    for key in keys.values():
        assert told(builder.enrol(key)) == (409, "key_in_use", "public_key")


def test_ones_own_key_on_another_interface_is_in_use(builder, builders):
    builders.interfaces.add(rows.interface("wg1"))
    key = rows.public_key()
    assert builder.enrol(key, interface="wg1").status_code == 201
    assert told(builder.enrol(key, interface="wg0")) == (409, "key_in_use", "public_key")


def test_a_revoked_key_never_comes_back_for_anyone(builder, wg0, alice):
    key = rows.public_key()
    pk = builder.enrol(key).json()["id"]
    assert builder.revoke(pk).status_code == 204
    for other in (builder, program(rows.account(wg0)), program(alice)):
        assert told(other.enrol(key)) == (409, "key_revoked", "public_key")


# --- On which interface ---


def test_the_interface_left_out_is_the_only_one_else_the_default(builder, builders, settings):
    assert builder.enrol().json()["interface"] == "wg0"
    builders.interfaces.set([rows.interface("wg1")])
    assert builder.enrol().json()["interface"] == "wg1"
    builders.interfaces.add(rows.interface("wg2"))
    assert told(builder.enrol()) == (400, "interface_missing", "interface")
    settings.LATCHKEY_DEFAULT_INTERFACE = "wg2"
    assert builder.enrol().json()["interface"] == "wg2"


def test_a_machine_comes_back_to_its_interface_when_its_account_has_got_another(
    builder, builders, wg0, settings
):
    key = rows.public_key()
    assert builder.enrol(key).status_code == 201
    builders.interfaces.add(rows.interface("wg1"))
    for default in ("", "wg1"):
        settings.LATCHKEY_DEFAULT_INTERFACE = default
        Peer.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        answer = builder.enrol(key)
        assert (answer.status_code, answer.json()["interface"]) == (200, "wg0")


def test_an_account_without_an_interface_is_told_so(builder, builders):
    builders.interfaces.clear()
    assert told(builder.enrol()) == (400, "interface_missing", "interface")


@pytest.mark.parametrize("name", ["wg9", "", "WG0", "wg0\n"])
def test_an_interface_that_is_none_is_not_found(builder, name):
    assert told(builder.enrol(interface=name)) == (404, "interface_unknown", "interface")


def test_an_interface_that_the_caller_may_not_use_is_forbidden(builder, alice):
    rows.interface("wg1", enrol_groups=["admins"])
    for caller in (builder, program(alice)):
        assert told(caller.enrol(interface="wg1")) == (403, "interface_not_allowed", "interface")


def test_an_interface_whose_gateway_never_started_is_not_ready(builder, builders):
    builders.interfaces.add(rows.interface("wg1", public_key=None))
    answer = builder.enrol(interface="wg1")
    assert told(answer) == (503, "interface_not_ready", None)


# --- For how long ---


def ttl_of(answer):
    body = answer.json()
    if body["expires_at"] is None:
        return None
    return round(
        (
            datetime.fromisoformat(body["expires_at"]) - datetime.fromisoformat(body["enrolled_at"])
        ).total_seconds()
    )


def test_without_a_ttl_it_is_what_the_account_says(builder, builders):
    assert ttl_of(builder.enrol()) == 3600
    ServiceAccount.objects.update(default_ttl=timedelta(minutes=5))
    assert ttl_of(builder.enrol()) == 300
    ServiceAccount.objects.update(default_ttl=None, max_ttl=None)
    assert ttl_of(builder.enrol()) is None


def test_a_ttl_is_never_cut_and_one_beyond_the_longest_is_refused(builder):
    assert ttl_of(builder.enrol(ttl=86400)) == 86400
    assert told(builder.enrol(ttl=86401)) == (400, "ttl_too_long", "ttl")
    ServiceAccount.objects.update(default_ttl=None, max_ttl=None)
    assert ttl_of(builder.enrol(ttl=315_360_000)) == 315_360_000
    assert told(builder.enrol(ttl=315_360_001)) == (400, "invalid", "ttl")


@pytest.mark.parametrize("ttl", [59, 0, -60, 60.5, "60", True, [60], 10**400])
def test_a_ttl_is_whole_seconds_from_a_minute_on(builder, ttl):
    assert told(builder.enrol(ttl=ttl)) == (400, "invalid", "ttl")
    assert not Peer.objects.exists()


def test_a_whole_number_may_be_written_with_a_point(builder):
    assert ttl_of(builder.send(f'{{"public_key": "{rows.public_key()}", "ttl": 60.0}}')) == 60
    assert told(builder.send('{"public_key": "x", "ttl": 1e400}'))[0] == 400


def test_a_persons_device_ends_only_if_that_is_asked_for(alice):
    caller = program(alice)
    assert [ttl_of(caller.enrol()), ttl_of(caller.enrol(ttl=86400 * 30))] == [None, 86400 * 30]


# --- How many ---


def test_an_account_has_as_many_machines_as_it_may_on_all_interfaces_together(builder, builders):
    builders.interfaces.add(rows.interface("wg1"))
    ServiceAccount.objects.update(device_limit=2)
    first = builder.enrol(interface="wg0").json()
    builder.enrol(interface="wg1")
    assert told(builder.enrol(interface="wg0")) == (409, "peer_limit", None)
    builder.revoke(first["id"])
    assert builder.enrol(interface="wg0").status_code == 201
    Peer.objects.filter(revoked_at=None).update(expires_at=timezone.now())
    assert builder.enrol(interface="wg1").status_code == 201


def test_a_person_has_as_many_devices_as_the_interface_allows(alice, laptop):
    Interface.objects.update(device_limit=2)
    assert [told_or_made(program(alice).enrol()) for _ in range(2)] == [201, (409, "peer_limit", None)]


def told_or_made(answer):
    return told(answer) if answer.status_code >= 400 else answer.status_code


def test_without_a_free_address_the_caller_is_told_to_come_again(builder, database, wg0):
    database.sql(f"UPDATE peers_interface SET next_host = {wg0.last_host + 1}")
    answer = builder.enrol()
    assert told(answer) == (409, "pool_exhausted", None)
    assert int(answer["Retry-After"]) == 60


def test_a_token_enrols_as_many_as_it_may_and_goes_on_being_good_for_the_rest(builders):
    caller = program(builders, use_limit=2)
    key = rows.public_key()
    made = [caller.enrol(key), caller.enrol()]
    assert [answer.status_code for answer in made] == [201, 201]
    assert told(caller.enrol()) == (403, "use_limit", None)
    pk = made[0].json()["id"]
    assert caller.enrol(key).status_code == 200
    assert caller.renew(pk, ttl=60).status_code == 200
    assert caller.revoke(pk).status_code == 204


# --- Who may not ---


def test_a_used_up_token_brings_back_the_machine_that_it_enrolled_and_no_other(builders, wg0):
    program, key = Program(rows.token(builders, use_limit=1)[1]), rows.public_key()
    assert program.enrol(key).status_code == 201
    other = rows.machine(builders, wg0).key.public_key
    Peer.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert program.enrol(key).status_code == 200
    assert told(program.enrol(other)) == (403, "use_limit", None)


def test_a_machine_whose_row_is_pruned_meanwhile_has_a_key_that_is_over(builder, database, monkeypatch):
    key, again = rows.public_key(), enrolment._again
    builder.enrol(key)

    def late(*args):
        database.sql(
            "INSERT INTO peers_barredkey SELECT sha256(convert_to(public_key, 'UTF8')) FROM peers_peerkey;"
            "DELETE FROM peers_peerkey; DELETE FROM peers_peer"
        )
        return again(*args)

    monkeypatch.setattr(enrolment, "_again", late)
    assert told(builder.enrol(key)) == (409, "key_revoked", "public_key")


def test_a_person_who_may_not_enrol_is_forbidden_and_leaves_nothing(wg0):
    visitor = rows.person(groups_claim=["visitors"])
    Interface.objects.update(enrol_groups=["employees"])
    assert told(program(visitor).enrol(interface="wg0")) == (403, "interface_not_allowed", "interface")
    assert not Peer.objects.exists()


def test_a_person_whose_sign_in_is_over_on_this_interface_alone_is_not_entitled(alice, wg0):
    rows.interface("wg1", lease=timedelta(days=30))
    caller = program(alice)
    User.objects.update(signed_in_at=timezone.now() - timedelta(days=8))
    assert told(caller.enrol(interface="wg0")) == (403, "not_entitled", None)
    assert caller.enrol(interface="wg1").status_code == 201


def test_a_suspended_peer_is_not_answered_for(builder):
    key = rows.public_key()
    builder.enrol(key)
    Peer.objects.update(suspended_at=timezone.now())
    assert told(builder.enrol(key)) == (403, "not_entitled", None)
