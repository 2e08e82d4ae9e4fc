"""The gateway goes and comes back, and so do its database, its lock and its other hosts."""

import shutil
import signal
import time
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.utils import timezone

from deploy.demo.netns import Namespace
from peers.models import AuditEvent, GatewayStatus, PeerStatus
from peers.receipts import receipts
from peers.states import State, standing
from peers.wireguard import link, wg
from tests import rows
from tests.conftest import GATEWAY
from tests.gateway.acting import database_away, database_back, key_of, revoke, state
from tests.gateway.black_hole import BlackHole
from tests.gateway.conftest import INSIDE
from tests.gateway.running import Pinging, RunningGateway
from tests.scene import fill


@pytest.mark.long
def test_a_restart_with_ten_thousand_peers_loses_no_packet_and_writes_nothing(
    run, create, enrol, database, wg0
):
    create("wg0")
    running = run()
    _, client = enrol()
    fill(database, wg0, 9_999)
    running.eventually(lambda: len(running.on()) == 10_000)
    running.eventually(lambda: PeerStatus.objects.filter(present=True).count() == 10_000)
    running.eventually(lambda: client.ping(INSIDE).received)
    pinging = Pinging(client, INSIDE)
    running.stop()
    running.log.unlink()
    running.start()
    running.eventually(lambda: running.said("connected"))
    connected_at = timezone.now()
    seconds = running.eventually(lambda: GatewayStatus.objects.filter(heartbeat_at__gt=connected_at).exists())
    print(f"converged {seconds:.2f} s after connecting")
    rows.peer(rows.person("bob"), wg0)
    running.eventually(lambda: len(running.on()) == 10_001)
    lost, sent = pinging.lost()
    print(f"{lost} of {sent} lost")
    assert (lost, len(running.said("changed"))) == (0, 1), "only bob's new peer was written"
    assert sent > 20
    assert not AuditEvent.objects.filter(action="drift_repaired").exists()


def test_a_revocation_while_the_gateway_was_away_is_carried_out_with_a_receipt(run, create, alice, wg0):
    create("wg0")
    running = run()
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: state(peer) == State.LIVE)
    running.kill()
    revoke(peer)
    assert state(peer) in {State.REVOKING, State.UNKNOWN}
    running.start()
    running.eventually(lambda: state(peer) == State.REVOKED)
    assert AuditEvent.objects.filter(action="removed", peer=peer).count() == 1


def test_a_peer_that_went_before_the_receipt_was_written_gets_it_at_the_next_start(run, create, alice, wg0):
    create("wg0")
    running = run()
    peer = rows.peer(alice, wg0)
    key = key_of(peer)
    running.eventually(lambda: state(peer) == State.LIVE)
    running.kill()
    revoke(peer)
    running.namespace.call(wg.remove, "wg0", [key])
    running.start()
    running.eventually(lambda: state(peer) == State.REVOKED)
    assert AuditEvent.objects.get(action="removed", peer=peer).old == {"public_key": key}


def test_a_changed_mtu_reaches_the_interface(running, wg0):
    time.sleep(3)  # the gateway hears of its own changes to the link, and looks again: let it come to rest
    wg0.mtu = 1380
    wg0.save(update_fields=["mtu"])
    running.eventually(lambda: "mtu 1380" in running.namespace.run("ip", "link", "show", "wg0").stdout)


def test_a_deadline_without_an_interface_does_not_keep_the_processor_busy(run, create, alice, wg0, namespace):
    create("wg0")
    running = run()
    peer = rows.peer(alice, wg0, expires_at=timezone.now() + timedelta(seconds=3))
    running.eventually(lambda: state(peer) == State.LIVE)
    namespace.call(link.delete, "wg0")
    time.sleep(5)
    assert len(running.said("pass_failed")) < 10


def test_a_peer_without_any_key_stops_nobody(running, alice, wg0, database):
    bare = rows.peer(alice, wg0)
    database.sql(
        "ALTER TABLE peers_peerkey DISABLE TRIGGER USER;"
        f"DELETE FROM peers_peerkey WHERE peer_id = '{bare.pk}'; NOTIFY latchkey, 'peer:{bare.pk}'"
    )
    good = rows.peer(alice, wg0)
    running.eventually(lambda: running.on() == {key_of(good)})
    assert not running.said("step_failed")


