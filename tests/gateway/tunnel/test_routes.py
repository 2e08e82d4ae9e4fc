"""What goes through the tunnel, and what goes where it went before once the tunnel is gone."""

import time

import pytest

from tests.gateway.acting import ended
from tests.gateway.machine import OUTSIDE
from tests.gateway.tunnel.looking import ON_BUSYBOX, first_reply, link_of, rules, way_out


def test_everything_goes_through_the_tunnel_but_its_own_packets(
    running, everything, script, machine, token, pinging
):
    machine.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2")  # as systemd sets it
    before = rules(machine)
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    whole = rules(machine)
    script.run("up")
    assert rules(machine) == whole
    assert way_out(machine) == way_out(machine, "2001:db8::9") == "latchkey"
    pings = pinging(machine)
    running.eventually(pings.times)
    script.run("down", "--token-file", str(token))
    assert (way_out(machine), rules(machine)) == (everything, before)


def test_giving_one_tunnel_back_leaves_what_goes_through_another(
    running, wg0, everything, script, machine, token
):
    names = ("full", "other", "split")
    for name in names:
        if name == "split":
            wg0.client_allowed_ips = ["10.77.0.0/16"]
            wg0.save(update_fields=["client_allowed_ips"])
        script.run("enrol", "--token-file", str(token), "--name", name)
        script.run("up", "--name", name)
    left = list(names)
    for name in ("split", way_out(machine)):
        left.remove(name)
        script.run("down", "--token-file", str(token), "--name", name)
        assert way_out(machine) in left
    script.run("renew", "--token-file", str(token), "--name", *left)
    assert way_out(machine) == everything


@pytest.mark.parametrize("rule", ["27754", "27755"])
def test_up_again_makes_whole_what_was_interrupted(running, everything, script, machine, token, rule):
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    whole = rules(machine)
    machine.run("ip", "-4", "rule", "delete", "pref", rule)
    script.run("up")
    assert rules(machine) == whole


def test_down_again_ends_what_was_interrupted(running, everything, script, machine, token):
    before = rules(machine)
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    machine.run("ip", "link", "delete", "latchkey")
    machine.run("ip", "-6", "rule", "delete", "pref", "27755")
    script.run("down", "--token-file", str(token))
    assert rules(machine) == before


def test_a_route_that_was_there_is_there_again_after_down(running, wg0, script, machine, token):
    link, networks = link_of(machine), ["10.0.0.0/8", "fd00::/16"]
    wg0.client_allowed_ips = networks
    wg0.save(update_fields=["client_allowed_ips"])
    for network in networks:
        machine.run("ip", "route", "add", network, "dev", link)
    before = machine.run("ip", "route") + machine.run("ip", "-6", "route")
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    script.run("up")
    assert way_out(machine, "10.1.2.3") == way_out(machine, "fd00:1::1") == "latchkey"
    script.run("down", "--token-file", str(token))
    assert machine.run("ip", "route") + machine.run("ip", "-6", "route") == before


@pytest.mark.parametrize("network", ["10.0.0.0/8", "fd00::/16"])
def test_two_tunnels_to_one_network_do_not_take_each_others_route(
    running, wg0, script, token, machine, network
):
    inside = network.partition("/")[0] + "1"
    wg0.client_allowed_ips = [network]
    wg0.save(update_fields=["client_allowed_ips"])
    for word in ("enrol", "up"):
        for name in ("one", "two"):
            script.run(word, "--token-file", str(token), "--name", name)
    script.run("up", "--name", "one")
    first = way_out(machine, inside)
    (other,) = {"one", "two"} - {first}
    script.run("down", "--token-file", str(token), "--name", first)
    assert way_out(machine, inside) == other


def test_rules_of_somebody_elses_with_the_same_priority_stay(running, everything, script, machine, token):
    for priority in ("27754", "27755"):
        machine.run("ip", "rule", "add", "pref", priority, "to", "192.0.2.0/24", "lookup", "main")
    before = rules(machine)
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    assert way_out(machine) == "latchkey"
    script.run("down", "--token-file", str(token))
    assert (way_out(machine), rules(machine)) == (everything, before)


def test_where_wg_quick_sends_everything_through_the_tunnel_renewing_leaves_that_to_it(
    running, everything, script, machine, token, pinging
):
    machine.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2")
    script.run("enrol", "--token-file", str(token))
    machine.run("wg-quick", "up", "latchkey")
    pings = pinging(machine)
    first_reply(pings, running)
    made = rules(machine), machine.run("wg", "show", "latchkey", "fwmark")
    machine.run("ip", "-4", "rule", "add", "pref", "1", "to", OUTSIDE, "lookup", "main")
    ended(running)
    script.run("renew", "--token-file", str(token))
    machine.run("ip", "-4", "rule", "delete", "pref", "1")
    assert (rules(machine), machine.run("wg", "show", "latchkey", "fwmark")) == made
    first_reply(pings, running, since=time.time())


@ON_BUSYBOX
def test_the_ip_of_busybox_is_told_to_be_too_little_for_everything(everything, script, machine, token):
    before = rules(machine)
    script.run("enrol", "--token-file", str(token))
    assert script.run("up", code=2)["error"]["code"] == "no_tool"
    assert rules(machine) == before
