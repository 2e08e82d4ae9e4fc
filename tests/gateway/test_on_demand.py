"""Peers that are on the real interface only while they are used: at their first packet, and for as long as they may be."""

import socket
import time
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

import pytest
from django.utils import timezone

from deploy.demo.client import Client
from deploy.demo.netns import Namespace
from peers import services
from peers.gateway.on_demand.capture import Capture
from peers.models import (
    AuditEvent,
    GatewayStatus,
    Interface,
    Peer,
    PeerStatus,
    RefusedHandshake,
)
from peers.states import State
from peers.wireguard import keys, link, wg
from peers.wireguard.handshake import Responder
from peers.wireguard.state import PeerSettings
from tests import rows
from tests.conftest import ROOT
from tests.gateway.acting import database_away, database_back, key_of, revoke, state
from tests.gateway.conftest import INSIDE, require
from tests.gateway.running import Pinging, RunningGateway, configuration_of, last_reply
from tests.initiator import bogus, forged, initiation, tai64n
from tests.strangers import Strangers

PORT = 51820
OUTSIDE = ip_address("198.51.100.77")  # the gateway's address as a stranger sees it


@pytest.fixture
def running(started):
    return started("--create")


@pytest.fixture
def stranger(namespace):
    """Give a function that sends a packet to the interface's port from a namespace of its own."""
    with Namespace() as elsewhere:
        elsewhere.link(namespace, theirs=OUTSIDE)

        def send(packet: bytes) -> None:
            with elsewhere.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(packet, (str(OUTSIDE), PORT))

        yield send


def counts():
    names = ("admitted", "refused", "invalid", "dropped")
    row = GatewayStatus.objects.get()
    return {name: count for name in names if (count := getattr(row, f"handshakes_{name}"))}


def take_off(running, peer):
    """Have a peer off that is entitled, and that was on before."""
    services.suspend(actor=services.Actor(user=peer.owner), peer=peer, at=timezone.now(), reason="x")
    running.eventually(lambda: key_of(peer) not in running.on())
    services.restore(actor=services.Actor(user=peer.owner), peer=peer)


@pytest.mark.parametrize("endpoint", ["203.0.113.1:51820", "[2001:db8:77::1]:51820"])
def test_a_device_is_put_on_by_its_first_packet_and_its_first_ping_is_answered(
    running, enrol, on_demand, endpoint
):
    on_demand.endpoint = endpoint
    on_demand.save(update_fields=["endpoint"])
    peer, client = enrol()
    running.eventually(lambda: state(peer) == State.IDLE)
    assert running.on() == set()
    found = client.ping(INSIDE, timeout=1)
    print(f"first ping after {found.first_reply_seconds * 1000:.1f} ms")
    assert found.received == 1, "not after five seconds, when a client tries again"
    assert running.on() == {key_of(peer)}
    running.eventually(lambda: state(peer) == State.CONNECTED, 6)
    running.eventually(lambda: counts() == {"admitted": 1}, 8)
    assert "removed" not in set(AuditEvent.objects.values_list("action", flat=True))


def test_of_real_handshakes_the_key_and_the_time_are_read(running, enrol, namespace, on_demand):
    private_key = namespace.call(wg.private_key, "wg0")
    for endpoint in ("203.0.113.1:51820", "[2001:db8:77::1]:51820"):
        Interface.objects.update(endpoint=endpoint)
        on_demand.refresh_from_db()
        peer, client = enrol()
        capture = namespace.call(Capture, PORT)
        before = tai64n(time.time() - 0.02)  # WireGuard says its time in steps of 17 ms
        client.ping(INSIDE, timeout=1)
        packet = next(filter(None, capture.packets(10)))
        capture.close()
        found = Responder(private_key).read(packet.payload, {})
        assert found.public_key == key_of(peer)
        assert before < found.timestamp < tai64n()
        assert Responder(keys.generate_private_key()).read(packet.payload, {}) is None
        assert Responder(private_key).read(packet.payload, {key_of(peer): found.timestamp}) is None


