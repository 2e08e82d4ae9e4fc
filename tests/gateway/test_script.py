"""The script that enrols a machine, in two shells, against a portal that says what the test wants."""

import json
import os
import re
import shutil
import stat
import subprocess
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peers.api.script import SOURCE, filled_in
from tests import rows
from tests.gateway.conftest import require
from tests.gateway.machine import OURS, bare
from tests.gateway.portal_double import PEER, PortalDouble
from tests.integration.conftest import free_port

TOKEN = "latchkey_only-for-tests_0123456789_abcdefghijklmnop"
FIELDS = {
    "PrivateKey", "Address", "DNS", "MTU", "PublicKey", "PresharedKey", "AllowedIPs", "Endpoint",
    "PersistentKeepalive",
}  # fmt: skip


@pytest.fixture
def portal():
    with PortalDouble() as made:
        yield made


@pytest.fixture(params=["dash", pytest.param("busybox", marks=pytest.mark.long)])
def tools(request, tmp_path):
    for tool in (*OURS, request.param):
        require(shutil.which(tool), f"needs {tool}: see deploy/demo/packages.py")
    return bare(tmp_path / "bin", busybox=request.param == "busybox")


@pytest.fixture
def script(portal, tools, tmp_path):
    return Script(portal.url, tools, tmp_path)


ON_DASH = pytest.mark.parametrize("tools", ["dash"], indirect=True)


class Script:
    """The script for the portal at ``url``, with its files in ``dir`` and its token in a file."""

    def __init__(self, url, tools, folder):
        self.path, self.token, self.dir = folder / "enrol.sh", folder / "token", folder / "wireguard"
        self.path.write_text(filled_in(url))
        self.token.write_text(f"{TOKEN}\n")
        self.environment = {"PATH": str(tools), "LATCHKEY_TOKEN_FILE": str(self.token)}
        self.conf = self.dir / "latchkey.conf"
        self.key = self.dir / "latchkey.enrol.key"
        self.peer = self.dir / "latchkey.enrol.peer"
        self.said = ""

    def command(self, *words):
        return [f"{self.environment['PATH']}/sh", str(self.path), *words, f"--dir={self.dir}"]

    def ends(self, *words, **options):
        """Run it and return how it ended, whatever way that is."""
        given = {"stdin": subprocess.DEVNULL, **options} if "input" not in options else options
        return subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, timeout=60,
            check=False, **given,
        )  # fmt: skip

    def run(self, *words, code=0, **options):
        """Run it, expect that exit code, and return what it says: the last JSON object, or the text."""
        done = self.ends(*words, **options)
        self.said = done.stdout + done.stderr
        assert done.returncode == code, self.said
        if "--json" in words:
            return [json.loads(line) for line in done.stdout.splitlines()][-1]
        return done.stdout

    def files(self):
        return {path.name: path.read_text() for path in self.dir.iterdir()} if self.dir.exists() else {}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# --- Enrolling ---


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


# --- Secrets ---


