"""What the API takes for a body, a key and a name; what it refuses is neither kept nor said again."""

import json
import logging

import pytest

from peers.models import AuditEvent, Peer
from tests import rows
from tests.integration.programs import INTERFACES, PEERS, REGISTER, told
from tests.unit.test_keys import GOOD, LOW_ORDER, NOT_THE_SHAPE, P, as_text

KEY = rows.public_key()
RIGHT = {"public_key": KEY}


def body(**fields):
    return json.dumps({**RIGHT, **fields}).encode()


def nested(depth):
    """Return an object with a field of so many lists in each other."""
    return body(name="a")[:-1] + b', "x": ' + b"[" * depth + b"]" * depth + b"}"


# Each body with its status, its code and its field.
BODIES = {
    "nothing": (b"", 400, "bad_json", None),
    "no JSON": (b"public_key=x", 400, "bad_json", None),
    "half an object": (b'{"public_key": ', 400, "bad_json", None),
    "something after it": (body() + b"{}", 400, "bad_json", None),
    "a list": (b"[" + body() + b"]", 400, "bad_json", None),
    "a text": (b'"x"', 400, "bad_json", None),
    "a number": (b"1", 400, "bad_json", None),
    "null": (b"null", 400, "bad_json", None),
    "another encoding": (body().decode().encode("utf-16"), 400, "bad_json", None),
    "bytes that are no UTF-8": (b'{"public_key": "\xff"}', 400, "bad_json", None),
    "a byte order mark": (b"\xef\xbb\xbf" + body(), 400, "bad_json", None),
    "NaN": (b'{"public_key": "x", "ttl": NaN}', 400, "bad_json", None),
    "Infinity": (b'{"public_key": "x", "ttl": -Infinity}', 400, "bad_json", None),
    "a number without end": (b'{"public_key": "x", "ttl": ' + b"9" * 5000 + b"}", 400, "bad_json", None),
    "a field twice": (b'{"public_key": "x", "public_key": "x"}', 400, "bad_json", None),
    "a field twice further in": (b'{"public_key": {"a": 1, "a": 2}}', 400, "bad_json", None),
    "four levels": (nested(3), 400, "unknown_field", "x"),
    "five levels": (nested(4), 400, "bad_json", None),
    "a thousand levels": (nested(1000), 400, "bad_json", None),
    "eight thousand levels": (nested(8000), 400, "bad_json", None),
    "a NUL": (body(name="a\0b"), 400, "bad_json", None),
    "a NUL in a field's name": (body(**{"a\0b": 1}), 400, "bad_json", None),
    "half a surrogate pair": (b'{"public_key": "x", "name": "\\ud800"}', 400, "bad_json", None),
    "16 KiB": (body(name="x" * 16384)[:16383] + b"", 400, "bad_json", None),
    "more than 16 KiB": (body(name="x" * 16384), 413, "too_large", None),
    "more than 64 KiB": (body(name="x" * 65536), 413, "too_large", None),
    "no key": (b'{"name": "x"}', 400, "required", "public_key"),
    "a key that is null": (b'{"public_key": null}', 400, "invalid", "public_key"),
    "a key that is a number": (b'{"public_key": 1}', 400, "invalid", "public_key"),
    "a field too many": (body(platform="linux"), 400, "unknown_field", "platform"),
    "a private key": (body(private_key=KEY), 400, "unknown_field", "private_key"),
    "a field with a name of ours": (body(wanted=1), 400, "unknown_field", "wanted"),
    "a field with a name of the library's": (body(body=1), 400, "unknown_field", "body"),
    "an owner": (body(owner=1), 400, "unknown_field", "owner"),
    "a name that is a number": (body(name=1), 400, "invalid", "name"),
    "an interface that is too long": (body(interface="x" * 16), 400, "invalid", "interface"),
    "an interface that is a list": (body(interface=["wg0"]), 400, "invalid", "interface"),
}


def test_a_body_is_one_small_flat_object_without_surprises(builder, subtests):
    for case, (sent, *refusal) in BODIES.items():
        with subtests.test(case):
            assert told(builder.send(sent)) == tuple(refusal)
    assert not Peer.objects.exists()


