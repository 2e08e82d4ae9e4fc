"""`up`: the interface, its addresses and its MTU."""

import time

import pytest

from peers.models import Peer
from tests.gateway.tunnel.looking import ON_BUSYBOX, first_reply, of_interface


@ON_BUSYBOX
def test_up_again_changes_nothing_and_cuts_no_session(running, script, machine, token, pinging):
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    pings = pinging(machine)
    running.eventually(pings.times)
    before = configured(machine)
    received = bytes_received(machine)
    script.run("up")
    assert configured(machine) == before
    assert bytes_received(machine) >= received > 0  # which a new session's counter would not be


def configured(machine):
    """Return its addresses, routes and port; whether the kernel still looks for doubles of an address is its own affair."""
    return (
        machine.run("ip", "address").replace(" tentative", ""),
        machine.run("ip", "route") + machine.run("ip", "-6", "route"),
        machine.run("wg", "show", "latchkey", "listen-port"),
    )


def bytes_received(machine):
    return int(machine.run("wg", "show", "latchkey", "transfer").split()[1])


def test_up_configures_an_interface_that_a_crash_left_bare(script, machine, token):
    script.run("enrol", "--token-file", str(token))
    make = "ip link add latchkey type wireguard || wireguard-go latchkey </dev/null"
    machine.run("sh", "-c", f"{{ {make}; }} >/dev/null 2>&1")
    script.run("up")
    assert "10.77.0.2/32" in of_interface(machine, "address", "show")


def test_an_address_that_the_machine_has_no_more_is_taken_off(script, machine, token):
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    right = of_interface(machine, "address", "show")
    for stale in ("10.77.0.99/32", "fd00:77::99/128"):
        machine.run("ip", "address", "add", stale, "dev", "latchkey")
    script.run("up")
    assert of_interface(machine, "address", "show") == right


@ON_BUSYBOX
def test_a_changed_network_is_taken_over_at_the_next_renewal(running, wg0, script, machine, token, pinging):
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    pings = pinging(machine)
    wg0.client_allowed_ips, wg0.mtu = ["10.77.0.0/24", "192.0.2.7/32"], 1400
    wg0.save(update_fields=["client_allowed_ips", "mtu"])
    changed_at = time.time()
    script.run("renew", "--token-file", str(token))
    routes = of_interface(machine, "route", "show")
    assert "192.0.2.7" in routes and "10.77.0.0/24" in routes and "10.77.0.0/16" not in routes
    assert "fd00:77::/64" not in of_interface(machine, "-6", "route", "show")
    assert "mtu 1400" in of_interface(machine, "link", "show")
    first_reply(pings, running, since=changed_at)
    assert Peer.objects.get().configured["mtu"] == 1400  # so that nobody is told that its file is old


@pytest.mark.parametrize("told_by", ["renew", "enrol"])
def test_a_change_that_could_not_be_applied_is_applied_by_the_next_renewal(
    running, wg0, script, machine, tools, token, told_by
):
    for word in ("enrol", "up"):
        script.run(word, "--token-file", str(token))
    wg0.client_allowed_ips = ["192.0.2.7/32"]
    wg0.save(update_fields=["client_allowed_ips"])
    (tools / "ip").rename(tools / "away")
    script.run(told_by, "--token-file", str(token), code=2 if told_by == "renew" else 0)
    (tools / "away").rename(tools / "ip")
    assert "192.0.2.7" not in of_interface(machine, "route", "show")
    script.run("renew", "--token-file", str(token))
    assert "192.0.2.7" in of_interface(machine, "route", "show")
    machine.run("ip", "route", "delete", "192.0.2.7")  # so that one sees it being applied again
    script.run("renew", "--token-file", str(token))
    assert "192.0.2.7" not in of_interface(machine, "route", "show")


def test_whoever_may_make_no_interface_is_told_so(script, machine, tools, token):
    (tools / "wireguard-go").unlink()  # which is not what is missing
    script.run("enrol", "--token-file", str(token))
    done = machine.namespace.run(
        "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *script.command("up"), check=False
    )
    assert done.returncode == 6 and "takes root, or CAP_NET_ADMIN" in done.stderr


@ON_BUSYBOX
def test_without_ipv6_in_the_kernel_the_rest_comes_up(running, script, machine, token, pinging):
    machine.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    pings = pinging(machine)
    running.eventually(pings.times)


def test_an_interface_and_a_configuration_of_somebody_elses_stay_as_they_are(script, machine, token):
    machine.run("sh", "-c", "echo theirs >/etc/wireguard/latchkey.conf")
    assert script.run("enrol", "--token-file", str(token), code=6)["error"]["code"] == "not_ours"
    assert machine.run("cat", "/etc/wireguard/latchkey.conf") == "theirs\n"
    script.run("enrol", "--token-file", str(token), "--name", "veth-like")
    machine.run("ip", "link", "add", "veth-like", "type", "veth", "peer", "other")
    assert script.run("up", "--name", "veth-like", code=6)["error"]["code"] == "not_ours"
    script.run("down", "--name", "veth-like", "--token-file", str(token))
    assert "veth-like" in machine.run("ip", "link")


@pytest.mark.parametrize("verb", ["up", "down"])
def test_two_at_once_are_as_good_as_one(running, script, machine, instead, token, verb):
    # So that what each has seen is true no more when it acts, if the others do so too.
    instead("wg", after="sleep 0.3")
    for before in (["enrol"], ["enrol", "up"]):
        for word in before:
            script.run(word, "--token-file", str(token))
        started = [
            machine.namespace.popen(*script.command(verb, "--token-file", str(token))) for _ in range(3)
        ]
        assert [process.wait(20) for process in started] == [0, 0, 0]
        script.run("down", "--token-file", str(token))
