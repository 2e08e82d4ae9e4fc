"""The gateway's process between a real database and a real interface: rows on one side, wg(8) on the other."""

import re
import shutil
import signal
import socket
import sys
import time
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone

from deploy.demo.client import Client
from deploy.demo.netns import Namespace
from peers import services
from peers.models import AuditEvent, GatewayStatus, Interface, Peer, PeerStatus, TrafficSample
from peers.receipts import DUE, receipts
from peers.states import State, standing
from peers.wireguard import keys, link, wg
from peers.wireguard.state import PeerSettings
from portal.models import User
from tests import rows
from tests.conftest import GATEWAY, ROOT
from tests.gateway.black_hole import BlackHole
from tests.gateway.conftest import require
from tests.gateway.running import Pinging, RunningGateway, last_reply
from tests.integration.conftest import use_providers
from tests.integration.provider_double import Double
from tests.scene import fill

INSIDE = "10.77.0.1"


def key_of(peer: Peer) -> str:
    return peer.keys.get(retired_at=None).public_key


def revoke(peer: Peer) -> None:
    services.revoke(actor=services.Actor(user=peer.owner), peer=peer, at=timezone.now())


def state(peer: Peer) -> State:
    return standing(peer, timezone.now()).state


# --- A single change ---


def test_an_enrolled_peer_comes_on_and_a_revoked_one_goes_with_a_receipt(running, alice, wg0):
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: state(peer) == State.LIVE)
    assert running.observed().peers[key_of(peer)].settings == PeerSettings(
        frozenset({ip_network("10.77.0.2/32"), ip_network("fd00:77::2/128")})
    )
    key = key_of(peer)
    revoke(peer)
    running.eventually(lambda: state(peer) == State.REVOKED)
    assert running.on() == set()
    receipt = AuditEvent.objects.get(action="removed")
    assert (receipt.peer, receipt.actor_kind, receipt.gateway, receipt.old) == (
        peer,
        "gateway",
        "gateway",
        {"public_key": key},
    )
    assert standing(peer, timezone.now()).removed_at is not None


def test_a_receipt_holds_the_moment_at_which_the_interface_was_read_back(running, alice, wg0):
    """The clocks are this machine's, PostgreSQL's too, so that the moments can be compared."""
    for _ in range(3):
        peer = rows.peer(alice, wg0)
        running.eventually(lambda peer=peer: state(peer) == State.LIVE)
        last_on_at = looked_at = begun_at = timezone.now()
        revoke(peer)
        while running.on():
            last_on_at, looked_at = looked_at, timezone.now()
        running.eventually(lambda peer=peer: receipts(peer)[0].removed_at)
        confirmed_at = timezone.now()
        (found,) = receipts(peer)
        print(f"+{found.milliseconds} ms")
        assert (found.gateway, found.after) == ("gateway", "revoke")
        assert begun_at <= found.at <= found.removed_at
        assert last_on_at <= found.removed_at <= confirmed_at
        assert found.milliseconds == round((found.removed_at - found.at).total_seconds() * 1000) >= 0
        assert found.removed_at == peer.statuses.get().since


def test_a_replaced_key_takes_the_place_of_the_old_one_at_the_same_address(running, alice, wg0):
    peer = rows.peer(alice, wg0)
    old, new = key_of(peer), rows.public_key()
    running.eventually(lambda: running.on() == {old})
    services.replace_key(actor=services.Actor(user=alice), peer=peer, public_key=new, at=timezone.now())
    running.eventually(lambda: running.on() == {new})
    running.eventually(lambda: state(peer) == State.LIVE)
    assert ip_network("10.77.0.2/32") in running.observed().peers[new].settings.allowed_ips


def test_deactivating_a_person_cuts_every_peer_and_activating_brings_them_back(running, alice, wg0):
    found = {key_of(rows.peer(alice, wg0)) for _ in range(3)}
    running.eventually(lambda: running.on() == found)
    alice.is_active = False
    alice.save(update_fields=["is_active"])
    running.eventually(lambda: running.on() == set())
    alice.is_active = True
    alice.save(update_fields=["is_active"])
    running.eventually(lambda: running.on() == found)


def test_preshared_keys_reach_the_interface_and_are_cleared_again(running, alice, wg0, database):
    wg0.use_preshared_keys = True
    wg0.save(update_fields=["use_preshared_keys"])
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: running.on() == {key_of(peer)})
    assert running.observed().peers[key_of(peer)].settings.preshared_key == peer.preshared_key
    database.sql("UPDATE peers_peer SET preshared_key = ''")
    running.eventually(
        lambda: running.observed().peers[key_of(peer)].settings.preshared_key == keys.ZERO_KEY, 6
    )