@ON_DASH
def test_neither_token_nor_key_is_in_an_argument_an_environment_or_a_line_printed(script, portal, tmp_path):
    require(shutil.which("strace"), "needs strace")
    trace = tmp_path / "trace"
    keys: set[str] = set()
    watched = ["strace", "-f", "-v", "-s", "10000", "-e", "trace=execve", "-o", str(trace)]
    for words in (["enrol"], ["renew"], ["enrol", "--json"], ["down"]):
        done = subprocess.run(
            [*watched, *script.command(*words)], env=script.environment | {"PATH": os.environ["PATH"]},
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        keys |= {script.key.read_text().strip()} if script.key.exists() else set()
        seen = trace.read_text() + done.stdout + done.stderr
        assert "curl" in seen and "api/v1/peers" in seen
        assert [secret for secret in (TOKEN, *keys) if secret in seen] == []
    assert len(keys) == 1
    assert {asked.token for asked in portal.asked} == {TOKEN}


def test_the_token_comes_by_a_file_or_by_standard_input(script, portal):
    script.run("enrol", "--token-file", "-", input=f"{TOKEN}2\n")
    script.token.write_text(f"{TOKEN}3")  # without a new line
    script.run("enrol")
    assert [asked.token for asked in portal.asked] == [f"{TOKEN}2", f"{TOKEN}3"]


@pytest.mark.parametrize(
    "text", ["", "\n", 'x"\nurl = "file:///etc/passwd', "two words\n", "\u00fc\n", "x" * 201 + "\n"]
)
def test_what_is_no_token_is_not_sent_and_not_printed(script, portal, text):
    script.token.write_text(text)
    script.run("enrol", code=1)
    assert not portal.asked
    assert len(text) < 3 or text.strip() not in script.said


@ON_DASH
def test_a_token_as_an_argument_is_refused_and_not_repeated(script, portal):
    for words in ([TOKEN], ["--token", TOKEN], [f"--token={TOKEN}"], ["enrol", TOKEN]):
        script.run(*words, code=1)
        assert TOKEN not in script.said
    assert not portal.asked


@ON_DASH
def test_a_redirection_is_not_followed_with_the_token(script, portal):
    portal.headers = {"Location": f"{portal.url}/elsewhere"}
    portal.will_say(302)
    assert script.run("--json", code=7)["error"]["code"] == "no_portal"
    assert len(portal.asked) == 1


@ON_DASH
def test_settings_of_curls_user_change_nothing(script, portal, tmp_path):
    (tmp_path / ".curlrc").write_text(f'trace-ascii = "{tmp_path}/trace"\n')
    script.environment["HOME"] = str(tmp_path)
    script.run("enrol")
    assert not (tmp_path / "trace").exists()


# --- What the portal says ---

REFUSALS = [
    (400, "ttl_too_long", 3), (401, "token_invalid", 3), (403, "scope_missing", 3), (404, "interface_unknown", 3),
    (409, "peer_limit", 3), (409, "pool_exhausted", 4), (429, "too_many_requests", 4), (503, "unavailable", 4), (500, "server_error", 4),
]  # fmt: skip


@ON_DASH
@pytest.mark.parametrize(("status", "word", "code"), REFUSALS)
def test_a_refusal_has_its_exit_code_and_writes_no_configuration(script, portal, status, word, code):
    portal.will_refuse(status, word, "Say \u201cplease\u201d\u2026 \u001b[2J\u00fc\\")
    said = script.run("--json", code=code)
    assert (said["error"]["code"], said["exit"]) == (word, code)
    assert 'Say "please"... ?[2J?\\' in said["error"]["message"]
    assert set(script.files()) == {script.key.name}


@ON_DASH
@pytest.mark.parametrize("status", [400, 403, 404, 421])
def test_a_refusal_that_is_not_the_portals_own_is_none(script, portal, status):
    script.run("enrol")
    before = script.files()
    for verb in ("enrol", "renew", "down"):
        portal.next.append((status, lambda _: b"<html><body>default backend</body></html>"))
        script.run(verb, code=7)
    assert script.files() == before


def test_a_portal_that_cannot_be_reached_is_told_from_one_that_refuses(script, portal):
    script.path.write_text(filled_in(f"http://127.0.0.1:{free_port()}"))
    assert script.run("--json", code=4)["error"]["code"] == "unreachable"


def test_an_answer_that_breaks_off_is_none(script, portal):
    portal.headers = {"Content-Length": "100000"}
    script.run("enrol", code=4)
    assert not script.conf.exists()


HOSTILE = {
    "id": ["", "../../etc/passwd", "x", PEER["id"] + "\nttl 1", PEER["id"].upper(), 5, None, [PEER["id"]] * 2],
    "public_key": [rows.public_key(), "", None],
    "interface": ["", "wg0;reboot", "-x", "x" * 16, None],
    "addresses": [
        [], None, "", ["10.77.0.2"], ["10.77.0.256/32"], ["10.77.0.2/33"], ["10.77.0.2/32\nPostUp = reboot"],
        ["10.77.0.2/32", "$(reboot)"], ["10.77.0.2/32 "], ["fd00::2/129"], ["fe80::1%x/64"], [["10.77.0.2/32", "x"]],
    ],
    "state": ["", "live\nx", "LIVE", None],
    "expires_at": ["tomorrow", "2026-11-26T08:00:00.000Z\nx", 0, "2026-11-26T08:00:00+01:00"],
    "server_public_key": ["", None, "A" * 44, PEER["server_public_key"] + "\nPostUp = reboot"],
    "server_endpoint": ["", None, "vpn.example.com", "vpn.example.com:0", "vpn.example.com:65536", "-x:1", "a b:1",
                        "vpn.example.com:51820\nPostUp = reboot", "[fe80::1%x]:1", "$(reboot):1"],
    "client_allowed_ips": [[], None, ["0.0.0.0"], ["10.77.0.0/16, 0.0.0.0/0"], ["10.77.0.0/16\n[Peer]"]],
    "dns": [["10.77.0.1/32"], ["example.com"], ["10.77.0.1\nPostUp = reboot"], "x", [7]],
    "mtu": [0, 575, 65536, -1, "x", None, 1420.5, "1420\nPostUp = reboot", 10**30],
    "persistent_keepalive": [-1, 65536, "off", None],
    "preshared_key": ["x", "A" * 44, PEER["server_public_key"] + "\nPostUp = reboot"],
}  # fmt: skip
# Of what a portal says, what no JSON is any more: each would have all that a peer has.
NO_JSON = {
    "nothing": lambda text: b"",
    "a page": lambda text: b"<html>" + text + b"</html>",
    "a list": lambda text: b"[" + text + b"]",
    "its beginning": lambda text: text[:-1],
    "two": lambda text: text + text,
    "no comma": lambda text: text.replace(b", ", b" ", 1),
    "no colon": lambda text: text.replace(b": ", b" ", 1),
    "a comma at the end": lambda text: text[:-1] + b",}",
    "a comma in a list": lambda text: text.replace(b"]", b",]", 1),
    "a bare word": lambda text: text.replace(b'"live"', b"live", 1),
    "a new line in a text": lambda text: text.replace(b"build-7", b"build\n7"),
    "a bell in a text": lambda text: text.replace(b"build-7", b"build\a7"),
    "an unknown escape": lambda text: text.replace(b"build-7", b"build\\q7"),
    "half an escape": lambda text: text.replace(b"build-7", b"build\\u12"),
    "too deep": lambda text: text[:-1] + b', "x": ' + b"[" * 50 + b"]" * 50 + b"}",
}


@pytest.mark.parametrize("field", HOSTILE)
def test_a_value_that_is_not_what_it_must_be_goes_nowhere(script, portal, field):
    for value in HOSTILE[field]:
        portal.will_say(**{field: value})
        said = script.run("enrol", "--json", code=7)
        assert said["error"]["code"] == "no_portal", value
        assert set(script.files()) == {script.key.name}, value


@pytest.mark.parametrize("kind", NO_JSON)
def test_what_is_no_json_goes_nowhere(script, portal, kind):
    portal.next.append((200, NO_JSON[kind]))
    script.run("enrol", code=7)
    assert set(script.files()) == {script.key.name}


@ON_DASH
def test_an_answer_longer_than_any_is_none(script, portal):
    portal.next.append((200, lambda text: b" " * 100_000 + text))
    script.run("enrol", code=4)
    assert not script.conf.exists()


def test_what_the_portal_says_reaches_a_terminal_as_plain_letters_only(script, portal):
    portal.next.append(
        (403, lambda _: b'{"error": {"code": "no", "message": "a\xc3\xbc\xc2\x9b2J\x7f\\u001b[2J\\n."}}')
    )
    script.run("enrol", code=3)
    assert "The portal refuses: a????2J??[2J?. (no)" in script.said


def test_what_answers_wrongly_later_leaves_what_was_written(script, portal):
    script.run("enrol")
    before = script.files()
    for verb in ("enrol", "renew"):
        portal.will_say(200, server_endpoint="vpn.example.com:51820\nPostUp = reboot")
        script.run(verb, code=7)
        assert script.files() == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@ON_DASH
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(sorted({*PEER, "preshared_key"})), value=json_values)
def test_whatever_a_field_holds_the_file_has_its_known_lines_alone(script, portal, field, value):
    portal.will_say(**{field: value})
    assert script.ends("enrol").returncode in {0, 7}
    lines = script.conf.read_text().splitlines() if script.conf.exists() else []
    names = [line.partition(" = ")[0] for line in lines if line and not line.startswith("[")]
    assert set(names) <= FIELDS and len(names) == len(set(names))
    assert [line for line in lines if line.startswith("[")] in ([], ["[Interface]", "[Peer]"])


