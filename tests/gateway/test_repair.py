"""An interface that is not as it was left is put right; what is odd is held, put aside or refused."""

import socket
import time
from ipaddress import ip_network

from django.utils import timezone

from peers.models import AuditEvent, GatewayStatus, Interface, Peer, PeerStatus
from peers.states import State, standing
from peers.wireguard import keys, link, wg
from peers.wireguard.state import PeerSettings
from tests import rows
from tests.gateway.acting import database_away, database_back, key_of, revoke, state
from tests.gateway.conftest import INSIDE
from tests.scene import fill


def test_a_deleted_interface_is_whole_again_within_three_seconds(running, enrol, namespace):
    _, client = enrol()
    running.eventually(lambda: client.ping(INSIDE).received)
    key = running.on()
    namespace.call(link.delete, "wg0")
    seconds = running.eventually(lambda: running.on() == key, 3)
    print(f"whole after {seconds:.2f} s")
    assert running.observed().public_key == GatewayStatus.objects.get().interface.public_key


def test_an_interface_recreated_by_others_is_set_up_again(run, create, alice, wg0, namespace):
    create("wg0")
    running = run()
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: running.on() == {key_of(peer)})
    namespace.call(link.delete, "wg0")
    create("wg0")
    running.eventually(lambda: running.on() == {key_of(peer)}, 3)
    assert running.observed().public_key == wg0.public_key
    assert INSIDE in namespace.run("ip", "-4", "address", "show", "dev", "wg0").stdout


def test_what_is_missing_is_put_back_while_the_database_is_away(running, alice, wg0, database):
    key = key_of(rows.peer(alice, wg0))
    running.eventually(lambda: running.on() == {key})
    database_away(database)
    running.eventually(lambda: running.said("database_away"))
    running.namespace.run("ip", "link", "set", "wg0", "mtu", "1300")
    running.namespace.call(wg.remove, "wg0", [key])
    running.eventually(lambda: running.on() == {key}, 5)
    running.eventually(lambda: "mtu 1420" in running.namespace.run("ip", "link", "show", "wg0").stdout, 5)
    database_back(database)


def test_a_rogue_peer_is_removed_within_five_seconds_and_told_in_the_audit(running, alice, wg0):
    peer, rogue = rows.peer(alice, wg0), rows.public_key()
    running.eventually(lambda: running.on() == {key_of(peer)})
    running.namespace.call(wg.add, "wg0", {rogue: PeerSettings(frozenset({ip_network("10.77.9.9/32")}))})
    running.eventually(lambda: running.on() == {key_of(peer)}, 5)
    running.eventually(lambda: AuditEvent.objects.filter(action="drift_repaired").exists())
    assert AuditEvent.objects.get(action="drift_repaired").new == {"removed": [rogue]}


def test_allowed_ips_changed_by_hand_are_corrected_within_five_seconds_and_told(running, alice, wg0):
    one, two = rows.peer(alice, wg0), rows.peer(alice, wg0)
    running.eventually(lambda: len(running.on()) == 2)
    before = {key: peer.settings for key, peer in running.observed().peers.items()}
    running.eventually(lambda: state(two) == State.LIVE)
    stolen = before[key_of(two)].allowed_ips
    running.namespace.call(wg.add, "wg0", {key_of(one): PeerSettings(stolen)})
    running.eventually(
        lambda: {key: peer.settings for key, peer in running.observed().peers.items()} == before, 5
    )
    running.eventually(lambda: AuditEvent.objects.filter(action="drift_repaired").exists())
    told = AuditEvent.objects.get(action="drift_repaired").new
    assert set(told["corrected"]) == {key_of(one), key_of(two)}
    assert GatewayStatus.objects.get().drift_found == 2


def test_an_interface_that_cannot_be_set_up_as_wanted_still_loses_who_was_revoked(
    running, namespace, alice, wg0, database
):
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: state(peer) == State.LIVE)
    taken = namespace.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    namespace.call(taken.bind, ("", 51999))
    wg0.listen_port = 51999
    wg0.save(update_fields=["listen_port"])
    running.eventually(lambda: running.said("pass_failed"))
    database.sql("ALTER TABLE peers_peer DISABLE TRIGGER USER; UPDATE peers_peer SET suspended_at = now()")
    running.eventually(lambda: running.on() == set(), 5)
    assert GatewayStatus.objects.get().problem
    taken.close()