def test_a_handshake_is_seen_and_the_device_is_connected(running, enrol):
    peer, client = enrol()
    assert state(peer) in {State.PENDING, State.LIVE}
    running.eventually(lambda: client.ping(INSIDE).received)
    seconds = running.eventually(lambda: state(peer) == State.CONNECTED, 5)
    print(f"connected on the page {seconds:.2f} s after the first reply")
    found = standing(peer, timezone.now())
    assert found.latest_handshake and found.endpoint.startswith("198.")


def shake_hands_again(running: RunningGateway, peer: Peer, client: Client) -> None:
    """Have the client forget its session, and wait until the handshake after that was written down."""
    before = peer.statuses.get().latest_handshake
    tunnel = client.namespace.run("wg", "showconf", "wg0").stdout
    client.namespace.run("wg", "setconf", "wg0", "/dev/stdin", input=tunnel)
    running.eventually(lambda: client.ping(INSIDE) and peer.statuses.get().latest_handshake > before)


def test_a_device_is_connected_since_its_first_handshake_also_over_later_ones_and_a_restart(
    run, create, enrol
):
    create("wg0")
    running = run()
    peer, client = enrol()
    running.eventually(lambda: client.ping(INSIDE).received)
    running.eventually(lambda: state(peer) == State.CONNECTED, 5)
    first = peer.statuses.get().latest_handshake
    assert standing(peer, timezone.now()).connected_since == first
    shake_hands_again(running, peer, client)
    running.stop()
    running.start()
    shake_hands_again(running, peer, client)
    assert standing(peer, timezone.now()).connected_since == first


def test_what_went_through_is_sampled_for_the_quarter_that_begins_with_a_start(
    run, create, enrol, alice, wg0
):
    create("wg0")
    running = run()
    peer, client = enrol()
    never_connected = rows.peer(alice, wg0)
    running.eventually(lambda: client.ping(INSIDE).received)
    running.eventually(lambda: state(peer) == State.CONNECTED, 5)
    running.stop()
    running.start()  # as a new quarter does, which nobody waits for here
    running.eventually(TrafficSample.objects.exists)
    sample = TrafficSample.objects.first()
    assert (sample.peer, sample.gateway.gateway) == (peer, "gateway")
    assert sample.rx_bytes > 0
    assert (sample.at.minute % 15, sample.at.second, sample.at.microsecond) == (0, 0, 0)
    assert not TrafficSample.objects.filter(peer=never_connected).exists()


def test_while_passes_fail_nothing_is_sampled_of_what_was_read_back_before(
    run, create, enrol, namespace, database
):
    create("wg0")
    running = run()
    peer, client = enrol()
    running.eventually(lambda: client.ping(INSIDE).received)
    running.eventually(lambda: state(peer) == State.CONNECTED, 5)
    running.stop()
    namespace.call(link.delete, "wg0")
    running.start()
    running.eventually(lambda: running.said("pass_failed"))
    for _ in range(10):
        time.sleep(0.2)
        database.sql(f"SELECT pg_notify('latchkey', 'peer:{uuid4()}')")  # a look at one peer fails at nothing
    assert peer.statuses.get().present
    assert not TrafficSample.objects.exists()


def test_the_tunnel_carries_ipv6_too(running, enrol):
    _, client = enrol()
    running.eventually(lambda: client.ping("fd00:77::1").received)


def test_a_lost_notification_costs_five_seconds_at_most(running, alice, wg0, database):
    fill(database, wg0, 1)  # straight into the tables: nobody notifies
    running.eventually(lambda: len(running.on()) == 1, 5)
    database.sql("ALTER TABLE peers_peer DISABLE TRIGGER USER; UPDATE peers_peer SET suspended_at = now()")
    running.eventually(lambda: running.on() == set(), 5)


def test_a_notification_that_makes_no_sense_is_ignored(running, alice, wg0, database):
    for payload in ("peer:../../etc", "owner:1e9", "owner:99999999999999999999", "x", "", "peer:"):
        database.sql(f"SELECT pg_notify('latchkey', '{payload}')")
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: running.on() == {key_of(peer)}, 2)
    assert not running.said("step_failed")


# --- Other people's sessions ---