# --- Renewing and giving back ---


def test_renewing_asks_for_what_enrolling_asked_for(script, portal):
    script.run("enrol", "--ttl=300")
    portal.will_say(200, expires_at="2026-11-26T09:00:00.000Z")
    said = script.run("renew", "--json")
    assert said["expires_at"] == "2026-11-26T09:00:00.000Z"
    assert (portal.asked[-1].path, portal.asked[-1].body) == (
        f"/api/v1/peers/{PEER['id']}/renew",
        {"ttl": 300},
    )
    script.run("renew", "--ttl=400")
    assert portal.asked[-1].body == {"ttl": 400}


@pytest.mark.parametrize(("status", "word"), [(409, "expired"), (404, "not_found")])
def test_what_has_ended_meanwhile_is_enrolled_again_with_its_key(script, portal, status, word):
    script.run("enrol", "--ttl=300", "--interface=wg0")
    portal.will_refuse(status, word)
    script.run("renew")
    assert portal.asked[-1].path.startswith("/api/v1/peers?")
    assert portal.asked[-1].body == portal.asked[0].body


def test_after_a_lost_answer_the_same_key_is_enrolled(script, portal):
    portal.headers = {"Content-Length": "100000"}
    script.run("enrol", code=4)
    portal.headers = {}
    script.run("renew")
    assert len({asked.body["public_key"] for asked in portal.asked}) == 1
    assert script.conf.exists()


