"""Machines on a real interface: the script alone in a namespace, and an old script that knows /register."""

import re
import shutil
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from peers import services
from peers.models import Peer, Scope, ServiceAccount
from peers.states import State
from tests.gateway.acting import state
from tests.gateway.conftest import require
from tests.gateway.machine import OUTSIDE, URL, Machine, Portal, bare
from tests.gateway.running import configuration_of

TTL = 60  # seconds
SILENT = 2.5  # seconds: past what the promise allows
OLD_SCRIPT = Path(__file__).with_name("jit_client.sh")


@pytest.fixture
def portal(running, wg0, tmp_path):
    wg0.endpoint = f"{OUTSIDE}:51820"
    wg0.save(update_fields=["endpoint"])
    made = Portal(running.namespace, running.database, tmp_path)
    yield made
    made.stop()


@pytest.fixture
def account(wg0):
    made = ServiceAccount(name="build", team="Platform")
    return services.save_account(actor=services.Actor(), account=made, interfaces=[wg0])


@pytest.fixture
def token(account, tmp_path):
    """Give the path of a file with a token for all that a machine does."""
    at = timezone.now()
    _, text = services.make_token(
        actor=services.Actor(), holder=account, name="test", scopes=Scope.values, at=at,
        expires_at=at + timedelta(hours=1),
    )  # fmt: skip
    file = tmp_path / "token"
    file.write_text(f"{text}\n")
    return file


@pytest.fixture
def tools(request, tmp_path):
    return bare(tmp_path / "bin", busybox=getattr(request, "param", "") == "busybox")


ON_BUSYBOX = pytest.mark.parametrize("tools", ["busybox"], indirect=True)


@pytest.fixture
def machine(running, tools):
    with Machine(running.namespace, tools) as made:
        yield made


@pytest.fixture
def script(machine, portal, token, tmp_path):
    return machine.fetch(tmp_path / "enrol.sh")


def first_reply(replies, running, since=0.0):
    running.eventually(lambda: any(at > since for at in replies.times()))
    return next(at for at in replies.times() if at > since)


@pytest.mark.long  # it waits for a minute: no time to live is shorter
def test_a_machine_enrols_is_reached_renews_ends_by_itself_and_comes_back_to_its_address(
    running,
    script,
    machine,
    token,
    pinging,
):
    with_token = ("--token-file", str(token), "--ttl", str(TTL))
    enrolled = script.run("enrol", *with_token)
    assert enrolled["state"] == "live"
    script.run("up")
    pings = pinging(machine)
    peer = Peer.objects.get()
    seconds = first_reply(pings, running) - peer.enrolled_at.timestamp()
    print(f"first reply {seconds:.3f} s after the POST")
    assert state(peer) in {State.LIVE, State.CONNECTED}

    renewed = script.run("renew", *with_token)
    deadline = datetime.fromisoformat(renewed["expires_at"])
    assert deadline > datetime.fromisoformat(enrolled["expires_at"])
    time.sleep(max(0, deadline.timestamp() + SILENT - time.time()))
    last = pings.times()[-1] - deadline.timestamp()
    print(f"last reply {last:.3f} s after the deadline")
    assert -1 < last <= 2
    running.eventually(lambda: state(peer) == State.EXPIRED)

    came_back = time.time()
    again = script.run("renew", *with_token)
    seconds = first_reply(pings, running, since=came_back) - came_back
    print(f"first reply {seconds:.3f} s after coming back")
    assert (again["id"], again["addresses"]) == (enrolled["id"], enrolled["addresses"])
    assert Peer.objects.get() == peer


def of_interface(machine, *words):
    return machine.run("ip", "-o", *words, "dev", "latchkey")


@ON_BUSYBOX
def test_up_again_changes_nothing_and_cuts_no_session(running, script, machine, token, pinging):
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    pings = pinging(machine)
    running.eventually(pings.times)
    before = machine.run("ip", "address"), machine.run("ip", "route")
    received = bytes_received(machine)
    script.run("up")
    assert (machine.run("ip", "address"), machine.run("ip", "route")) == before
    assert bytes_received(machine) >= received > 0  # which a new session's counter would not be


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


def test_a_machine_whose_time_was_over_is_reached_at_once_when_it_comes_back(
    running, script, machine, token, pinging
):
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    pings = pinging(machine)
    running.eventually(pings.times)
    peer = Peer.objects.get()
    Peer.objects.update(expires_at=timezone.now())
    running.eventually(lambda: state(peer) == State.EXPIRED)
    came_back = time.time()
    script.run("renew", "--token-file", str(token))
    assert (
        first_reply(pings, running, since=came_back) - came_back < 5
    )  # a session that is kept gives up after 15 s


