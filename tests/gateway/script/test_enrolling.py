"""`enrol`: keys, a place, and a configuration."""

import stat
import subprocess

from tests.gateway.portal_double import PEER
from tests.gateway.script.calling import ON_DASH, TOKEN


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_enrolling_writes_a_configuration_for_its_owners_eyes(script, portal):
    said = script.run("--json", "--peer-name=build-7", "--ttl", "300", "--interface=wg0")
    key = script.key.read_text().strip()
    assert script.conf.read_text() == (
        f"[Interface]\nPrivateKey = {key}\nAddress = 10.77.0.2/32, fd00:77::2/128\nDNS = 10.77.0.1\nMTU = 1420\n\n"
        f"[Peer]\nPublicKey = {PEER['server_public_key']}\nAllowedIPs = 10.77.0.0/16, fd00:77::/64\n"
        "Endpoint = vpn.example.com:51820\nPersistentKeepalive = 25\n"
    )
    assert {mode(path) for path in script.dir.iterdir()} == {0o600}
    assert mode(script.dir) == 0o700
    (asked,) = portal.asked
    assert (asked.method, asked.path, asked.token) == ("POST", "/api/v1/peers?wait=10", TOKEN)
    assert asked.body == {
        "public_key": portal.public_key, "name": "build-7", "interface": "wg0", "ttl": 300,
    }  # fmt: skip
    assert said == {
        "command": "enrol", "name": "latchkey", "id": PEER["id"], "public_key": portal.public_key,
        "interface": "wg0", "state": "live", "addresses": PEER["addresses"], "dns": PEER["dns"],
        "expires_at": PEER["expires_at"], "conf": str(script.conf),
    }  # fmt: skip


def test_enrolling_again_sends_the_same_key_and_touches_no_file_that_is_right(script, portal):
    portal.will_say(201)
    script.run("enrol")
    before = script.files(), script.conf.stat().st_mtime_ns
    script.run("enrol")
    assert (script.files(), script.conf.stat().st_mtime_ns) == before
    assert len({asked.body["public_key"] for asked in portal.asked}) == 1


def test_what_an_interface_may_lack_is_left_out(script, portal):
    portal.will_say(dns=[], persistent_keepalive=0, expires_at=None, preshared_key=PEER["server_public_key"])
    assert script.run("--json")["expires_at"] is None
    conf = script.conf.read_text()
    assert "DNS" not in conf and "PersistentKeepalive" not in conf
    assert f"PresharedKey = {PEER['server_public_key']}\n" in conf


@ON_DASH
def test_many_at_once_enrol_one_key(script, portal, tmp_path):
    for number in range(4):
        script.dir = tmp_path / f"round-{number}"
        started = [
            subprocess.Popen(script.command("enrol"), env=script.environment, stdout=subprocess.DEVNULL)
            for _ in range(8)
        ]
        assert [process.wait(60) for process in started] == [0] * 8
        assert len({asked.body["public_key"] for asked in portal.asked}) == 1
        assert set(script.files()) == {"latchkey.conf", "latchkey.enrol.key", "latchkey.enrol.peer"}
        portal.asked.clear()


def test_an_empty_key_that_a_crash_left_is_made_anew(script):
    script.dir.mkdir()
    script.key.touch()
    script.run("enrol")
    assert script.key.stat().st_size == 45


def test_not_on_the_interface_yet_is_said_and_all_is_kept(script, portal):
    portal.will_say(202, state="pending")
    assert script.run("--json", code=5)["state"] == "pending"
    assert script.conf.exists()


def test_a_revoked_key_is_replaced_only_when_that_is_asked_for(script, portal):
    script.run("enrol")
    old = script.key.read_text()
    for words, code in (([], 3), (["--new-key"], 0)):
        portal.will_refuse(409, "key_revoked", "This key was revoked.")
        script.run("enrol", *words, code=code)
        assert (script.key.read_text() == old) == bool(code)
    assert portal.asked[-1].body["public_key"] != portal.asked[-2].body["public_key"]