def test_enrol_revoke_and_an_address_swap_lose_nothing_of_another_peers_ping(
    running, enrol, alice, wg0, database
):
    _, client = enrol()
    running.eventually(lambda: client.ping(INSIDE).received)
    pinging = Pinging(client, INSIDE)
    for _ in range(5):
        peer = rows.peer(alice, wg0)
        running.eventually(lambda peer=peer: state(peer) == State.LIVE)
        revoke(peer)
        running.eventually(lambda peer=peer: state(peer) == State.REVOKED)
    one, two = rows.peer(alice, wg0), rows.peer(alice, wg0)
    running.eventually(lambda: {key_of(one), key_of(two)} <= running.on())
    database.sql(
        f"BEGIN; UPDATE peers_peer SET host = NULL WHERE id = '{one.pk}';"
        f"UPDATE peers_peer SET host = {one.host} WHERE id = '{two.pk}';"
        f"UPDATE peers_peer SET host = {two.host} WHERE id = '{one.pk}'; COMMIT"
    )
    swapped = ip_network(f"10.77.0.{one.host}/32")
    running.eventually(lambda: swapped in running.observed().peers[key_of(two)].settings.allowed_ips, 6)
    lost, sent = pinging.lost()
    print(f"{lost} of {sent} lost")
    assert sent > 20
    assert lost == 0


# --- Deadlines ---


def database_away(database) -> None:
    database.cluster.sql(
        f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false;"
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
    )

    connection.close()  # the test's own was ended too


def database_back(database) -> None:
    database.cluster.sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")


def test_a_peer_leaves_within_two_seconds_of_its_expiry(running, enrol):
    expires_at = timezone.now() + timedelta(seconds=5)
    peer, client = enrol(expires_at=expires_at)
    running.eventually(lambda: client.ping(INSIDE).received)
    last = last_reply(client, INSIDE, lambda: time.sleep(max(0, expires_at.timestamp() - time.time())))
    print(f"last reply {last:.3f} s after the deadline")
    assert last <= 2
    running.eventually(lambda: state(peer) == State.EXPIRED)
    assert AuditEvent.objects.filter(action="removed", peer=peer).count() == 1
    (found,) = receipts(peer)
    print(f"by its receipt {found.milliseconds} ms after the deadline")
    assert (found.after, found.at) == (DUE, expires_at)
    assert found.milliseconds <= 2000
    assert peer.statuses.get().since == found.removed_at


@pytest.fixture
def double(settings, uncollected):
    """Let people sign in at a provider of the test's own."""
    made = Double()
    use_providers(settings, (made.provider(),))
    yield made
    made.close()


def test_deadlines_hold_with_the_database_gone_and_after_signing_in_again_the_same_client_is_back(
    running, enrol, pinging, wg0, database, double
):
    wg0.lease = timedelta(seconds=5)
    wg0.save(update_fields=["lease"])
    assert double.sign_in(Browser()).status_code == 302
    bob = User.objects.get(issuer=double.issuer)
    expires_at = bob.signed_in_at + timedelta(seconds=4)
    leased, client = enrol(bob)
    expiring, other_client = enrol(rows.person("dave"), expires_at=expires_at)
    pings, of_expiring = pinging(client), pinging(other_client)
    running.eventually(lambda: pings.times() and of_expiring.times())
    carol = rows.person(
        "carol", lease_limit=timedelta(seconds=2)
    )  # a sign-in that counts for less than the lease
    limited = rows.peer(carol, wg0)
    key, limited_key = key_of(leased), key_of(limited)
    running.eventually(lambda: {key, limited_key} <= running.on())
    database_away(database)

    running.eventually(lambda: limited_key not in running.on())
    late = (timezone.now() - carol.signed_in_at - carol.lease_limit).total_seconds()
    print(f"off {late:.3f} s after the sign-in counted for no more")
    assert 0 <= late <= 2
    running.eventually(lambda: key not in running.on())
    over = bob.signed_in_at + wg0.lease
    time.sleep(max(0, 2.1 - (timezone.now() - over).total_seconds()))  # until no reply may come any more
    for replies, deadline in ((pings, over), (of_expiring, expires_at)):
        last = replies.times()[-1] - deadline.timestamp()
        print(f"last reply {last:.3f} s after the deadline")
        assert last <= 2

    database_back(database)
    running.eventually(lambda: state(leased) == State.SIGNED_OUT)
    running.eventually(lambda: state(expiring) == State.EXPIRED)
    receipt = AuditEvent.objects.get(action="removed", peer=expiring)
    (found,) = receipts(expiring)  # written down once the database was back, it tells of before
    assert receipt.at - found.removed_at > timedelta(seconds=1)
    signed_in_at = time.time()
    assert double.sign_in(Browser()).status_code == 302
    running.eventually(lambda: key in running.on(), 2)
    back = time.time() - signed_in_at
    wg0.lease = timedelta(days=7)
    wg0.save(update_fields=["lease"])
    running.eventually(lambda: pings.times()[-1] > signed_in_at)
    first = next(at for at in pings.times() if at > signed_in_at) - signed_in_at
    print(f"on the interface {back:.3f} s after signing in again, first reply after {first:.3f} s")
    assert first < 17  # a client shakes hands again once nobody has answered it for 15 s


