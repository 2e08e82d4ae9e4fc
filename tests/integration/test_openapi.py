"""The OpenAPI file: valid, with an example of everything, and its patterns are the rules of the services."""

import json
import unicodedata

import jsonschema_rs
import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from hypothesis import example, given
from hypothesis import strategies as st
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from peers.api.schemas import KEY, KEY_PATTERN, NAME_PATTERN, SERVERS_KEY
from peers.forms import INVISIBLE, NAME_SIGNS, peer_name
from peers.models.interface import INTERFACE_NAME
from peers.wireguard import keys
from tests.unit.test_keys import LOW_ORDER, NOT_THE_SHAPE, P, as_text

OPERATIONS = {
    "list_peers", "enrol_peer", "read_peer", "rename_peer", "renew_peer", "revoke_peer", "list_interfaces",
}  # fmt: skip


@pytest.fixture
def document():
    """Return the file as it is served, to whoever asks."""
    answer = Client().get("/api/v1/openapi.json")
    assert answer.status_code == 200
    return json.loads(answer.content)


def operations(document):
    return [operation for path in document["paths"].values() for operation in path.values()]


# --- The document ---


def test_it_is_openapi_3_1_and_valid(document):
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []


def test_its_operations_have_the_names_that_generated_clients_go_by(document):
    assert {operation["operationId"] for operation in operations(document)} == OPERATIONS


def test_every_operation_says_what_it_is_and_asks_for_a_token(document):
    assert document["components"]["securitySchemes"] == {"Bearer": {"type": "http", "scheme": "bearer"}}
    for operation in operations(document):
        assert operation["summary"] and operation["description"]
        assert operation["security"] == [{"Bearer": []}]


def test_every_operation_names_the_refusals_that_any_may_meet_and_what_comes_with_them(document):
    for operation in operations(document):
        answers = operation["responses"]
        assert {"400", "401", "403", "429", "503"} <= set(answers)
        assert "422" not in answers
        assert answers["401"]["headers"]["WWW-Authenticate"]["required"]
        assert "Retry-After" in answers["429"]["headers"]
        assert "Retry-After" in answers["503"]["headers"]
        for status, answer in answers.items():
            if status >= "400":
                assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorOut")


def test_every_link_leads_to_an_operation_and_a_parameter_of_its(document):
    known = {
        operation["operationId"]: {parameter["name"] for parameter in operation["parameters"]}
        for operation in operations(document)
    }
    links = [
        link
        for operation in operations(document)
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert {link["operationId"] for link in links} == OPERATIONS - {"enrol_peer", "list_interfaces"}
    for link in links:
        assert set(link["parameters"]) <= known[link["operationId"]]


# --- Examples ---


def examples_of(schema):
    return schema.get("examples") or ([schema["example"]] if "example" in schema else [])


def test_every_field_and_every_parameter_has_an_example_that_it_would_take(document, subtests):
    root = {"components": document["components"]}
    for name, schema in document["components"]["schemas"].items():
        for field, value in schema.get("properties", {}).items():
            with subtests.test(f"{name}.{field}"):
                refers = "$ref" in value or "$ref" in value.get("items", {})
                found = examples_of(value) or [
                    each for way in value.get("anyOf", ()) for each in examples_of(way)
                ]
                assert found or refers
                for each in found:
                    assert jsonschema_rs.validator_for({**root, **value}).is_valid(each)
    for operation in operations(document):
        for parameter in operation["parameters"]:
            with subtests.test(f"{operation['operationId']} {parameter['name']}"):
                assert jsonschema_rs.validator_for({**root, **parameter["schema"]}).is_valid(
                    parameter["example"]
                )


def test_every_refusal_has_an_example_of_its_own_that_is_shaped_as_errors_are(document):
    shape = {"components": document["components"], "$ref": "#/components/schemas/ErrorOut"}
    for operation in operations(document):
        refused = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        examples = {
            status: answer["content"]["application/json"]["example"] for status, answer in refused.items()
        }
        assert len({each["error"]["code"] for each in examples.values()}) == len(refused)
        assert all(jsonschema_rs.validator_for(shape).is_valid(each) for each in examples.values())


def test_the_examples_of_keys_are_keys():
    assert is_key(KEY) and is_key(SERVERS_KEY)


# --- What patterns say is what the services do ---


def validator(pattern):
    return jsonschema_rs.validator_for({"type": "string", "pattern": pattern})


def is_name(text):
    try:
        return bool(peer_name(text))
    except ValidationError:
        return False


def is_key(text):
    try:
        return bool(keys.public_key(text))
    except keys.InvalidKey:
        return False


# Whatever this Python's Unicode knows; a validator may know a later one.
characters = st.characters(exclude_categories=("Cn", "Cs", "Co"))
likely = st.sampled_from(
    [*"aZ09 \t\n\r\x1c\x85\xa0\u2003\u3000\ufeff/=", *NAME_SIGNS, *INVISIBLE, "é", "东", "\u0301"]
)
names = st.text(characters | likely, max_size=70).map(lambda text: unicodedata.normalize("NFC", text))


@given(names)
@example("")
@example(" ")
@example("x" * 64)
@example("x" * 65)
@example(" " + "x" * 64 + "\u2003\n")
@example("\n\u3164")
@example("a\n\u115fb")
@example("-")
@example("_- ")
@example("a b")
@example("a\nb")
def test_a_name_in_nfc_is_taken_exactly_when_it_matches_the_pattern(text):
    assert validator(NAME_PATTERN).is_valid(text) == is_name(text)


def test_every_single_character_is_taken_exactly_when_it_matches_the_pattern():
    match = validator(NAME_PATTERN)
    for code in range(0x3000):
        character = chr(code)
        if unicodedata.category(character) not in ("Cn", "Cs") and unicodedata.is_normalized(
            "NFC", character
        ):
            assert match.is_valid(character) == is_name(character), hex(code)


def test_a_key_that_is_taken_matches_the_pattern_and_one_that_does_not_is_refused():
    match = validator(KEY_PATTERN)
    for text in NOT_THE_SHAPE.values():
        assert not match.is_valid(text)
    for number in (2**255, 2**255 + 9, 2**256 - 1):
        assert not match.is_valid(as_text(number))
    for number in (9, 2**200, 2**254 + 12345):
        assert match.is_valid(as_text(number)) and is_key(as_text(number))


@given(st.integers(0, 2**256 - 1))
@example(P - 2)
@example(2**255 - 1)
def test_of_random_keys_the_pattern_leaves_out_those_with_bit_255_alone(number):
    text = as_text(number)
    assert validator(KEY_PATTERN).is_valid(text) == (number < 2**255)
    if number not in LOW_ORDER and not P <= number < 2**255:
        assert is_key(text) == (number < 2**255)


@pytest.mark.parametrize("name", ["wg0", "a", "x" * 15, "office.de", "_=+."])
def test_an_interface_has_a_name_of_its_pattern(name):
    assert validator(INTERFACE_NAME).is_valid(name)
