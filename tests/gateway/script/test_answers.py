"""What the portal says: each refusal has its exit code, and nothing goes further that is not what it must be."""

import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peers.api.script import filled_in
from tests import rows
from tests.gateway.portal_double import PEER
from tests.gateway.script.calling import ON_DASH
from tests.integration.conftest import free_port

FIELDS = {
    "PrivateKey", "Address", "DNS", "MTU", "PublicKey", "PresharedKey", "AllowedIPs", "Endpoint",
    "PersistentKeepalive",
}  # fmt: skip
REFUSALS = [
    (400, "ttl_too_long", 3), (401, "token_invalid", 3), (403, "scope_missing", 3), (404, "interface_unknown", 3),
    (409, "peer_limit", 3), (409, "pool_exhausted", 4), (429, "too_many_requests", 4), (503, "unavailable", 4),
    (500, "server_error", 4),
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


@pytest.mark.long  # it waits for as long as the script does
def test_a_portal_that_falls_silent_is_waited_for_a_quarter_of_a_minute(script, portal):
    script.run("enrol")
    silent = threading.Event()
    portal.answer = lambda _: silent.wait(60) and (204, b"")
    asked = time.monotonic()
    script.run("renew", code=4)
    assert 14 < time.monotonic() - asked < 30
    silent.set()


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
        ["10.77.0.2/32", "$(reboot)"], ["10.77.0.2/32 "], ["fd00::2/129"], [":::/64"], ["1::2::3/64"], ["1:2:3:4:5:6:7:8:9/64"], ["fe80::1%x/64"], [["10.77.0.2/32", "x"]],
    ],
    "state": ["", "live\nx", "LIVE", None],
    "expires_at": ["tomorrow", "2026-99-26T08:00:00Z", "2026-11-26T24:00:00Z", "2026-11-26T08:00:00.000Z\nx", 0, "2026-11-26T08:00:00+01:00", ["2026-11-26T08:00:00Z"] * 2],
    "server_public_key": ["", None, "A" * 44, PEER["server_public_key"] + "\nPostUp = reboot"],
    "server_endpoint": ["", None, "vpn.example.com", "vpn.example.com:0", "vpn.example.com:65536", "-x:1", "a b:1",
                        "vpn.example.com:51820\nPostUp = reboot", "[fe80::1%x]:1", "[:::]:1", "[1:2:3:4:5:6:7]:1", "a..b:1", "a-.b:1", "$(reboot):1"],
    "client_allowed_ips": [[], None, ["0.0.0.0"], ["10.77.0.0/16, 0.0.0.0/0"], ["10.77.0.0/16\n[Peer]"]],
    "dns": [["10.77.0.1/32"], ["example.com"], ["10.77.0.1\nPostUp = reboot"], "x", [7]],
    "mtu": [0, 575, 65536, -1, "x", None, 1420.5, "1420\nPostUp = reboot", 10**30],
    "persistent_keepalive": [-1, 65536, "off", None],
    "preshared_key": ["x", "A" * 44, [PEER["server_public_key"]] * 2, PEER["server_public_key"] + "\nPostUp = reboot"],
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