def test_taking_over_lets_nothing_else_through_the_brake(run, create, wg0, database, namespace):
    create("wg0")
    unknown = rows.public_key()
    namespace.call(wg.add, "wg0", {unknown: PeerSettings(frozenset())})
    running = run()
    fill(database, wg0, 40)
    running.eventually(lambda: len(running.on()) == 41)
    running.stop()
    database.sql("UPDATE peers_peer SET host = host + 100000")
    running.flags = ("--take-over",)
    running.start()
    running.eventually(lambda: unknown not in running.on())
    running.eventually(lambda: GatewayStatus.objects.get().brake_at)
    assert len(running.on()) == 40


def test_unknown_peers_at_first_contact_are_left_alone_and_listed_until_taken_over(
    run, create, namespace, alice, wg0
):
    create("wg0")
    unknown = {rows.public_key() for _ in range(20)}
    namespace.call(wg.add, "wg0", dict.fromkeys(unknown, PeerSettings(frozenset())))
    running = run()
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: running.on() == {*unknown, key_of(peer)})
    time.sleep(2.5)
    assert running.on() == {*unknown, key_of(peer)}
    assert set(GatewayStatus.objects.get().left_alone) == unknown
    assert set(AuditEvent.objects.get(action="first_contact").new["left_alone"]) == unknown
    running.stop()
    running.flags = ("--take-over",)
    running.start()
    running.eventually(lambda: running.on() == {key_of(peer)})


def test_the_brake_holds_a_collapse_until_an_operator_speaks(run, create, alice, wg0, database):
    create("wg0")
    running = run()
    fill(database, wg0, 40)
    running.eventually(lambda: len(running.on()) == 40)
    running.eventually(lambda: PeerStatus.objects.filter(present=True).count() == 40)
    held = Peer.objects.order_by("host").first()
    database.sql("ALTER TABLE peers_peerkey DISABLE TRIGGER USER; UPDATE peers_peer SET host = host + 100000")
    running.eventually(lambda: GatewayStatus.objects.get().brake_at)
    explained = rows.peer(alice, wg0)
    running.eventually(lambda: key_of(explained) in running.on())
    revoke(explained)
    running.eventually(lambda: state(explained) == State.REVOKED, 3)
    assert len(running.on()) == 40
    assert GatewayStatus.objects.get().held == 40
    assert AuditEvent.objects.filter(action="brake_engaged").count() == 1
    assert running.said("brake_engaged")
    assert state(held) == State.INVALID
    done = database.manage("release_brake", "wg0")
    assert "40" in done.stdout
    running.eventually(lambda: running.on() == set())
    running.eventually(lambda: GatewayStatus.objects.get().brake_at is None)


def test_explained_removals_are_never_held(running, database, wg0):
    fill(database, wg0, 60)
    running.eventually(lambda: len(running.on()) == 60)
    database.sql("UPDATE peers_peer SET revoked_at = now(); UPDATE peers_peerkey SET retired_at = now()")
    running.eventually(lambda: running.on() == set(), 6)
    assert GatewayStatus.objects.get().brake_at is None


def test_one_poisoned_row_is_put_aside_and_every_other_peer_applied(running, alice, wg0, database):
    bad = rows.peer(alice, wg0)
    running.eventually(lambda: running.on() == {key_of(bad)})
    database.sql(f"UPDATE peers_peer SET host = 1000000 WHERE id = '{bad.pk}'")
    good = rows.peer(alice, wg0)
    running.eventually(lambda: running.on() == {key_of(good)}, 6)
    running.eventually(lambda: state(bad) == State.INVALID)
    assert standing(bad, timezone.now()).problem == "Its host number is not one of the pool's."
    database.sql(f"UPDATE peers_peer SET host = 500 WHERE id = '{bad.pk}'")
    running.eventually(lambda: running.on() == {key_of(good), key_of(bad)}, 6)
    running.eventually(lambda: state(bad) == State.LIVE)


def test_another_private_key_than_the_published_one_stops_it_with_a_sentence(run, database, tmp_path, wg0):
    running = run("--create")
    running.stop()
    (tmp_path / "wg0.key").write_text(keys.generate_private_key())
    running.start()
    running.eventually(lambda: running.process.poll() is not None)
    assert running.process.returncode == 1
    assert "every client would fail" in running.log.read_text()
    assert Interface.objects.get().public_key == wg0.public_key


def test_a_key_file_that_others_can_read_is_refused(run, tmp_path):
    running = run("--create")
    running.stop()
    (tmp_path / "wg0.key").chmod(0o644)
    running.start()
    running.eventually(lambda: running.process.poll() is not None)
    assert "chmod 600" in running.log.read_text()