@ON_BUSYBOX
def test_down_takes_the_interface_away_revokes_and_forgets_and_twice_is_no_error(
    running, script, machine, token
):
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    peer = Peer.objects.get()
    assert script.run("down", "--token-file", str(token))["revoked"]
    assert "latchkey" not in machine.run("ip", "link")
    assert machine.run("ls", "/etc/wireguard") == ""
    running.eventually(lambda: state(peer) == State.REVOKED)
    assert not script.run("down")["revoked"]


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


def link_of(machine):
    (link,) = {word for word in machine.run("ip", "-o", "route", "show", OUTSIDE).split() if "veth" in word}
    return link


@pytest.fixture
def everything(wg0, machine):
    """Have everything go through the tunnel; give the link that it goes through otherwise."""
    wg0.client_allowed_ips = ["0.0.0.0/0", "::/0"]
    wg0.save(update_fields=["client_allowed_ips"])
    link = link_of(machine)
    machine.run("ip", "route", "replace", "default", "via", OUTSIDE, "dev", link, "onlink")
    machine.run("ip", "route", "delete", OUTSIDE)
    return link


def way_out(machine, to="203.0.113.9"):
    return re.search(r"dev (\S+)", machine.run("ip", "route", "get", to)).group(1)


def rules(machine):
    return machine.run("ip", "-4", "rule") + machine.run("ip", "-6", "rule")


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


@ON_BUSYBOX
def test_a_sidecar_renews_on_and_gives_its_place_back_when_it_is_told_to_end(running, script, machine, token):
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    peer = Peer.objects.get()
    renewing = machine.namespace.popen(
        *script.command("renew", "--every", "1", "--down", "--token-file", str(token))
    )
    running.eventually(lambda: Peer.objects.get().expires_at > peer.expires_at + timedelta(seconds=2))
    asked = time.monotonic()
    renewing.terminate()
    assert renewing.wait(10) == 0
    print(f"ended {time.monotonic() - asked:.2f} s after SIGTERM")
    assert "latchkey" not in machine.run("ip", "link")
    running.eventually(lambda: state(peer) == State.REVOKED)


@pytest.mark.parametrize("verb", ["up", "down"])
def test_two_at_once_are_as_good_as_one(running, script, machine, tools, token, verb):
    slow, wg = tools / "wg", shutil.which("wg")
    slow.unlink()
    # So that what each has seen is true no more when it acts, if the others do so too.
    slow.write_text(f'#!/bin/sh\n{wg} "$@"; code=$?; sleep 0.3; exit $code\n')
    slow.chmod(0o755)
    for before in (["enrol"], ["enrol", "up"]):
        for word in before:
            script.run(word, "--token-file", str(token))
        started = [
            machine.namespace.popen(*script.command(verb, "--token-file", str(token))) for _ in range(3)
        ]
        assert [process.wait(20) for process in started] == [0, 0, 0]
        script.run("down", "--token-file", str(token))


def test_the_file_is_the_one_that_the_portal_itself_writes(running, wg0, script, machine, token):
    wg0.use_preshared_keys, wg0.dns = True, ["10.77.0.1", "fd00:77::1"]
    wg0.save(update_fields=["use_preshared_keys", "dns"])
    script.run("enrol", "--token-file", str(token))
    private_key = machine.run("cat", "/etc/wireguard/latchkey.enrol.key").strip()
    assert machine.run("cat", "/etc/wireguard/latchkey.conf") == configuration_of(
        Peer.objects.get(), private_key
    )
    script.run("renew", "--token-file", str(token))
    assert "PresharedKey" in machine.run("cat", "/etc/wireguard/latchkey.conf")


def test_a_script_from_before_works_with_its_address_and_its_token_changed(
    running, account, portal, machine, token, tmp_path, pinging
):
    for tool in ("bash", "jq"):
        require(shutil.which(tool), f"needs {tool}: Debian's package {tool}")
    account.default_ttl = account.max_ttl = None  # it knows nothing of an end
    account.save(update_fields=["default_ttl", "max_ttl"])
    old = OLD_SCRIPT.read_text()
    changed = re.sub("(?m)^API_URL=.*", f'API_URL="{URL}"', old)
    changed = re.sub("(?m)^API_TOKEN=.*", f'API_TOKEN="{token.read_text().strip()}"', changed)
    assert sum(a != b for a, b in zip(old.splitlines(), changed.splitlines(), strict=True)) == 2
    path = tmp_path / "jit_client.sh"
    path.write_text(changed)
    assert machine.run("bash", str(path)) == "connected as 10.77.0.2: Peer registered\n"
    peer = Peer.objects.get()
    seconds = first_reply(pinging(machine), running) - peer.enrolled_at.timestamp()
    print(f"first reply {seconds:.3f} s after the POST")
    assert peer.expires_at is None
    assert machine.run("bash", str(path)) == "connected as 10.77.0.2: Peer already registered\n"
    path.write_text(changed.replace(token.read_text().strip(), "latchkey_wrong"))
    failed = machine.namespace.run("bash", str(path), check=False)
    assert failed.returncode == 1 and "registration failed: Send a valid token" in failed.stderr
