"""From enrolling to giving back: a machine is reached while its time lasts, and no longer."""

import io
import re
import shlex
import shutil
import time
from datetime import datetime, timedelta

import pytest
from django.core.management import call_command

from peers.models import Peer
from peers.states import State
from tests.conftest import ROOT
from tests.gateway.acting import ended, state
from tests.gateway.conftest import require
from tests.gateway.machine import URL
from tests.gateway.running import configuration_of
from tests.gateway.tunnel.looking import ON_BUSYBOX, first_reply

TTL = 60  # seconds
SILENT = 2.5  # seconds: past what the promise allows
OLD_SCRIPT = ROOT / "tests" / "gateway" / "jit_client.sh"


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


def test_a_machine_whose_time_was_over_is_reached_at_once_when_it_comes_back(
    running, script, machine, token, pinging
):
    script.run("enrol", "--token-file", str(token))
    script.run("up")
    pings = pinging(machine)
    running.eventually(pings.times)
    ended(running)
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
    script.run("down", code=1)  # without its token it begins nothing
    assert "latchkey" in machine.run("ip", "link")
    assert script.run("down", "--token-file", str(token))["revoked"]
    assert "latchkey" not in machine.run("ip", "link")
    assert machine.run("ls", "/etc/wireguard") == ""
    running.eventually(lambda: state(peer) == State.REVOKED)
    assert not script.run("down")["revoked"]


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


def test_the_token_of_the_documentation_does_for_the_whole_script(running, script, tmp_path):
    commands = re.findall(
        r"^manage\.py (create_.+?)(?: > token)?$", (ROOT / "docs" / "machines.md").read_text(), re.MULTILINE
    )
    assert [line.split()[0] for line in commands] == ["create_account", "create_token"]
    for line in commands:
        printed = io.StringIO()
        call_command(*shlex.split(line), stdout=printed, stderr=io.StringIO())
    token = tmp_path / "documented"
    token.write_text(printed.getvalue())
    for verb in ("enrol", "up", "renew", "down"):
        script.run(verb, "--token-file", str(token))


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


def test_enrolling_twice_leaves_the_time_that_renewing_asks_for(running, account, script, token):
    account.default_ttl = account.max_ttl = None
    account.save(update_fields=["default_ttl", "max_ttl"])
    script.run("enrol", "--token-file", str(token), "--ttl", "600")
    script.run("enrol", "--token-file", str(token))
    script.run("renew", "--token-file", str(token))
