"""Peers that are on the real interface for as long as they are used and may be, whatever happens meanwhile."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from peers.models import (
    AuditEvent,
    GatewayStatus,
    PeerStatus,
)
from peers.states import State
from peers.wireguard import keys, link, wg
from peers.wireguard.state import PeerSettings
from tests import rows
from tests.conftest import ROOT
from tests.gateway.acting import database_away, database_back, key_of, revoke, state
from tests.gateway.conftest import FAKETIME, INSIDE, require
from tests.gateway.running import Pinging, last_reply
from tests.initiator import initiation, tai64n


@pytest.fixture
def running(started):
    return started("--create")


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


def test_two_hosts_may_serve_one_interface_on_demand(running, second_host, enrol):
    peer, client = enrol()
    second = second_host()
    second.eventually(lambda: second.said("watching"))
    assert client.ping(INSIDE, timeout=1).received
    running.eventually(lambda: state(peer) == State.CONNECTED, 6)
    assert second.on() == set()
    revoke(peer)
    running.eventually(lambda: state(peer) == State.REVOKED)


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


def test_a_row_that_was_put_aside_is_no_longer_once_it_is_repaired(running, enrol, database):
    peer, client = enrol()
    host = peer.host
    database.sql(f"UPDATE peers_peer SET host = 1000000 WHERE id = '{peer.pk}'")
    assert client.ping(INSIDE, timeout=1).received == 0
    running.eventually(lambda: state(peer) == State.INVALID)
    database.sql(f"UPDATE peers_peer SET host = {host} WHERE id = '{peer.pk}'")
    running.eventually(lambda: state(peer) == State.IDLE)
    assert running.on() == set()


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