def test_who_was_off_and_may_be_on_again_before_the_gateway_can_say_so_has_a_receipt_all_the_same(
    running, wg0, database
):
    wg0.lease = timedelta(seconds=3)
    wg0.save(update_fields=["lease"])
    bob = rows.person("bob")
    peer = rows.peer(bob, wg0)
    running.eventually(lambda: running.on() == {key_of(peer)})
    running.eventually(lambda: state(peer) == State.LIVE)
    on_since = peer.statuses.get().since
    database.sql(
        f"REVOKE CONNECT ON DATABASE {database.name} FROM {GATEWAY};"
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{GATEWAY}'"
    )
    running.eventually(lambda: running.on() == set())
    over, bob.signed_in_at = bob.signed_in_at + wg0.lease, timezone.now()
    bob.save(update_fields=["signed_in_at"])
    wg0.lease = timedelta(hours=1)
    wg0.save(update_fields=["lease"])
    database.sql(f"GRANT CONNECT ON DATABASE {database.name} TO {GATEWAY}")
    running.eventually(lambda: running.on() == {key_of(peer)})
    running.eventually(lambda: AuditEvent.objects.filter(action="removed").exists())
    off_at = datetime.fromisoformat(AuditEvent.objects.get(action="removed", peer=peer).new["read_back_at"])
    assert over <= off_at <= over + timedelta(seconds=2)
    assert on_since < off_at < peer.statuses.get().since
    assert receipts(peer) == []
    revoke(peer)  # which has a receipt of its own, and the one before is not written again
    running.eventually(lambda: state(peer) == State.REVOKED)
    assert [one.after for one in receipts(peer)] == ["revoke"]
    assert AuditEvent.objects.filter(action="removed").count() == 2


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.mark.parametrize("years", [10, -10])
def test_a_clock_that_jumps_ten_years_changes_nothing(run, alice, wg0, tmp_path, years):
    require(FAKETIME, "needs libfaketime: Debian's package libfaketime")
    jump = tmp_path / "jump"
    jump.write_text("+0")
    running = run(
        "--create", LD_PRELOAD=str(FAKETIME), FAKETIME_TIMESTAMP_FILE=str(jump), FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1", PYTHONPATH=str(ROOT / "tests/gateway/under_faketime"),
    )  # fmt: skip
    stays = rows.peer(alice, wg0)
    expires_at = timezone.now() + timedelta(seconds=6)
    goes = rows.peer(alice, wg0, expires_at=expires_at)
    running.eventually(lambda: running.on() == {key_of(stays), key_of(goes)})
    jump.write_text(f"{years:+d}y")
    running.eventually(lambda: running.on() == {key_of(stays)})
    late = (timezone.now() - expires_at).total_seconds()
    assert 0 <= late <= 2
    assert not running.said("pass_failed"), "the deadline was kept by a pass that did not fail"
    assert any(said["time"][:4] != str(timezone.now().year) for said in running.events()), (
        "the clock never jumped"
    )


# --- The gateway goes and comes back ---


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


def test_two_hosts_may_serve_one_interface_and_revoked_means_off_both(
    running, database, tmp_path, alice, wg0
):
    with Namespace() as elsewhere:
        second_home = tmp_path / "second"
        second_home.mkdir()
        (second_home / "wg0.key").write_text((tmp_path / "wg0.key").read_text())
        (second_home / "wg0.key").chmod(0o600)
        second = RunningGateway(elsewhere, database, second_home, "--create", LATCHKEY_GATEWAY_NAME="other")
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
        second.stop()


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


def test_a_deadline_is_kept_within_two_seconds_while_the_network_swallows_everything(
    run, alice, wg0, database, tmp_path_factory
):
    hole = BlackHole(tmp_path_factory.mktemp("hole"), database.cluster.socket / ".s.PGSQL.5432")
    url = f"postgresql://{GATEWAY}@{quote(str(hole.directory), safe='')}/{database.name}"
    running = run("--create", DATABASE_URL=url)
    deadlines = [timezone.now() + timedelta(seconds=seconds) for seconds in (4, 9)]
    found = [key_of(rows.peer(alice, wg0, expires_at=at)) for at in deadlines]
    running.eventually(lambda: running.on() == set(found))
    hole.swallow(new_ones=True)
    for at, key in zip(deadlines, found, strict=True):
        running.eventually(lambda key=key: key not in running.on())
        late = (timezone.now() - at).total_seconds()
        print(f"off {late:.2f} s after the deadline")
        assert 0 <= late <= 2
    running.stop()
    hole.close()


