"""Floods at the port of an interface on demand, and a WireGuard that takes no more peers."""

import time
from datetime import timedelta
from threading import Thread

import pytest
from django.utils import timezone

from peers.models import (
    GatewayStatus,
)
from peers.wireguard import keys
from tests import rows
from tests.gateway.acting import counts
from tests.gateway.conftest import INSIDE, OUTSIDE
from tests.gateway.running import last_reply
from tests.initiator import bogus, initiation, tai64n
from tests.strangers import Strangers


@pytest.fixture
def running(started):
    return started("--create")


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


def test_limits_that_others_flushed_are_put_back_when_a_flood_begins(running, namespace, stranger, on_demand):
    namespace.run("nft", "flush", "ruleset")
    packet = bogus(on_demand.public_key)
    for _ in range(3000):
        stranger(packet)
    running.eventually(lambda: "latchkey_wg0" in namespace.run("nft", "list", "ruleset").stdout)


def test_where_there_is_no_nft_the_gateway_watches_all_the_same(started, namespace, tmp_path, enrol):
    namespace.run("mount", "-t", "tmpfs", "tmpfs", "/usr/sbin")
    for tool in ("ip", "wireguard-go"):
        namespace.run("ln", "-s", f"/usr/bin/{tool}", f"/usr/sbin/{tool}", check=False)
    running = started("--create")
    assert running.said("initiations_not_limited")
    _, client = enrol()
    assert client.ping(INSIDE, timeout=1).received


def _every(private_key, wg0, times):
    """Return an initiation for each time that is asked for, each later than the last."""
    return (
        initiation(private_key, str(wg0.public_key), tai64n(time.time() + number)) for number in range(times)
    )


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
