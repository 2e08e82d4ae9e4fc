"""`POST /register`: the small contract of scripts, to the letter, and `?wait`, where no gateway answers."""

import os
import resource
import time
from contextlib import ExitStack
from threading import Thread
from uuid import uuid4

import pytest
import requests
from django.db import connection
from django.test import Client
from django.utils import timezone

from peers import services
from peers.api import register, waiting
from peers.models import Interface, Peer
from peers.signals import READ_BACK
from peers.states import read_back
from tests import rows
from tests.integration.conftest import free_port
from tests.integration.programs import PEERS, REGISTER, Program, told
from tests.integration.served import ServedPortal
from tests.integration.test_services import at_once


@pytest.fixture
def impatient(monkeypatch):
    """Have the portal wait for a moment where it would wait for ten seconds."""
    monkeypatch.setattr(register, "PATIENCE", 0.05)


def text_of(answer):
    """Return the sentence of an error of ``/register``, which is all that it says."""
    body = answer.json()
    assert set(body) == {"error"}
    assert isinstance(body["error"], str)
    return body["error"]


# --- /register ---


def on_at_once(monkeypatch, status):
    """Let the interface hold a peer by the time that anybody looks, as a gateway has it within milliseconds."""
    look = waiting.until_on

    def looked(enrolled, public_key, seconds):
        if not enrolled.peer.statuses.exists():
            status(enrolled.peer)
        return look(enrolled, public_key, seconds)

    monkeypatch.setattr(register.waiting, "until_on", looked)


def test_what_is_registered_is_told_its_address_and_the_server(builder, wg0, gateway, status, monkeypatch):
    gateway()
    on_at_once(monkeypatch, status)
    key = rows.public_key()
    made, again = builder.register(key), builder.register(key)
    address = str(Peer.objects.get().addresses[0].ip)
    assert (made.status_code, again.status_code) == (201, 200)
    assert made["Content-Type"] == "application/json"
    assert made.json() == {
        "message": "Peer registered",
        "allocated_ip": address,
        "ip_address": address,
        "server_public_key": wg0.public_key,
        "server_endpoint": wg0.endpoint,
    }
    assert again.json() == {**made.json(), "message": "Peer already registered"}
    assert "/" not in address
    assert "." in address


def test_a_machine_that_is_not_on_the_interface_in_time_is_told_to_ask_again(builder, impatient, gateway):
    gateway()
    key = rows.public_key()
    answers = [builder.register(key) for _ in range(2)]
    for answer in answers:
        assert (answer.status_code, int(answer["Retry-After"])) == (503, 2)
        assert text_of(answer) == "The device is enrolled, but not on the interface yet. Ask again."
    assert Peer.objects.entitled(timezone.now()).count() == 1


BAD = {
    "nothing": b"",
    "no JSON": b"public_key=x",
    "a list": b"[]",
    "an empty object": b"{}",
    "null": b'{"public_key": null}',
    "a number": b'{"public_key": 1}',
    "no key of WireGuard's": b'{"public_key": "x"}',
    "a field too many": b'{"public_key": "x", "name": "y"}',
    "a field twice": b'{"public_key": "x", "public_key": "y"}',
}


def test_what_makes_no_sense_is_400_with_a_sentence(builder, subtests):
    for case, body in BAD.items():
        with subtests.test(case):
            answer = builder.send(body, REGISTER)
            assert answer.status_code == 400
            assert text_of(answer)
    assert not Peer.objects.exists()


@pytest.mark.parametrize("text", ["", "latchkey_" + "x" * 43])
def test_without_a_token_it_is_401_with_a_sentence(wg0, text):
    answer = Program(text).register()
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="latchkey"')
    assert text_of(answer)


def test_every_other_refusal_is_a_sentence_too(builder, builders, laptop, wg0, database, settings):
    revoked = rows.machine(builders, wg0)
    key = revoked.key.public_key
    builder.revoke(revoked.pk)
    assert (builder.register(key).status_code, bool(text_of(builder.register(key)))) == (409, True)
    answer = builder.register(laptop.key.public_key)
    assert (answer.status_code, bool(text_of(answer))) == (409, True)
    answer = builder.send(b'"' + b"x" * 20_000 + b'"', REGISTER)
    assert (answer.status_code, bool(text_of(answer))) == (413, True)
    answer = builder.send(b'"' + b"x" * 80_000 + b'"', REGISTER)
    assert (answer.status_code, bool(text_of(answer))) == (413, True)
    answer = builder.get(REGISTER)
    assert (answer.status_code, answer["Allow"], bool(text_of(answer))) == (405, "POST", True)
    database.sql(f"DELETE FROM peers_freednumber; UPDATE peers_interface SET next_host = {wg0.last_host + 1}")
    answer = Program(rows.token(rows.account(wg0))[1]).register()
    assert (answer.status_code, answer["Retry-After"], bool(text_of(answer))) == (409, "60", True)