# --- The interface is not as it was left ---


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


# --- Without an interface, and once only ---


def test_without_an_interface_it_leaves_what_a_gateway_of_its_name_had_read_back(run, alice, wg0):
    running = run("--create")
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: state(peer) == State.LIVE)
    running.stop()
    running.flags = ("--no-interface",)
    running.start()
    running.eventually(lambda: not GatewayStatus.objects.get().attached)
    revoke(peer)
    revoked_at = timezone.now()
    running.eventually(lambda: GatewayStatus.objects.get().last_pass_at > revoked_at)
    assert PeerStatus.objects.filter(present=True).count() == 1
    assert state(peer) == State.UNKNOWN


def test_without_an_interface_it_says_what_it_would_do_and_marks_nothing_live(run, alice, wg0, database):
    running = run("--no-interface", "--publish-key")
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: running.said("would_change"))
    assert running.said("would_change")[0]["lines"] == [f"+ {key_of(peer)} 10.77.0.2/32,fd00:77::2/128"]
    assert not GatewayStatus.objects.get().attached
    assert not PeerStatus.objects.filter(present=True).exists()
    assert state(peer) == State.UNKNOWN


def test_reconcile_shows_the_changes_then_makes_them_then_has_none(
    run, namespace, database, alice, wg0, tmp_path
):
    running = run("--create")
    revoked, stays = rows.peer(alice, wg0), rows.peer(alice, wg0)
    running.eventually(lambda: len(running.on()) == 2)
    environment = {
        **database.environment(GATEWAY),
        "LATCHKEY_PRIVATE_KEY_DIR": str(tmp_path),
        "LATCHKEY_GATEWAY_NAME": "gateway",
    }
    words = [
        "env",
        *(f"{name}={value}" for name, value in environment.items()),
        sys.executable,
        "manage.py",
        "reconcile",
        "wg0",
    ]
    assert "does this by itself" in namespace.run(*words, check=False).stderr
    old = key_of(revoked)
    running.kill()  # its wireguard-go lives on
    revoke(revoked)
    new = rows.peer(alice, wg0)
    lines = {f"- {old}", f"+ {key_of(new)} {','.join(map(str, new.addresses))}"}
    looked = namespace.run(*words, "--dry-run", check=False)
    assert (set(looked.stdout.splitlines()), looked.returncode) == (lines, 2), looked.stderr
    assert running.on() == {old, key_of(stays)}
    assert set(namespace.run(*words).stdout.splitlines()) == lines
    again = namespace.run(*words, "--dry-run")
    assert (again.stdout, again.returncode) == ("", 0)


# --- Privilege ---


def test_it_listens_nowhere_and_starts_nothing_but_wg_ip_and_wireguard_go(
    namespace, database, tmp_path, wg0, alice
):
    require(Path("/usr/bin/strace").exists(), "needs strace: Debian's package strace")
    trace = tmp_path / "trace"
    running = RunningGateway(
        namespace, database, tmp_path, "--create",
        under=("strace", "-f", "-qq", "-e", "trace=execve,bind,listen", "-s", "200", "-o", str(trace)),
    )  # fmt: skip
    running.eventually(lambda: running.database.sql("SELECT public_key FROM peers_interface"))
    wg0.refresh_from_db()
    peer = rows.peer(alice, wg0)
    running.eventually(lambda: running.on() == {key_of(peer)})
    revoke(peer)
    running.eventually(lambda: running.on() == set())
    running.stop()
    lines = trace.read_text().splitlines()
    pid = re.match(r"\d+", lines[0])[0]
    started = {
        Path(found[1]).name for line in lines if (found := re.search(r'execve\("([^"]+)".*= 0$', line))
    }
    assert started - {Path(sys.executable).resolve().name, "python", "python3"} <= {
        "wg",
        "ip",
        "wireguard-go",
    }, started
    mine = [line for line in lines if line.startswith(pid)]
    assert not [line for line in mine if " listen(" in line]
    # A library asks at import whether there is IPv6 by binding to port 0, and closes that socket at once.
    bound = [line for line in mine if " bind(" in line and "htons(0)" not in line]
    assert bound, "the trace shows not even the netlink socket"
    assert all("AF_NETLINK" in line for line in bound), bound
