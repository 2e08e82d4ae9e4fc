"""Peers that are on the real interface only while they are used: at their first packet, and no longer than they are."""

import pytest

from peers.states import State
from tests.gateway.acting import key_of, state
from tests.gateway.conftest import INSIDE


@pytest.fixture
def on_demand(wg0):
    """Give the interface, on demand; its clients send nothing by themselves."""
    wg0.mode, wg0.persistent_keepalive = "on_demand", 0
    wg0.save(update_fields=["mode", "persistent_keepalive"])
    return wg0


@pytest.fixture
def running(on_demand, run):
    made = run("--create")
    made.eventually(lambda: made.said("watching"))
    return made


def test_a_device_is_put_on_by_its_first_packet_and_its_first_ping_is_answered(running, enrol):
    peer, client = enrol()
    running.eventually(lambda: state(peer) == State.IDLE)
    assert running.on() == set()
    found = client.ping(INSIDE, timeout=1)
    print(found)
    assert found.received == 1
    assert running.on() == {key_of(peer)}
    running.eventually(lambda: state(peer) == State.CONNECTED, 6)
