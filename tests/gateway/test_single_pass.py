"""The gateway without an interface or for one pass only, and what it never does."""

import re
import sys
from pathlib import Path

from django.utils import timezone

from peers.models import GatewayStatus, PeerStatus
from peers.states import State
from tests import rows
from tests.conftest import GATEWAY
from tests.gateway.acting import key_of, revoke, state
from tests.gateway.conftest import require
from tests.gateway.running import RunningGateway

# --- Without an interface, or for one pass only ---


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
