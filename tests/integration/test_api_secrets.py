"""Neither a token nor a preshared key is in a log, in the audit, in an error or in a cached answer."""

import json

import pytest
import requests

from peers.models import ApiToken, Interface, Peer
from tests import rows
from tests.integration.conftest import free_port
from tests.integration.programs import PEERS, REGISTER
from tests.integration.served import ServedPortal
from tests.integration.test_api_tokens import tables


@pytest.fixture
def portal(builders, database, collected, tmp_path):
    """Serve the portal as it is deployed."""
    Interface.objects.update(use_preshared_keys=True)
    environment = {**database.environment("latchkey_web"), "LATCHKEY_STATIC_ROOT": str(collected)}
    with ServedPortal(free_port(), environment, tmp_path / "portal.log") as running:
        yield running


def call_all(portal, text):
    """Call every route with the token, well and badly, and return all that was answered but for enrolments."""
    headers, url = {"Authorization": f"Bearer {text}"}, f"{portal.url}{PEERS}"
    made = requests.post(url, json={"public_key": rows.public_key()}, headers=headers, timeout=20)
    secret, pk = made.json()["preshared_key"], made.json()["id"]
    with requests.Session() as session:
        session.headers.update(headers)
        answers = [
            session.get(url, timeout=20),
            session.get(f"{url}/{pk}", timeout=20),
            session.patch(f"{url}/{pk}", json={"name": "x"}, timeout=20),
            session.post(f"{url}/{pk}/renew", timeout=20),
            session.post(url, json={"public_key": rows.public_key(), "preshared_key": secret}, timeout=20),
            session.post(url, json={"public_key": f"{secret}="}, timeout=20),
            session.post(url, json={"public_key": rows.public_key(), "name": f"{text}/"}, timeout=20),
            session.post(f"{portal.url}{REGISTER}", json={"public_key": text}, timeout=20),
            session.post(url, data=text, timeout=20),
            session.get(url, params={"cursor": text, "token": text}, timeout=20),
            session.get(url, params={"name": text + "/"}, timeout=20),
            session.delete(f"{url}/{pk}", timeout=20),
            requests.get(url, headers={"Authorization": f"Token {text}"}, timeout=20),
            requests.get(url, headers={"Authorization": f"Bearer {text}x"}, timeout=20),
        ]
    return secret, [answer.text for answer in answers]


def test_no_log_line_no_row_and_no_error_holds_a_secret(portal, builders, database):
    token, text = rows.token(builders)
    secret, answers = call_all(portal, text)
    log = portal.log.read_text()
    assert f'"path": "{PEERS}"' in log
    kept = "".join(database.sql(f"SELECT to_jsonb(t) FROM {table} t") for table in tables(database))
    assert token.beginning in kept
    for place in (log, kept, *answers):
        assert text not in place
        assert text.removeprefix(token.beginning) not in place
        assert secret not in place
    assert ApiToken.objects.get().last_used_from == "127.0.0.1"


def test_a_log_line_has_no_query_and_no_header(portal, builders):
    _, text = rows.token(builders)
    call_all(portal, text)
    for line in portal.log.read_text().splitlines():
        if line.startswith("{"):
            assert "?" not in json.loads(line).get("path", "")
    assert "Bearer" not in portal.log.read_text()


def test_no_answer_may_be_kept_by_a_cache(portal, builders):
    headers = {"Authorization": f"Bearer {rows.token(builders)[1]}"}
    made = requests.post(
        f"{portal.url}{PEERS}", json={"public_key": rows.public_key()}, headers=headers, timeout=20
    )
    read = requests.get(f"{portal.url}{PEERS}", headers=headers, timeout=20)
    refused = requests.get(f"{portal.url}{PEERS}", timeout=20)
    for answer in (made, read, refused):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_neither_a_token_nor_a_key_is_part_of_what_an_object_says_of_itself(builders, wg0):
    Interface.objects.update(use_preshared_keys=True)
    wg0.refresh_from_db()
    token, text = rows.token(builders)
    machine = rows.machine(builders, wg0)
    for thing in (token, machine, Peer.objects.get(), ApiToken.objects.get()):
        assert text not in f"{thing!r}{thing}"
        assert machine.preshared_key not in f"{thing!r}{thing}"
