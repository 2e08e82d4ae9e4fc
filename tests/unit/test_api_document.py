"""docs/api.md names every code, state, route, scope and rate that the API has, and none that it has not."""

import ast
import re
from http import HTTPStatus

from django.conf import settings

from peers import services
from peers.api import application, errors
from peers.models import Scope
from peers.states import State
from portal import errors as pages
from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs" / "api.md").read_text()
# What only people meet: on the pages of links and of tokens, and at a command.
ELSEWHERE = (
    services.Refused,
    services.LinkInvalid,
    services.NotOwner,
    services.TokenLimit,
    services.TokenNameTaken,
    services.TokenTooLong,
)
NOT_OF_THE_API = {refused.code for refused in ELSEWHERE}
# The portal's own answers, whatever is called.
OF_THE_PORTAL = (400, 404, 405, 413, 429, 500, 503)
REGISTER = "register.py"  # which says a sentence, and no code


def section(heading):
    return DOCUMENT.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def cells(heading):
    """Return the rows of the tables below a heading, as texts, without those that say what the columns are."""
    lines = re.findall(r"^\| (.*) \|$", section(heading), re.MULTILINE)
    found = [re.split(r" \| ", line) for line in lines]
    return [row for row in found if row[0].startswith("`")]


def refusals():
    """Return the code of every refusal of the services that a program may meet, with its status."""
    kinds = [kind for kind in services.Refused.__subclasses__() if kind.code not in NOT_OF_THE_API]
    return {(kind.code, int(errors.STATUSES.get(kind.code, HTTPStatus.CONFLICT))) for kind in kinds}


def written():
    """Return each code that the API's own files refuse with, and its status."""
    for path in sorted((ROOT / "peers" / "api").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ApiError" and path.name != REGISTER:
                status, code = node.args[:2]
                if isinstance(code, ast.Constant):
                    known = isinstance(status, ast.Attribute) and status.attr in HTTPStatus.__members__
                    yield code.value, int(HTTPStatus[status.attr]) if known else 400


def codes():
    of_fields = {(code, 400) for code in (*application.CODES.values(), "invalid")}
    of_the_portal = {(pages.CODES[status], status) for status in OF_THE_PORTAL}
    return refusals() | set(written()) | of_fields | of_the_portal


def test_every_code_has_a_line_with_its_status_and_every_line_is_a_code():
    found = {(code.strip("`"), int(status)) for code, status, _ in cells("Errors")}
    assert found == codes()
    assert len(found) == len(cells("Errors"))


def test_every_code_has_something_to_do():
    assert all(len(todo) > 10 for _, _, todo in cells("Errors"))


def test_every_state_has_a_line():
    assert [state.strip("`") for state, _ in cells("States")] == [state.value for state in State]


def test_every_scope_has_a_line():
    assert {scope.strip("`") for scope, _ in cells("Authentication")} == set(Scope)


def test_every_rate_has_a_line_with_its_default():
    assert {
        rate.strip("`"): int(number) for rate, number, _ in cells("Limits")
    } == settings.LATCHKEY_RATE_LIMITS


def test_every_route_has_an_example_that_can_be_pasted():
    examples = re.findall(r"^curl -H @auth.*$", DOCUMENT, re.MULTILINE)
    asked = [re.search(r"\$PORTAL(/[^\"?]*)", line)[1].replace("$ID", "{peer_id}") for line in examples]
    methods = [
        re.search(r"-X (\w+)", line)[1] if "-X" in line else "POST" if "--json" in line else "GET"
        for line in examples
    ]
    served = application.api.get_openapi_schema(path_prefix="/api/v1/")["paths"]
    routes = {(method.upper(), path) for path, methods in served.items() for method in methods}
    assert set(zip(methods, asked, strict=True)) == routes | {("POST", "/register")}


def test_no_example_shows_a_token_to_whoever_lists_processes():
    assert "Bearer $" not in DOCUMENT
    assert not re.search(r"curl .*Authorization", DOCUMENT)