def test_the_database_away_is_503_in_each_shape(builder):
    builder.browser.raise_request_exception = False
    connection.close()
    connection.settings_dict.update(HOST="127.0.0.1", PORT=str(free_port()))
    answers = builder.register(), builder.get()
    assert [(answer.status_code, answer["Retry-After"]) for answer in answers] == [(503, "10")] * 2
    assert text_of(answers[0]) == "The database cannot be reached."
    assert told(answers[1]) == (503, "unavailable", None)


def test_it_asks_for_no_csrf_token_and_no_session(wg0, builders, impatient):
    text = rows.token(builders)[1]
    browser = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {text}"})
    assert browser.post(REGISTER, {"public_key": "x"}, "application/json").status_code == 400
    assert browser.post(PEERS, {"public_key": "x"}, "application/json").status_code == 400


def test_a_network_without_ipv4_cannot_be_registered_on(builders, wg0):
    builders.interfaces.set([rows.interface("wg6", ipv4_pool=None)])
    answer = Program(rows.token(builders)[1]).register()
    assert (answer.status_code, bool(text_of(answer))) == (400, True)
    assert not Peer.objects.exists()


# --- ?wait ---


@pytest.mark.parametrize("wait", ["31", "-1", "x", "1.5", "", "1e1"])
def test_a_wait_is_at_most_thirty_whole_seconds(builder, wait):
    assert told(builder.enrol(path=f"{PEERS}?wait={wait}")) == (400, "invalid", "wait")
    assert not Peer.objects.exists()


@pytest.mark.parametrize("reports", [True, False])
def test_without_a_gateway_it_is_accepted_and_stays(builder, gateway, reports):
    if reports:
        gateway()
    key = rows.public_key()
    answer = builder.enrol(key, path=f"{PEERS}?wait=1", ttl=600)
    assert (answer.status_code, answer.json()["state"]) == (202, "pending" if reports else "unknown")
    assert Peer.objects.entitled(timezone.now()).count() == 1
    assert builder.enrol(key).status_code == 200
    assert builder.enrol(key, path=f"{PEERS}?wait=1").status_code == 202


def test_who_waits_for_no_time_waits_not_at_all(builder, monkeypatch):
    monkeypatch.setattr(waiting, "PLACES", None)
    assert builder.enrol(path=f"{PEERS}?wait=0").status_code == 201


def test_on_demand_is_reached_without_being_loaded(builder, gateway):
    Interface.objects.update(mode="on_demand")
    gateway()
    answer = builder.enrol(path=f"{PEERS}?wait=5")
    assert (answer.status_code, answer.json()["state"]) == (201, "idle")


def test_there_are_only_so_many_places_to_wait(builder, monkeypatch, settings):
    taken = waiting.BoundedSemaphore(1)
    monkeypatch.setattr(waiting, "PLACES", taken)
    taken.acquire()
    assert told(builder.enrol(path=f"{PEERS}?wait=1")) == (503, "too_many_wait", None)
    refused = builder.register()
    assert (refused.status_code, refused["Retry-After"], bool(text_of(refused))) == (503, "1", True)
    assert not Peer.objects.exists()
    assert (builder.enrol().status_code, builder.get().status_code) == (201, 200)
    taken.release()
    assert builder.enrol(path=f"{PEERS}?wait=1").status_code == 202


@pytest.mark.parametrize("path", [f"{PEERS}?wait=1", REGISTER])
def test_a_place_is_free_again_after_a_refusal(builder, laptop, monkeypatch, path):
    monkeypatch.setattr(waiting, "PLACES", waiting.BoundedSemaphore(1))
    for _ in range(3):
        assert builder.enrol(laptop.key.public_key, path).status_code == 409