def test_a_page_never_says_live_once_the_gateway_has_fallen_silent(running, alice, wg0):
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: state(peer) == State.LIVE)
    running.process.send_signal(signal.SIGSTOP)
    heartbeat_at = GatewayStatus.objects.get().heartbeat_at
    for seconds, expected in ((14.9, State.LIVE), (15.1, State.UNKNOWN)):
        assert standing(peer, heartbeat_at + timedelta(seconds=seconds)).state == expected
    running.process.send_signal(signal.SIGCONT)


def test_a_gateway_whose_passes_fail_stops_saying_that_it_is_well(run, create, alice, wg0, namespace):
    create("wg0")
    running = run()
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: state(peer) == State.LIVE)
    namespace.call(link.delete, "wg0")
    running.eventually(lambda: GatewayStatus.objects.get().problem)
    silent_since = GatewayStatus.objects.get().heartbeat_at
    for _ in range(30):
        time.sleep(0.2)
        running.database.sql(
            f"SELECT pg_notify('latchkey', 'peer:{peer.pk}')"
        )  # a look at one peer fails at nothing
    assert GatewayStatus.objects.get().heartbeat_at == silent_since


def test_sigterm_ends_it_between_two_steps_with_success(running):
    running.process.terminate()
    assert running.process.wait(5) == 0


def test_two_gateways_of_one_name_do_not_work_at_once(running, database, tmp_path):
    with Namespace() as elsewhere:
        second_home = tmp_path / "second"
        second_home.mkdir()
        second = RunningGateway(elsewhere, database, second_home, "--create")
        second.eventually(lambda: second.said("waiting_for_the_lock"))
        running.kill()
        second.eventually(lambda: "its private key is not in" in second.log.read_text())
        second.stop()


def test_who_has_lost_the_lock_puts_nothing_back(running, database, tmp_path, namespace, alice, wg0):
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: state(peer) == State.LIVE)
    second_home = tmp_path / "second"
    second_home.mkdir()
    shutil.copy(tmp_path / "wg0.key", second_home)
    second = RunningGateway(namespace, database, second_home)
    second.eventually(lambda: second.said("waiting_for_the_lock"))

    def taken() -> bool:
        database.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        time.sleep(0.3)
        return bool(second.said("connected"))

    second.eventually(lambda: second.said("connected") or taken())
    running.eventually(lambda: running.said("waiting_for_the_lock"))
    revoke(peer)
    running.eventually(lambda: running.on() == set())
    seen = set()
    for _ in range(30):
        time.sleep(0.1)
        seen |= running.on()
    assert seen == set()
    second.stop()


def test_two_hosts_may_serve_one_interface_and_revoked_means_off_both(running, second_host, alice, wg0):
    second = second_host()
    peer = rows.peer(alice, wg0)
    second.eventually(lambda: second.on() == running.on() == {key_of(peer)})
    second.eventually(lambda: PeerStatus.objects.filter(present=True).count() == 2)
    gone = rows.peer(alice, wg0)
    second.eventually(lambda: PeerStatus.objects.filter(present=True).count() == 4)
    revoke(gone)
    second.eventually(lambda: all(one.removed_at for one in receipts(gone)))
    assert [one.gateway for one in receipts(gone)] == ["gateway", "other"]
    assert all(one.after == "revoke" and one.milliseconds >= 0 for one in receipts(gone))
    second.kill()
    revoke(peer)
    running.eventually(lambda: running.on() == set())
    running.eventually(lambda: PeerStatus.objects.filter(present=True).count() == 1)
    assert state(peer) != State.REVOKED
    second.start()
    second.eventually(lambda: state(peer) == State.REVOKED)


def test_a_database_that_went_away_is_found_again(running, alice, wg0, database):
    database_away(database)
    running.eventually(lambda: running.said("database_away"))
    database_back(database)
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: running.on() == {key_of(peer)}, 6)


def test_a_black_holed_connection_costs_fifteen_seconds_at_most(run, alice, wg0, database, tmp_path_factory):
    hole = BlackHole(tmp_path_factory.mktemp("hole"), database.cluster.socket / ".s.PGSQL.5432")
    url = f"postgresql://{GATEWAY}@{quote(str(hole.directory), safe='')}/{database.name}"
    running = run("--create", DATABASE_URL=url)
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: running.on() == {key_of(peer)})
    hole.swallow()
    revoke(peer)
    seconds = running.eventually(lambda: running.on() == set(), 15)
    print(f"off {seconds:.1f} s after the network swallowed the connection")
    running.stop()
    hole.close()