def test_renewing_is_refused_before_enrolling_and_after_a_revocation(script, portal):
    assert script.run("renew", "--json", code=6)["error"]["code"] == "not_enrolled"
    assert script.run("up", "--json", code=6)["error"]["code"] == "not_enrolled"
    script.run("enrol")
    portal.will_refuse(409, "not_active")
    script.run("renew", code=3)


def test_down_revokes_and_forgets_and_needs_nothing_the_second_time(script, portal):
    script.run("enrol")
    assert script.run("down", "--json")["revoked"] is True
    assert (portal.asked[-1].method, portal.asked[-1].path) == ("DELETE", f"/api/v1/peers/{PEER['id']}")
    assert script.files() == {}
    script.token.unlink()
    assert script.run("down", "--json")["revoked"] is False


def test_what_the_portal_knows_no_more_is_forgotten_too(script, portal):
    script.run("enrol")
    portal.will_refuse(404, "not_found")
    assert script.run("down", "--json")["revoked"] is True
    assert script.files() == {}


@pytest.mark.parametrize(
    ("status", "word", "code"),
    [(403, "scope_missing", 3), (404, "interface_unknown", 3), (503, "unavailable", 4)],
)
def test_what_could_not_be_revoked_is_not_forgotten(script, portal, status, word, code):
    script.run("enrol")
    before = script.files()
    portal.will_refuse(status, word)
    script.run("down", code=code)
    assert script.files() == before


def test_down_after_a_lost_answer_finds_the_peer_by_its_key(script, portal):
    script.run("enrol")
    script.peer.unlink()
    script.run("down")
    assert [asked.method for asked in portal.asked] == ["POST", "POST", "DELETE"]
    assert script.files() == {}


