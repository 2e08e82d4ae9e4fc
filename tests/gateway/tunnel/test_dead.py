"""A tunnel that carries everything and has ended would hide the portal that could bring it back."""

import os
import select
import signal
import subprocess

import pytest

from tests.gateway.acting import ended
from tests.gateway.machine import OUTSIDE
from tests.gateway.tunnel.looking import first_reply, rules, way_out

THROUGH = "if ip route get 203.0.113.9 | grep -q latchkey; then exit 7; fi"

NOBODYS = "4242:"


@pytest.fixture
def up(running, everything, script, machine, token):
    """Give a function that enrols the machine and brings its tunnel up, and what is said of it then: its rules."""
    machine.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2")

    def brought_up(name="latchkey"):
        for word in ("enrol", "up"):
            script.run(word, "--token-file", str(token), "--name", name)
        return rules(machine)

    return brought_up


@pytest.fixture
def cut(up, instead, machine, wg0):
    """Have nothing pass through the tunnel that is up, and curl told so at once; give its rules."""
    whole = up()
    machine.run("wg", "set", "latchkey", "peer", wg0.public_key, "remove")
    instead("curl", THROUGH)
    return whole


def test_a_machine_whose_tunnel_is_dead_reaches_its_portal(
    running, everything, script, machine, token, pinging
):
    machine.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2")
    script.run("enrol", "--token-file", str(token))
    ended(running)
    script.run("up")  # as when it was off for longer than its time
    whole = rules(machine)
    script.run("renew", "--token-file", str(token))
    assert (way_out(machine), rules(machine)) == ("latchkey", whole)
    first_reply(pinging(machine), running)


@pytest.mark.parametrize("gateway", ["gateway.example.com", OUTSIDE])
def test_a_dead_tunnel_is_passed_by_where_the_gateways_name_is_to_be_looked_up_and_only_there(
    running, wg0, everything, up, script, machine, token, instead, tmp_path, gateway
):
    seen, hosts = tmp_path / "seen", tmp_path / "hosts"
    hosts.write_text(f"{OUTSIDE} gateway.example.com\n")
    machine.run("mount", "--bind", str(hosts), "/etc/hosts")
    wg0.endpoint = f"{gateway}:51820"
    wg0.save(update_fields=["endpoint"])
    whole = up()
    machine.run("wg", "set", "latchkey", "peer", wg0.public_key, "remove")
    ended(running)
    instead("curl", THROUGH)
    instead("wg", f"case $1 in setconf) ip route get 203.0.113.9 >{seen} ;; esac")
    script.run("renew", "--token-file", str(token))
    assert f"dev {'latchkey' if gateway == OUTSIDE else everything}" in seen.read_text()
    assert rules(machine) == whole


def test_a_clock_that_was_set_back_hides_no_dead_tunnel(
    running, up, script, machine, token, instead, pinging
):
    whole = up()
    first_reply(pinging(machine), running)
    instead("curl", THROUGH)
    instead("date", "echo 1000; exit")
    script.run("renew", "--token-file", str(token))
    assert rules(machine) == whole


def test_two_dead_tunnels_do_not_hide_the_portal_from_each_other(up, script, machine, wg0, token, instead):
    names = ("latchkey", "second")
    for name in names:
        whole = up(name)
    instead("curl", "if ip route get 203.0.113.9 | grep -qE 'latchkey|second'; then exit 7; fi")
    for name in names:
        machine.run("wg", "set", name, "peer", wg0.public_key, "remove")
    for name in names:
        script.run("renew", "--token-file", str(token), "--name", name)
        assert rules(machine) == whole


def test_a_refusal_past_a_dead_tunnel_leaves_everything_going_through_it(cut, script, machine, tmp_path):
    unknown = tmp_path / "unknown"
    unknown.write_text("latchkey_nobodys\n")
    assert script.run("renew", "--token-file", str(unknown), code=3)["error"]["code"] == "token_invalid"
    assert rules(machine) == cut
    assert way_out(machine) == way_out(machine, "2001:db8::9") == "latchkey"


@pytest.mark.parametrize(
    ("words", "told", "code"),
    [
        (["renew", "--every", "300"], signal.SIGTERM, 0),
        (["renew"], signal.SIGTERM, 143),
        (["enrol"], signal.SIGINT, 143),
    ],
    ids=["renewing on", "renew", "enrol"],
)
def test_whoever_is_told_to_end_past_a_dead_tunnel_leaves_everything_going_through_it(
    running, cut, everything, script, machine, token, instead, tmp_path, words, told, code
):
    past = tmp_path / "past"
    instead("curl", f"{THROUGH}\n: >{past}; sleep 2; exit 28")
    asking = machine.namespace.popen(
        *script.command(*words, "--token-file", str(token)), start_new_session=True
    )
    running.eventually(past.exists)
    assert way_out(machine) == everything
    instead("ip", after="sleep 0.2")
    os.killpg(asking.pid, told)  # all of them, as systemd does: what renews on tells its child a second time
    assert asking.wait(20) == code
    assert (way_out(machine), rules(machine)) == ("latchkey", cut)


def test_what_was_killed_past_a_dead_tunnel_is_made_whole_by_the_next_renewal_even_a_refused_one(
    cut, everything, script, machine, token, instead, tmp_path
):
    put_back = instead("ip", after='case "$*" in *rule*delete*) /bin/kill -9 $PPID ;; esac')
    done = machine.namespace.run(*script.command("renew", "--token-file", str(token)), check=False)
    assert done.returncode == -9
    assert way_out(machine) == everything
    put_back()
    unknown = tmp_path / "unknown"
    unknown.write_text("latchkey_nobodys\n")
    for file, code in ((unknown, 3), (token, 0)):
        script.run("renew", "--token-file", str(file), code=code)
        assert way_out(machine) == way_out(machine, "2001:db8::9") == "latchkey"
        assert rules(machine) == cut


def test_a_portal_that_is_away_is_no_reason_to_leave_a_tunnel_that_lives(
    running, up, script, machine, portal, token, pinging
):
    up()
    first_reply(pinging(machine), running)
    portal.stop()
    watched = machine.namespace.popen("ip", "monitor", "rule", "route", stdout=subprocess.PIPE, text=True)
    running.eventually(lambda: is_seen(machine, watched))
    script.run("renew", "--token-file", str(token), code=4)
    watched.terminate()
    seen = watched.communicate()[0].splitlines()
    assert [line for line in seen if NOBODYS not in line] == []


def is_seen(machine, watched):
    """Change a rule of nobody's, and return whether that was seen."""
    for change in ("add", "delete"):
        machine.run("ip", "rule", change, "pref", "4242", "lookup", "main")
    return select.select([watched.stdout], [], [], 0.1)[0]
