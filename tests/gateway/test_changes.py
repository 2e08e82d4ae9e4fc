"""A change of a row reaches the real interface, alone and at once; what is read back reaches the rows."""

import time
from ipaddress import ip_network
from uuid import uuid4

from django.utils import timezone

from deploy.demo.client import Client
from peers import services
from peers.models import AuditEvent, Peer, TrafficSample
from peers.receipts import receipts
from peers.states import State, standing
from peers.wireguard import keys, link
from peers.wireguard.state import PeerSettings
from tests import rows
from tests.gateway.acting import key_of, revoke, state
from tests.gateway.conftest import INSIDE
from tests.gateway.running import Pinging, RunningGateway
from tests.scene import fill


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


def test_a_receipt_says_whose_the_device_was_and_so_what_act_on_them_it_answers(running, alice, wg0):
    runner = rows.account(wg0)
    peers = {"person": rows.peer(alice, wg0), "account": rows.machine(runner, wg0)}
    running.eventually(lambda: running.on() == set(map(key_of, peers.values())))
    root, at = services.Actor(user=rows.person("root")), timezone.now()
    services.suspend_person(actor=root, person=alice, at=at, reason="left")
    services.suspend_account(actor=root, account=runner, at=at, reason="leaked")
    for peer in peers.values():
        running.eventually(lambda peer=peer: receipts(peer)[0].removed_at)
        (found,) = receipts(peer)
        told = AuditEvent.objects.get(action="removed", peer=peer)
        assert (told.person, told.service_account) == (peer.owner, peer.service_account)
        assert found.after == "suspend"
        assert found.milliseconds < 5000


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