class Renewing:
    """``renew --every 1`` in the background."""

    def __init__(self, script, *words):
        self.process = subprocess.Popen(
            script.command("renew", "--every=1", *words), env=script.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def __enter__(self):
        return self.process

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()


def eventually(holds, within=20):
    give_up = time.monotonic() + within
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_renewing_goes_on_through_an_outage_and_ends_when_it_is_told_to(script, portal):
    script.run("enrol")
    portal.will_refuse(503, "unavailable")
    portal.will_say(202, server_endpoint="")
    with Renewing(script) as process:
        eventually(lambda: len(portal.asked) >= 5)
        process.terminate()
        assert process.wait(10) == 0
    assert script.conf.exists()


@ON_DASH
def test_renewing_ends_at_once_even_while_the_portal_is_silent(script, portal):
    script.run("enrol")
    portal.answer = lambda asked: time.sleep(5) or (204, b"")
    with Renewing(script) as process:
        eventually(lambda: len(portal.asked) == 2)
        asked = time.monotonic()
        process.terminate()
        assert process.wait(10) == 0
        print(f"ended {time.monotonic() - asked:.2f} s after SIGTERM")


def test_renewing_ends_when_it_is_refused_and_when_the_machine_was_given_back(script, portal):
    script.run("enrol")
    portal.will_refuse(403, "not_entitled")
    with Renewing(script) as process:
        assert process.wait(20) == 3
    with Renewing(script) as process:
        eventually(lambda: len(portal.asked) >= 4)
        script.run("down")
        assert process.wait(20) in {0, 3}
    assert script.files() == {}


# --- Use ---


@ON_DASH
def test_a_dry_run_changes_nothing_and_asks_nobody(script, portal):
    assert script.run("--dry-run").count("Would") == 3
    assert script.files() == {} and not portal.asked
    script.run("enrol")
    before = script.files()
    for verb in ("enrol", "up", "renew", "down"):
        assert "Would" in script.run(verb, "--dry-run")
        assert "would" in script.run(verb, "--dry-run", "--json")
    assert script.files() == before and len(portal.asked) == 1


WRONG = [
    ["--ttl=x"], ["--ttl=0"], ["--ttl"], ["--wait=31"], ["--name=a/b"], ["--name=../x"], ["--name=" + "x" * 16],
    ["--name=-x"], ["--interface=a b"], ["--peer-name=a\nb"], ['--peer-name="'], ["--peer-name=\\"], ["--every=5"],
    ["renew", "--down"], ["renew", "--new-key"], ["--json=1"], ["--nonsense"], ["nonsense"], ["--token-file="],
    ["--token-file=/nowhere"],
]  # fmt: skip


@ON_DASH
@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_use_is_said_before_anything_is_done(script, portal, words):
    script.run(*words, code=1)
    assert script.files() == {} and not portal.asked


@ON_DASH
def test_a_folder_must_be_absolute(script):
    script.dir = "wireguard"
    script.run("enrol", code=1)


@ON_DASH
@pytest.mark.parametrize(("verb", "tool"), [("enrol", "wg"), ("enrol", "curl"), ("up", "ip"), ("down", "ip")])
def test_a_missing_tool_is_named(script, tools, verb, tool):
    script.run("enrol")
    (tools / tool).unlink()
    assert tool in script.run(verb, "--json", code=2)["error"]["message"]


@ON_DASH
def test_where_nothing_can_be_written_nothing_is_enrolled(script, portal):
    script.dir.write_text("a file")
    assert script.run("--json", code=6)["error"]["code"] == "files"
    assert not portal.asked


@ON_DASH
def test_a_configuration_of_somebody_elses_is_left_alone(script, portal):
    script.dir.mkdir()
    script.conf.write_text("theirs")
    assert script.run("--json", code=6)["error"]["code"] == "not_ours"
    assert script.files() == {"latchkey.conf": "theirs"} and not portal.asked


def test_half_of_the_script_does_nothing(script, portal):
    lines = script.path.read_text().splitlines(keepends=True)
    for end in range(10, len(lines), 60):
        script.path.write_text("".join(lines[:end]))
        script.ends()
    assert script.files() == {} and not portal.asked


@ON_DASH
def test_the_script_says_where_it_comes_from_when_no_portal_served_it(script):
    script.path.write_text(SOURCE.read_text())
    script.run("enrol", code=1)
    assert "/enrol.sh" in script.said


def test_shellcheck_has_nothing_to_say(tmp_path):
    require(shutil.which("shellcheck"), "needs shellcheck: Debian's package shellcheck")
    served = tmp_path / "enrol.sh"
    served.write_text(filled_in("https://portal.example.com"))
    for path in (SOURCE, served):
        done = subprocess.run(["shellcheck", "-s", "sh", path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def test_help_names_each_option_that_is_read(script):
    read = set(re.findall(r"^ +(--[a-z-]+)(?:\)| \|)|(?<=\| )(--[a-z-]+)", SOURCE.read_text(), re.MULTILINE))
    assert {word for pair in read for word in pair if word} == set(
        re.findall(r"^  (--[a-z-]+)", script.run("--help"), re.MULTILINE)
    )
