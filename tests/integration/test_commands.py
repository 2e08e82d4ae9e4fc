"""The operator's commands, as processes: what they print, what they refuse, and that they are recorded as commands."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from peers.models import AuditEvent, FreedNumber, Interface, Peer, PeerKey
from tests import rows
from tests.conftest import WEB

ENDPOINT = ("--endpoint", "vpn.example.com:51820")
POOL = ("--ipv4-pool", "10.77.0.0/16")


@pytest.fixture
def wg0(database):
    return rows.interface(ipv4_pool="10.0.0.0/24", ipv6_pool="fd00::/64")


@pytest.fixture
def alice(wg0):
    return rows.person("alice", email="alice@example.com")


def refused(*words):
    """Run a command that must be refused and return its sentence; whatever else it raises would be a traceback."""
    before = AuditEvent.objects.count()
    with pytest.raises(CommandError) as caught:
        call_command(*words)
    assert AuditEvent.objects.count() == before
    return str(caught.value)


def enrolment(*words, owner="alice", key=None, name="laptop"):
    return ("enrol_peer", owner, "--public-key", key or rows.public_key(), "--name", name, *words)


# --- As processes ---


def test_an_interface_a_peer_and_its_revocation_from_the_shell_are_recorded_as_a_commands(database):
    created = database.manage(
        "create_interface", "wg0", *ENDPOINT, *POOL, "--ipv6-pool", "fd77::/64", role=WEB
    )
    assert (created.returncode, created.stderr) == (0, "")
    assert "run_gateway wg0" in created.stdout
    Interface.objects.get(name="wg0", public_key=None, mode="push", idle_minutes=15)
    database.sql(f"UPDATE peers_interface SET public_key = '{rows.public_key()}'")
    rows.person("alice")
    enrolled = database.manage(*enrolment(), role=WEB)
    made = Peer.objects.get()
    assert (enrolled.returncode, enrolled.stdout) == (0, f"{made.pk} 10.77.0.2/32, fd77::2/128\n")
    assert database.call("revoke_peer", str(made.pk), "--reason", "lost", role=WEB) == f"{made.pk} revoked\n"
    assert database.call("release_brake", "wg0", role=WEB) == "Released: 0 removals were held.\n"
    events = AuditEvent.objects.order_by("pk").values_list(
        "action", "actor_kind", "actor", "gateway", "reason"
    )
    assert list(events) == [
        ("create_interface", "command", None, "", ""),
        ("enrol", "command", None, "", ""),
        ("revoke", "command", None, "", "lost"),
        ("release_brake", "command", None, "", ""),
    ]


def test_a_refusal_is_one_sentence_and_exit_code_1(database):
    done = database.manage(*enrolment(owner="nobody"), role=WEB)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CommandError: ")
    assert done.stderr.count("\n") == 1


# --- create_interface ---

BAD_INTERFACES = {
    "no pool": ((), "An interface has an IPv4 pool, an IPv6 pool or both."),
    "a name with a slash": (("a/b", *POOL), "A name is at most 15 letters"),
    "a name too long": (("w" * 16, *POOL), "name: Ensure this value has at most 15 characters"),
    "a name that exists": (("wg0", *POOL), "name: Interface with this Name already exists."),
    "an endpoint without a port": ((*POOL, "--endpoint", "vpn.example.com"), "endpoint: An endpoint is host:port"),
    "a pool that is no network": (("--ipv4-pool", "rubbish"), "ipv4_pool: "),
    "a pool with host bits": (("--ipv4-pool", "10.77.0.1/16"), "ipv4_pool: "),
    "a pool that is too small": (("--ipv4-pool", "10.77.0.0/31"), "ipv4_pool: A pool has at least 4 addresses."),
    "an IPv6 pool as the IPv4 one": (("--ipv4-pool", "fd77::/64"), "ipv4_pool: This is not an IPv4 network."),
    "an IPv4 pool as the IPv6 one": (("--ipv6-pool", "10.77.0.0/16"), "ipv6_pool: This is not an IPv6 network."),
    "a pool that overlaps": (("--ipv4-pool", "10.0.0.0/8"), "This pool overlaps another interface's."),
    "a listen port of 0": ((*POOL, "--listen-port", "0"), "A listen port is a number from 1 to 65535."),
    "a small MTU": ((*POOL, "--mtu", "1000"), "An MTU is a number from 1280 to 65535."),
    "a negative keepalive": ((*POOL, "--persistent-keepalive", "-1"), "persistent_keepalive: "),
    "a long keepalive": ((*POOL, "--persistent-keepalive", "65536"), "A persistent keepalive is 0 to 65535 seconds."),
    "a name for a DNS server": ((*POOL, "--dns", "dns.example.com"), "--dns: invalid"),
    "a route that is no network": ((*POOL, "--client-allowed-ips", "x"), "--client-allowed-ips: invalid"),
    "a negative lease": ((*POOL, "--lease-days", "-1"), "A lease is longer than nothing"),
    "a mode that is none": ((*POOL, "--mode", "pull"), "--mode: invalid choice: 'pull'"),
    "so soon idle that a client is left blind": (
        (*POOL, "--idle-minutes", "3"), "Idle minutes are a number from 4 to 525600, which is a year.",
    ),
    "idle for longer than a year": ((*POOL, "--idle-minutes", "525601"), "Idle minutes are a number from 4 to 525600"),
    "idle beyond all numbers": ((*POOL, "--idle-minutes", "9" * 30), "idle_minutes: "),
    "a lease that is no number": ((*POOL, "--lease-days", "nan"), "a lease is a number of days"),
    "a lease beyond all time": ((*POOL, "--lease-days", "1e300"), "a lease is a number of days"),
}  # fmt: skip


def test_an_interface_that_cannot_work_is_refused_with_a_sentence(wg0, subtests):
    for case, (words, sentence) in BAD_INTERFACES.items():
        name, rest = (words[0], words[1:]) if words and not words[0].startswith("--") else ("wg1", words)
        with subtests.test(case):
            assert sentence in refused("create_interface", name, *ENDPOINT, *rest)
    assert Interface.objects.get() == wg0


def test_an_interface_is_created_with_everything_that_was_said(database, capsys):
    call_command(
        "create_interface", "wg1", *ENDPOINT, *POOL, "--listen-port", "4500", "--dns", "10.77.0.1", "--dns", "fd77::1",
        "--client-allowed-ips", "10.0.0.0/8", "--mtu", "1380", "--persistent-keepalive", "0", "--preshared-keys",
        "--device-limit", "3", "--enrol-group", "staff", "--lease-days", "0",
        "--mode", "on_demand", "--idle-minutes", "4",
    )  # fmt: skip
    made = Interface.objects.get()
    assert (made.listen_port, made.mtu, made.persistent_keepalive, made.device_limit) == (4500, 1380, 0, 3)
    assert [str(address) for address in made.dns] == ["10.77.0.1", "fd77::1"]
    assert [str(network) for network in made.client_allowed_ips] == ["10.0.0.0/8"]
    assert (made.mode, made.idle_minutes) == ("on_demand", 4)
    assert (made.use_preshared_keys, made.enrol_groups, made.lease) == (True, ["staff"], None)
    assert AuditEvent.objects.get().new["dns"] == "10.77.0.1, fd77::1"


# --- change_interface ---


def test_an_interface_is_put_on_demand_and_back_and_both_are_recorded(wg0, database):
    Interface.objects.update(mtu=1380)
    said = database.call("change_interface", "wg0", "--mode", "on_demand", "--idle-minutes", "30", role=WEB)
    assert said == "wg0 is in mode on_demand, idle minutes 30.\n"
    assert (
        database.call("change_interface", "wg0", "--mode", "push")
        == "wg0 is in mode push, idle minutes 30.\n"
    )
    assert Interface.objects.get().mtu == 1380
    events = AuditEvent.objects.order_by("pk").values_list("action", "actor_kind", "old", "new")
    assert list(events) == [
        (
            "change_interface", "command", {"mode": "push", "idle_minutes": "15"},
            {"mode": "on_demand", "idle_minutes": "30"},
        ),
        ("change_interface", "command", {"mode": "on_demand"}, {"mode": "push"}),
    ]  # fmt: skip


def test_an_interface_that_is_as_it_should_be_is_not_recorded_as_changed(wg0, database):
    assert (
        database.call("change_interface", "wg0", "--mode", "push")
        == "wg0 is in mode push, idle minutes 15.\n"
    )
    assert not AuditEvent.objects.exists()


def test_a_change_that_cannot_be_is_refused_with_a_sentence(wg0):
    assert refused("change_interface", "wg9", "--mode", "push") == "there is no interface wg9"
    assert "invalid choice: 'pull'" in refused("change_interface", "wg0", "--mode", "pull")
    assert "from 4 to 525600" in refused("change_interface", "wg0", "--idle-minutes", "3")
    assert Interface.objects.get() == wg0


# --- enrol_peer ---


def test_a_peer_is_enrolled_for_a_person_known_by_subject_or_e_mail(wg0, alice, capsys):
    call_command(*enrolment("--platform", "linux"))
    call_command(*enrolment("--ttl", "3600", owner="ALICE@example.com"))
    first, second = Peer.objects.order_by("enrolled_at")
    assert (first.owner, first.platform, first.expires_at) == (alice, "linux", None)
    assert second.expires_at - second.enrolled_at == timedelta(hours=1)
    assert capsys.readouterr().out.splitlines()[0] == f"{first.pk} 10.0.0.2/32, fd00::2/128"


def test_enrolling_the_same_key_again_prints_the_same_peer(wg0, alice, capsys):
    key = rows.public_key()
    call_command(*enrolment(key=key))
    call_command(*enrolment(key=key))
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


def test_an_enrolment_that_cannot_be_is_refused_with_a_sentence(wg0, alice, subtests):
    rows.person("eve", email="alice2@example.com")
    rows.person("mallory", email="alice2@example.com")
    rows.person("former", is_active=False)
    rows.interface("wg1", public_key=None)
    taken = rows.peer(rows.person("bob"), wg0).key.public_key
    revoked = rows.peer(alice, wg0).key.public_key
    call_command("revoke_peer", revoked)
    cases = {
        "no such person": (enrolment(owner="nobody"), "no such person"),
        "two such persons": (enrolment(owner="alice2@example.com"), "more than one person"),
        "no such interface": (enrolment("--interface", "wg9"), "there is no interface wg9"),
        "no key yet": (enrolment("--interface", "wg1"), "not ready yet"),
        "no key at all": (enrolment(key="rubbish"), "A public key is 44 characters long"),
        "a whole configuration": (enrolment(key="[Interface]\nPrivateKey = x"), "Give only the public key"),
        "a key in use": (enrolment(key=taken), "already in use"),
        "a revoked key": (enrolment(key=revoked), "revoked or replaced"),
        "an interface's key": (enrolment(key=wg0.public_key), "already in use"),
        "a name that cannot be": (enrolment(name="a\nb"), "A name is made of letters"),
        "no name": (enrolment(name=" "), "Give the device a name."),
        "a former employee": (enrolment(owner="former"), "may not enrol"),
        "no time at all": (enrolment("--ttl", "0"), "from 60 to"),
        "less than no time": (enrolment("--ttl", "-5"), "from 60 to"),
        "beyond all time": (enrolment("--ttl", "9" * 30), "from 60 to"),
        "time that is no number": (enrolment("--ttl", "soon"), "invalid"),
    }
    for case, (words, sentence) in cases.items():
        with subtests.test(case):
            said = refused(*words)
            assert sentence in said
            assert words[3] not in said
    Interface.objects.update(device_limit=0)
    assert "0 devices are the most" in refused(*enrolment())
    Interface.objects.update(device_limit=10, next_host=255)
    FreedNumber.objects.all().delete()
    assert "no free address" in refused(*enrolment(owner="eve"))


# --- revoke_peer and release_brake ---


def test_a_peer_is_revoked_by_its_id_its_key_or_a_key_that_it_had(wg0, alice, subtests):
    for case, name_of in {
        "id": lambda peer: str(peer.pk),
        "key": lambda peer: peer.key.public_key,
        "a key retired since": retired_key,
    }.items():
        with subtests.test(case):
            peer = rows.peer(alice, wg0)
            call_command("revoke_peer", name_of(peer), "--reason", "x" * 300)
            peer.refresh_from_db()
            assert peer.revoked_at is not None
            assert peer.revoke_reason == "x" * 200


def retired_key(peer):
    old = peer.key.public_key
    PeerKey.objects.filter(public_key=old).update(retired_at=timezone.now())
    PeerKey.objects.create(peer=peer, public_key=rows.public_key(), enrolled_at=timezone.now())
    return old


def test_revoking_twice_is_no_error_and_no_second_record(wg0, alice):
    peer = rows.peer(alice, wg0)
    call_command("revoke_peer", str(peer.pk))
    call_command("revoke_peer", str(peer.pk))
    assert AuditEvent.objects.filter(action="revoke").count() == 1


def test_what_is_no_device_cannot_be_revoked(database, subtests):
    for text in (str(uuid4()), rows.public_key(), "laptop", "", "%"):
        with subtests.test(text):
            assert refused("revoke_peer", text) == "there is no such device"


def test_releasing_the_brake_says_how_many_removals_were_held(wg0, database, capsys):
    database.sql(
        "INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at, drift_found,"
        f" left_alone, unexplained, held, problem) VALUES ('gw', {wg0.pk}, '1', true, now(), now(), 0, '{{}}', 9, 7, '')"
    )
    call_command("release_brake", "wg0")
    assert capsys.readouterr().out == "Released: 7 removals were held.\n"
    wg0.refresh_from_db()
    assert abs(wg0.brake_released_at - timezone.now()) < timedelta(minutes=1)
    assert refused("release_brake", "wg9") == "there is no interface wg9"