def test_a_body_of_just_sixteen_kibibytes_is_read(builder):
    sent = body() + b" " * (16384 - len(body()))
    assert builder.send(sent).status_code == 201
    assert builder.send(sent + b" ").status_code == 413


def test_the_kind_of_the_body_need_not_be_named(builder):
    answer = builder.browser.generic("POST", PEERS, body(), content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 201


BAD_KEYS = {
    **NOT_THE_SHAPE,
    **{f"low order: {number}": as_text(number) for number in LOW_ORDER},
    "the field's prime and two": as_text(P + 2),
    "bit 255": as_text(9 + 2**255),
    "a configuration": f"[Interface]\nPrivateKey = {GOOD}\n",
    "a line of one": f"PrivateKey = {GOOD}",
}


def test_a_key_is_one_that_wireguard_can_use(builder, subtests, caplog):
    caplog.set_level(logging.DEBUG)
    for case, key in BAD_KEYS.items():
        with subtests.test(case):
            answer = builder.post(PEERS, {"public_key": key})
            expected = "bad_json" if "\0" in key else "invalid_key"
            assert told(answer)[:2] == (400, expected)
            if len(key) > 2:
                assert key not in answer.json()["error"]["message"]
    for key in BAD_KEYS.values():
        assert len(key) < 40 or key not in caplog.text
    assert not Peer.objects.exists()


NAMES = {
    "any script": ("東京 3号", 201),
    "a combining mark": ("e\u0301" * 64, 201),
    "64 characters": ("x" * 64, 201),
    "white space around it": ("  x\u2003", 201),
    "65 characters": ("x" * 65, 400),
    "nothing": ("", 400),
    "white space": (" \t ", 400),
    "a new line": ("a\nPostUp = id", 400),
    "a right-to-left override": ("a\u202eb", 400),
    "a zero-width joiner": ("a\u200db", 400),
    "a filler that draws nothing": ("\u3164", 400),
    "a tag": ("<script>", 400),
    "an emoji": ("💻", 400),
    "a character that may grow": ("\ufb2c" * 64, 400),
}


def test_a_name_is_what_people_could_read(builder, subtests):
    pk = builder.enrol().json()["id"]
    for case, (name, status) in NAMES.items():
        with subtests.test(case):
            made, renamed, listed = builder.enrol(name=name), builder.rename(pk, name), builder.get(name=name)
            if status == 201:
                assert (made.status_code, renamed.status_code, listed.status_code) == (201, 200, 200)
                assert listed.json()["items"][0]["name"] == made.json()["name"] == renamed.json()["name"]
            else:
                assert {told(answer) for answer in (made, renamed, listed)} == {(400, "invalid_name", "name")}


def test_the_other_routes_take_no_more_than_they_say(builder):
    pk = builder.enrol().json()["id"]
    assert told(builder.renew(pk, name="x")) == (400, "unknown_field", "name")
    assert told(builder.renew(pk, ttl=59)) == (400, "invalid", "ttl")
    assert told(builder.send(b"[]", f"{PEERS}/{pk}/renew")) == (400, "bad_json", None)
    patch = builder.browser.patch
    for fields, refusal in (
        ({"name": "x", "public_key": KEY}, (400, "unknown_field", "public_key")),
        ({"name": "x", "expires_at": None}, (400, "unknown_field", "expires_at")),
        ({}, (400, "required", "name")),
        ({"name": None}, (400, "invalid", "name")),
    ):
        assert told(patch(f"{PEERS}/{pk}", fields, content_type="application/json")) == refusal


def test_nothing_that_was_refused_is_on_record(builder):
    for sent, *_ in BODIES.values():
        builder.send(sent)
        builder.send(sent, REGISTER)
    assert set(AuditEvent.objects.values_list("action", flat=True)) <= {"make_token"}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", PEERS), ("GET", INTERFACES), ("DELETE", f"{PEERS}/{{peer_id}}")]
)
def test_a_body_that_nobody_asked_for_gets_a_documented_answer(builder, builders, wg0, method, path):
    address = path.format(peer_id=rows.machine(builders, wg0).pk)
    answer = builder.browser.generic(method, address, b" " * 70_000, content_type="application/json")
    documented = builder.get("/api/v1/openapi.json").json()["paths"][path][method.lower()]["responses"]
    assert str(answer.status_code) in documented
