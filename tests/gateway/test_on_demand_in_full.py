"""Interfaces on demand under many clients and under floods: what the benchmark times, asserted where it is no matter of speed."""

import pytest

from peers.states import State
from tests import bench_on_demand, rows
from tests.first_ping import Devices, enrolled
from tests.gateway.acting import key_of, state
from tests.gateway.conftest import INSIDE
from tests.gateway.running import Pinging

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
TIMES = 200
TRIES_AGAIN_AFTER = 5  # seconds, WireGuard does


@pytest.fixture
def running(started):
    return started("--create")


def shown(*cells: str) -> None:
    print(" | ".join(cells))


@pytest.mark.parametrize("version", [4, 6])
def test_of_two_hundred_first_pings_none_waits_for_a_second_try(
    running, on_demand, namespace, tmp_path, version
):
    given = enrolled(rows.person("first"), on_demand, TIMES)
    devices = Devices(namespace, on_demand, tmp_path, version)
    found = []
    for peer, private_key in given:
        devices.become(peer, private_key)
        found.append(devices.first_ping())
    devices.close()
    shown(bench_on_demand.spread(found))
    assert max(found) < TRIES_AGAIN_AFTER


def test_a_crowd_that_comes_at_once_is_let_in_at_once(running, on_demand):
    assert bench_on_demand.crowd(running, on_demand, shown) < TRIES_AGAIN_AFTER
    assert len(running.on()) == bench_on_demand.CROWD


@pytest.mark.parametrize("kind", ["mac1", "content", "spoofed"])
def test_a_flood_of_bogus_handshakes_puts_nobody_on_and_costs_no_tunnel_its_packets(running, on_demand, kind):
    found = bench_on_demand.flood(running, on_demand, kind, shown)
    assert found["lost"] <= 0.01
    assert found["on"] <= found["known"], "nobody else was put on"
    assert running.said("handshake_flood")
    running.eventually(lambda: running.said("handshake_flood_over"))
    told = bench_on_demand.GatewayStatus.objects.get()
    assert told.handshakes_invalid + told.handshakes_dropped >= 0.99 * found["sent"]
    assert told.handshakes_refused == 0


def test_who_is_idle_for_four_minutes_leaves_and_comes_back_at_the_first_packet(running, on_demand, enrol):
    on_demand.idle_minutes = 4
    on_demand.save(update_fields=["idle_minutes"])
    used, client = enrol()
    idle, other = enrol()
    assert client.ping(INSIDE, timeout=2).received
    running.eventually(lambda: other.ping(INSIDE, timeout=1).received)
    pinging = Pinging(client, INSIDE, 0.1)
    seconds = running.eventually(lambda: running.on() == {key_of(used)}, 400)
    assert seconds >= 230
    running.eventually(lambda: state(idle) == State.IDLE)
    assert other.ping(INSIDE, timeout=2).received, (
        "its session is dead by then, so it begins a new one at once"
    )
    lost, sent = pinging.lost()
    shown(f"{lost} of {sent} lost")
    assert lost == 0
