"""Peers that are put on the real interface by their first packet: who is, and who is not."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from deploy.demo.client import Client
from peers import services
from peers.gateway.on_demand.capture import Capture
from peers.models import (
    AuditEvent,
    GatewayStatus,
    Interface,
    Peer,
    RefusedHandshake,
)
from peers.states import State
from peers.wireguard import keys, wg
from peers.wireguard.handshake import Responder
from tests import rows
from tests.gateway.acting import counts, key_of, revoke, state
from tests.gateway.conftest import INSIDE, OUTSIDE, PORT
from tests.gateway.running import configuration_of
from tests.initiator import forged, initiation, tai64n
from tests.strangers import Strangers


@pytest.fixture
def running(started):
    return started("--create")


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


def take_off(running, peer):
    """Have a peer off that is entitled, and that was on before."""
    services.suspend(actor=services.Actor(user=peer.owner), peer=peer, at=timezone.now(), reason="x")
    running.eventually(lambda: key_of(peer) not in running.on())
    services.restore(actor=services.Actor(user=peer.owner), peer=peer)


def test_a_replay_puts_nobody_on_neither_after_a_taking_off_nor_at_another_gateway(
    running, enrol, namespace, stranger, second_host
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
    second = second_host()
    second.eventually(lambda: second.said("watching"))
    with Strangers(second.namespace, OUTSIDE) as strangers:
        strangers.send([packet])
        second.eventually(lambda: counts("other") == {"invalid": 1}, 8)
    assert second.on() == set()
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


def test_where_the_address_is_on_another_device_the_interface_begins_the_handshake(running, namespace, enrol):
    """What is sent again comes in by the device that has the address, and wireguard-go would answer by that one."""
    namespace.run("ip", "address", "add", "198.51.100.1/32", "dev", "lo")
    for _ in range(5):
        _, client = enrol()
        found = client.ping(INSIDE, timeout=2)
        print(f"first ping after {found.first_reply_seconds * 1000:.1f} ms")
        assert found.received


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