def test_a_replay_puts_nobody_on_neither_after_a_taking_off_nor_at_another_gateway(
    running, enrol, namespace, stranger, database, tmp_path
):
    peer, client = enrol()
    capture = namespace.call(Capture, PORT)
    assert client.ping(INSIDE, timeout=1).received
    packet = next(filter(None, capture.packets(10))).payload
    capture.close()
    client.close()
    take_off(running, peer)
    stranger(packet)
    running.eventually(lambda: counts().get("invalid") == 1, 8)
    assert running.on() == set()
    running.stop()
    running.log.unlink()
    running.start()  # with nothing in its memory
    running.eventually(lambda: running.said("watching"))
    stranger(packet)
    running.eventually(lambda: counts().get("invalid") == 2, 8)
    assert running.on() == set()


def test_a_known_key_without_its_private_half_puts_nobody_on(running, alice, on_demand, stranger, database):
    peer = rows.peer(alice, on_demand)
    stranger(forged(key_of(peer), on_demand.public_key, tai64n()))
    running.eventually(lambda: counts() == {"invalid": 1}, 8)
    assert running.on() == set()
    assert database.sql("SELECT count(*) FROM peers_handshaketimestamp") == "0"


def test_a_real_handshake_that_anybody_sends_on_is_one(running, alice, on_demand, stranger):
    """What proves the sender is in the packet, not around it; so the tests' own initiations are as good as a client's."""
    private_key = keys.generate_private_key()
    peer = rows.peer(alice, on_demand, public_key=keys.public_key_of(private_key))
    stranger(initiation(private_key, on_demand.public_key, tai64n()))
    running.eventually(lambda: running.on() == {key_of(peer)})


def test_a_timestamp_that_is_not_later_than_the_last_is_refused_as_wireguard_does(
    running, alice, on_demand, stranger, database
):
    private_key, now = keys.generate_private_key(), time.time()
    peer = rows.peer(alice, on_demand, public_key=keys.public_key_of(private_key))
    services.suspend(actor=services.Actor(user=alice), peer=peer, at=timezone.now(), reason="x")
    stranger(initiation(private_key, on_demand.public_key, tai64n(now)))
    running.eventually(lambda: database.sql("SELECT count(*) FROM peers_handshaketimestamp") == "1")
    services.restore(actor=services.Actor(user=alice), peer=peer)
    stranger(initiation(private_key, on_demand.public_key, tai64n(now - 1)))
    running.eventually(lambda: counts().get("invalid") == 1, 8)
    assert running.on() == set()
    stranger(initiation(private_key, on_demand.public_key, tai64n(now + 1)))
    running.eventually(lambda: running.on() == {key_of(peer)})


def end_of_lease(peer):
    peer.owner.signed_in_at = timezone.now() - timedelta(days=8)
    peer.owner.save(update_fields=["signed_in_at"])


def suspended(peer):
    services.suspend(actor=services.Actor(user=peer.owner), peer=peer, at=timezone.now(), reason="x")


def deactivated(peer):
    peer.owner.is_active = False
    peer.owner.save(update_fields=["is_active"])