@pytest.mark.parametrize("path", [f"{PEERS}?wait=30", REGISTER])
def test_who_is_revoked_while_waiting_is_told_so_at_once(builder, gateway, monkeypatch, path):
    gateway()
    heard = waiting._heard

    def revoked(peer, seconds):
        services.revoke(actor=services.Actor(), peer=peer, at=timezone.now())
        return heard(peer, seconds)

    monkeypatch.setattr(waiting, "_heard", revoked)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE", 0.01)
    assert builder.enrol(path=path).status_code == 409


def test_a_word_that_was_missed_is_made_good(builder, gateway, status, monkeypatch):
    gateway()

    def silently(peer, _seconds):
        status(peer)
        return False

    monkeypatch.setattr(waiting, "_heard", silently)
    answer = builder.enrol(path=f"{PEERS}?wait=30")
    assert (answer.status_code, answer.json()["state"]) == (201, "live")


@pytest.mark.parametrize("words", ["", "{peer}", "x {peer} y"])
def test_a_word_on_the_peer_or_on_all_is_heard_and_one_on_others_is_not(laptop, database, words):
    with waiting.place():
        database.sql(f"NOTIFY {READ_BACK}, '{uuid4()}'")
        assert not waiting._heard(laptop, 0.2)
        database.sql(f"NOTIFY {READ_BACK}, '{words.format(peer=laptop.pk)}'")
        assert waiting._heard(laptop, 20)
        assert not waiting._heard(laptop, 0)


def test_a_connection_that_waited_hears_no_more(laptop, database):
    with waiting.place():
        pass
    database.sql(f"NOTIFY {READ_BACK}")
    assert not waiting._heard(laptop, 0.2)


WAITERS = 12


def test_while_all_who_may_wait_do_others_are_answered(builders, wg0, database, collected, tmp_path):
    headers = {"Authorization": f"Bearer {rows.token(builders)[1]}"}
    environment = {
        **database.environment("latchkey_web"), "LATCHKEY_THREADS": "6", "LATCHKEY_WAITING": "2",
        "LATCHKEY_STATIC_ROOT": str(collected),
    }  # fmt: skip
    with ServedPortal(free_port(), environment, tmp_path / "portal.log") as portal:
        url = f"{portal.url}{PEERS}"

        def wait():
            key = {"public_key": rows.public_key()}
            answer = requests.post(url, json=key, params={"wait": 5}, headers=headers, timeout=30)
            return time.monotonic(), answer.status_code, answer.headers.get("Retry-After")

        def read():
            statuses = [requests.get(url, headers=headers, timeout=30).status_code for _ in range(3)]
            return time.monotonic(), statuses

        acts = [read, *[wait] * WAITERS]

        def act():
            return acts.pop()()

        answers = sorted(at_once(WAITERS + 1, act))
    said = [answer for _, *answer in answers]
    waited = said.count([202, None])
    assert 1 <= waited <= 2 * 2  # places of two processes
    assert said.count([503, "1"]) == WAITERS - waited
    assert said.index([[200] * 3]) < said.index([202, None])


# --- Who ends while they wait ---


def suspend_account(builders):
    services.suspend_account(actor=services.Actor(), account=builders, at=timezone.now(), reason="x")


def suspend_peer(_builders):
    services.suspend(actor=services.Actor(), peer=Peer.objects.get(), at=timezone.now(), reason="x")


def expire(_builders):
    Peer.objects.update(expires_at=timezone.now())


@pytest.mark.parametrize("end", [suspend_account, suspend_peer, expire])
def test_a_key_that_may_come_back_is_not_called_revoked_to_who_waits(builder, builders, gateway, end):
    gateway()  # it reports, and has not looked since
    key, answers = rows.public_key(), []

    def call():
        answers.append(builder.enrol(key, path=f"{PEERS}?wait=4"))
        connection.close()

    waiting = Thread(target=call)
    waiting.start()
    time.sleep(0.6)
    end(builders)
    waiting.join(20)
    assert answers[0].status_code == 202


def test_what_was_revoked_is_not_called_live_while_it_is_still_on(builder, builders, wg0, gateway, status):
    gateway()
    peer = rows.machine(builders, wg0)
    key = peer.key.public_key
    status(peer)
    assert read_back(peer, key)
    services.revoke(actor=services.Actor(), peer=peer, at=timezone.now())
    assert read_back(peer, key) is None


def test_a_process_with_many_connections_can_wait_too(builder, gateway):
    gateway()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        connection.close()
        stack.callback(connection.close)
        for _ in range(1100):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        assert builder.enrol(path=f"{PEERS}?wait=1").status_code == 202