def expired(peer):
    Peer.objects.filter(pk=peer.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("bar", [end_of_lease, suspended, deactivated, expired, revoke])
def test_who_is_not_entitled_now_is_refused_and_counted(running, enrol, bar):
    peer, client = enrol()
    bar(peer)
    assert client.ping(INSIDE, timeout=1).received == 0
    assert running.on() == set()
    running.eventually(lambda: counts().get("refused"), 8)
    assert RefusedHandshake.objects.get().peer == peer
    assert not RefusedHandshake.objects.get().told_at


def test_who_is_entitled_again_is_let_in_at_the_next_packet(running, enrol):
    peer, client = enrol()
    end_of_lease(peer)
    assert client.ping(INSIDE, timeout=1).received == 0
    peer.owner.signed_in_at = timezone.now()
    peer.owner.save(update_fields=["signed_in_at"])
    found = client.ping(INSIDE, count=30, interval=0.25)
    assert found.received
    assert found.first_reply_seconds < 6, "five seconds after its first packet a client tries again"


def test_a_key_that_nobody_knows_is_let_in_once_it_is_enrolled(running, alice, on_demand, namespace):
    """As where a script brings the interface up first, and enrols it then."""
    private_key = keys.generate_private_key()
    at = rows.peer(alice, on_demand)
    conf = configuration_of(at, private_key)
    with Client(conf, namespace) as client:
        assert client.ping(INSIDE, timeout=1).received == 0
        services.replace_key(
            actor=services.Actor(user=alice),
            peer=at,
            public_key=keys.public_key_of(private_key),
            at=timezone.now(),
        )
        assert client.ping(INSIDE, count=30, interval=0.25).received


def test_a_revocation_takes_effect_as_it_does_on_push(running, enrol):
    peer, client = enrol()
    assert client.ping(INSIDE, timeout=1).received
    last = last_reply(client, INSIDE, lambda: revoke(peer), for_seconds=3)
    print(f"last reply {last * 1000:.0f} ms after the revocation")
    assert last <= 1
    running.eventually(lambda: state(peer) == State.REVOKED)
    assert AuditEvent.objects.filter(action="removed", peer=peer).count() == 1


def test_the_revocation_of_an_idle_device_is_read_back_soon_and_has_no_receipt(running, alice, on_demand):
    peer = rows.peer(alice, on_demand)
    running.eventually(lambda: state(peer) == State.IDLE)
    revoke(peer)
    running.eventually(lambda: state(peer) == State.REVOKED, 2)
    assert not AuditEvent.objects.filter(action="removed").exists()


def test_an_expiry_is_kept_while_the_database_is_away(running, enrol, database):
    expires_at = timezone.now() + timedelta(seconds=6)
    peer, client = enrol(expires_at=expires_at)
    assert client.ping(INSIDE, timeout=1).received
    database_away(database)
    last = last_reply(client, INSIDE, lambda: time.sleep(max(0, expires_at.timestamp() - time.time())))
    print(f"last reply {last:.3f} s after the deadline")
    assert last <= 2
    database_back(database)
    running.eventually(lambda: state(peer) == State.EXPIRED)
    assert AuditEvent.objects.filter(action="removed", peer=peer).count() == 1


def test_while_the_database_restarts_tunnels_go_on_and_new_ones_wait_for_it(running, enrol, database):
    _, client = enrol()
    _, other = enrol()
    assert client.ping(INSIDE, timeout=1).received
    pinging = Pinging(client, INSIDE)
    database_away(database)
    running.eventually(lambda: running.said("database_away"))
    assert other.ping(INSIDE, timeout=1).received == 0
    assert running.said("handshakes_refused_database_away")
    database_back(database)
    found = other.ping(INSIDE, count=40, interval=0.25)
    print(f"let in {found.first_reply_seconds:.1f} s after the database was back")
    assert found.received
    assert pinging.lost()[0] == 0


def test_a_restart_with_peers_on_loses_no_packet_and_writes_nothing(started, create, enrol):
    create("wg0")
    running = started()
    peer, client = enrol()
    assert client.ping(INSIDE, timeout=1).received
    running.eventually(lambda: PeerStatus.objects.filter(present=True).exists())
    pinging = Pinging(client, INSIDE)
    running.stop()
    running.log.unlink()
    running.start()
    running.eventually(lambda: running.said("watching"))
    time.sleep(2)
    assert running.on() == {key_of(peer)}
    lost, sent = pinging.lost()
    assert (lost, running.said("changed")) == (0, [])
    assert sent > 20
    assert not AuditEvent.objects.filter(action__in=["drift_repaired", "removed"]).exists()


def test_after_a_crash_with_the_interface_only_who_was_cut_off_meanwhile_has_a_receipt(
    running, enrol, namespace
):
    found = [enrol() for _ in range(2)]
    for _, client in found:
        running.eventually(lambda client=client: client.ping(INSIDE, timeout=1).received)
    running.eventually(lambda: PeerStatus.objects.filter(present=True).count() == 2)
    (revoked, _), (stays, _) = found
    running.stop()  # and with it the wireguard-go that it started
    if namespace.call(wg.exists, "wg0"):  # the kernel's
        namespace.call(link.delete, "wg0")
    revoke(revoked)
    running.start()
    running.eventually(lambda: state(stays) == State.IDLE)
    running.eventually(lambda: state(revoked) == State.REVOKED)
    assert AuditEvent.objects.get(action="removed").peer == revoked


def test_what_was_on_is_put_back_when_the_interface_is_made_anew(running, namespace, enrol):
    peer, client = enrol()
    assert client.ping(INSIDE, timeout=1).received
    namespace.call(link.delete, "wg0")
    running.eventually(lambda: running.on() == {key_of(peer)}, 3)
    _, other = enrol()
    running.eventually(lambda: other.ping(INSIDE, timeout=1).received, 8)


def test_a_rogue_peer_goes_and_what_was_changed_by_hand_is_corrected(running, namespace, enrol):
    peer, client = enrol()
    assert client.ping(INSIDE, timeout=1).received
    running.eventually(lambda: PeerStatus.objects.filter(present=True).exists())
    before = running.observed().peers[key_of(peer)].settings
    rogue = rows.public_key()
    namespace.call(wg.add, "wg0", {rogue: PeerSettings(frozenset()), key_of(peer): PeerSettings(frozenset())})
    running.eventually(lambda: running.on() == {key_of(peer)}, 5)
    running.eventually(lambda: running.observed().peers[key_of(peer)].settings == before, 5)
    running.eventually(lambda: AuditEvent.objects.filter(action="drift_repaired").exists())


def test_a_change_of_mode_loses_no_packet_of_who_is_connected(started, enrol, on_demand, alice):
    running = started("--create")
    _, client = enrol()
    idle = rows.peer(alice, on_demand)
    assert client.ping(INSIDE, timeout=1).received
    pinging = Pinging(client, INSIDE)
    for mode, on in (("push", 2), ("on_demand", 2), ("push", 2)):
        on_demand.mode = mode
        on_demand.save(update_fields=["mode"])
        running.eventually(lambda on=on: len(running.on()) == on)
        time.sleep(1.5)
    assert key_of(idle) in running.on()
    assert pinging.lost()[0] == 0


def test_the_address_of_a_replaced_key_works_with_the_new_one_alone(running, enrol, alice):
    peer, client = enrol()
    assert client.ping(INSIDE, timeout=1).received
    old, new = key_of(peer), rows.public_key()
    services.replace_key(actor=services.Actor(user=alice), peer=peer, public_key=new, at=timezone.now())
    running.eventually(lambda: old not in running.on())
    assert running.on() == set(), "the new one is put on when it comes"
    assert client.ping(INSIDE, timeout=1).received == 0


def test_without_the_right_to_hear_packets_the_gateway_says_so(run, on_demand):
    running = run("--create", under=("setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"))
    running.eventually(lambda: "CAP_NET_RAW" in GatewayStatus.objects.get().problem)
    assert running.said("pass_failed")


def test_two_hosts_may_serve_one_interface_on_demand(running, database, tmp_path, enrol, alice):
    peer, client = enrol()
    with Namespace() as elsewhere:
        home = tmp_path / "second"
        home.mkdir()
        (home / "wg0.key").write_text((tmp_path / "wg0.key").read_text())
        (home / "wg0.key").chmod(0o600)
        second = RunningGateway(elsewhere, database, home, "--create", LATCHKEY_GATEWAY_NAME="other")
        second.eventually(lambda: second.said("watching"))
        assert client.ping(INSIDE, timeout=1).received
        running.eventually(lambda: state(peer) == State.CONNECTED, 6)
        assert second.on() == set()
        revoke(peer)
        running.eventually(lambda: state(peer) == State.REVOKED)
        second.stop()


def test_where_the_address_is_on_another_device_the_interface_begins_the_handshake(running, namespace, enrol):
    """What is sent again comes in by the device that has the address, and wireguard-go would answer by that one."""
    namespace.run("ip", "address", "add", "198.51.100.1/32", "dev", "lo")
    for _ in range(5):
        _, client = enrol()
        found = client.ping(INSIDE, timeout=2)
        print(f"first ping after {found.first_reply_seconds * 1000:.1f} ms")
        assert found.received


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def _sent(stranger, owner, wg0):
    """Have a new device send its first packet and nothing more; return its private key."""
    private_key = keys.generate_private_key()
    rows.peer(owner, wg0, public_key=keys.public_key_of(private_key))
    stranger(initiation(private_key, str(wg0.public_key), tai64n()))
    return private_key


def test_who_is_idle_leaves_and_comes_back_and_a_tunnel_in_use_is_never_cut(
    started, create, enrol, tmp_path, stranger, alice, on_demand
):
    """The gateway's own time goes on by twenty minutes at once, that of WireGuard and of its clients does not."""
    require(FAKETIME, "needs libfaketime: Debian's package libfaketime")
    create("wg0")
    jump = tmp_path / "jump"
    jump.write_text("+0")
    running = started(
        LD_PRELOAD=str(FAKETIME), FAKETIME_TIMESTAMP_FILE=str(jump), FAKETIME_NO_CACHE="1",
        PYTHONPATH=str(ROOT / "tests/gateway/under_faketime"),
    )  # fmt: skip
    used, client = enrol()
    idle, other = enrol()
    many = [_sent(stranger, alice, on_demand) for _ in range(8)]
    assert client.ping(INSIDE, timeout=1).received
    running.eventually(lambda: other.ping(INSIDE, timeout=1).received)
    running.eventually(lambda: PeerStatus.objects.filter(present=True).count() == 2 + len(many))
    private_key, unseen = many[0], tai64n(time.time() + 600)
    pinging = Pinging(client, INSIDE)
    time.sleep(8)  # so that passes have seen all, and more than a packet may be on its way
    jump.write_text("+20m")
    running.eventually(lambda: running.on() == {key_of(used)})
    running.eventually(lambda: state(idle) == State.IDLE)
    assert (GatewayStatus.objects.get().unexplained, GatewayStatus.objects.get().brake_at) == (0, None)
    assert not AuditEvent.objects.filter(action__in=["removed", "drift_repaired"]).exists()
    stranger(initiation(private_key, on_demand.public_key, unseen))
    time.sleep(2)
    assert running.on() == {key_of(used)}, "what was sent before the taking off is behind it, seen or not"
    assert pinging.lost()[0] == 0
    stranger(initiation(private_key, on_demand.public_key, tai64n(time.time() + 1300)))
    running.eventually(lambda: keys.public_key_of(private_key) in running.on())


def test_one_source_that_floods_is_kept_from_wireguard_while_the_gateway_watches(
    running, namespace, stranger, on_demand, enrol
):
    packet = bogus(on_demand.public_key)
    for _ in range(3000):
        stranger(packet)
    running.eventually(lambda: running.said("handshake_flood"))

    def counted():
        stranger(
            packet
        )  # the limits are put there anew when a flood begins, and have forgotten what was before
        shown = namespace.run("nft", "list", "set", "inet", "latchkey_wg0", "ipv4").stdout
        return "limit rate over 20/second" in shown.partition("elements")[2]

    running.eventually(counted)
    _, client = enrol()
    assert client.ping(INSIDE, timeout=1).received, "others need not wait for it"
    running.eventually(lambda: running.said("handshake_flood_over"))
    running.stop()
    assert namespace.run("nft", "list", "ruleset").stdout == ""


@pytest.mark.parametrize("limit", ["limit rate over 20/second", "limit rate over 500/second"])
def test_the_limits_drop_what_is_beyond_them_and_not_what_is_sent_again(
    running, namespace, stranger, on_demand, limit
):
    """Counted behind them, where WireGuard is: with one limit taken out, the other is seen to work."""
    table = namespace.run("nft", "list", "table", "inet", "latchkey_wg0").stdout
    others = [line for line in table.splitlines() if "limit rate" in line and limit not in line]
    for line in others:
        table = table.replace(line, "")
    behind = (
        "table inet behind { chain input { type filter hook input priority 0; udp dport 51820 counter; }; }"
    )
    namespace.run("nft", "-f", "-", input=f"delete table inet latchkey_wg0\n{table}\n{behind}")
    packet = bogus(on_demand.public_key)
    for _ in range(1000):
        stranger(packet)
    counted = int(
        namespace.run("nft", "list", "table", "inet", "behind").stdout.split("packets ")[1].split()[0]
    )
    print(f"{counted} of 1000 came through")
    assert 90 <= counted < 900


def test_what_a_killed_gateway_left_of_its_limits_goes_when_the_interface_is_no_longer_on_demand(
    running, namespace, enrol, on_demand
):
    _, client = enrol()
    assert client.ping(INSIDE, timeout=1).received
    running.eventually(lambda: counts() == {"admitted": 1}, 8)
    running.kill()
    assert "latchkey_wg0" in namespace.run("nft", "list", "ruleset").stdout
    on_demand.mode, on_demand.listen_port = "push", 51999
    on_demand.save(update_fields=["mode", "listen_port"])
    running.start()
    running.eventually(lambda: namespace.run("nft", "list", "ruleset").stdout == "")


def test_a_row_that_was_put_aside_is_no_longer_once_it_is_repaired(running, enrol, database):
    peer, client = enrol()
    host = peer.host
    database.sql(f"UPDATE peers_peer SET host = 1000000 WHERE id = '{peer.pk}'")
    assert client.ping(INSIDE, timeout=1).received == 0
    running.eventually(lambda: state(peer) == State.INVALID)
    database.sql(f"UPDATE peers_peer SET host = {host} WHERE id = '{peer.pk}'")
    running.eventually(lambda: state(peer) == State.IDLE)
    assert running.on() == set()


def test_limits_that_others_flushed_are_put_back_when_a_flood_begins(running, namespace, stranger, on_demand):
    namespace.run("nft", "flush", "ruleset")
    packet = bogus(on_demand.public_key)
    for _ in range(3000):
        stranger(packet)
    running.eventually(lambda: "latchkey_wg0" in namespace.run("nft", "list", "ruleset").stdout)


def test_an_interface_that_cannot_be_set_up_as_wanted_lets_people_in_all_the_same(
    started, create, namespace, enrol, on_demand
):
    create("wg0")
    running = started()
    running.stop()
    running.log.unlink()
    namespace.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    running.start()
    running.eventually(lambda: running.said("pass_failed"))
    _, client = enrol()
    assert client.ping(INSIDE, count=30, interval=0.25).received


def test_where_there_is_no_nft_the_gateway_watches_all_the_same(started, namespace, tmp_path, enrol):
    namespace.run("mount", "-t", "tmpfs", "tmpfs", "/usr/sbin")
    for tool in ("ip", "wireguard-go"):
        namespace.run("ln", "-s", f"/usr/bin/{tool}", f"/usr/sbin/{tool}", check=False)
    running = started("--create")
    assert running.said("initiations_not_limited")
    _, client = enrol()
    assert client.ping(INSIDE, timeout=1).received


def test_who_cannot_be_put_on_keeps_no_deadline_waiting_and_nobody_else(
    started, namespace, tmp_path, enrol, on_demand
):
    """As where wireguard-go holds all the peers that it can: then wg(8) fails."""
    full = tmp_path / "full"
    namespace.run("mount", "-t", "tmpfs", "tmpfs", "/usr/sbin")
    shim = f'#!/bin/sh\n[ "$1" = addconf ] && [ -e {full} ] && exit 1\nexec /usr/bin/wg "$@"\n'
    namespace.run("sh", "-c", "cat > /usr/sbin/wg && chmod 755 /usr/sbin/wg", input=shim)
    running = started("--create")
    expires_at = timezone.now() + timedelta(seconds=8)
    peer, client = enrol(expires_at=expires_at)
    assert client.ping(INSIDE, timeout=1).received
    full.touch()
    private_key = keys.generate_private_key()
    rows.peer(peer.owner, on_demand, public_key=keys.public_key_of(private_key))
    with Strangers(namespace, OUTSIDE) as strangers:
        crowd = Thread(target=strangers.send, args=(_every(private_key, on_demand, 200), 0.05))
        crowd.start()
        last = last_reply(client, INSIDE, lambda: time.sleep(max(0, expires_at.timestamp() - time.time())))
        crowd.join()
    print(f"last reply {last:.3f} s after the deadline")
    assert last <= 2
    assert running.said("not_let_in")
    full.unlink()
    _, other = enrol()
    assert other.ping(INSIDE, count=30, interval=0.25).received
    assert GatewayStatus.objects.get().problem == ""


def _every(private_key, wg0, times):
    """Return an initiation for each time that is asked for, each later than the last."""
    return (
        initiation(private_key, str(wg0.public_key), tai64n(time.time() + number)) for number in range(times)
    )
