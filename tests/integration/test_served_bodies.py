"""Bodies as they come over the wire: in pieces without a length, late, or never."""

import json
import socket
import threading
import time
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest
import requests
from django.utils import timezone

from peers import services
from peers.models import Peer
from portal.worker import ARRIVES_WITHIN
from tests import rows
from tests.integration.conftest import free_port
from tests.integration.programs import PEERS, REGISTER
from tests.integration.served import ServedPortal

THREADS = 2


@pytest.fixture
def served(database, collected, tmp_path):
    environment = {
        **database.environment("latchkey_web"), "LATCHKEY_STATIC_ROOT": str(collected), "LATCHKEY_THREADS": str(THREADS),
    }  # fmt: skip
    with ServedPortal(free_port(), environment, tmp_path / "portal.log") as portal:
        yield portal


@pytest.fixture
def shown(builders):
    return {"Authorization": f"Bearer {rows.token(builders)[1]}"}


def begun(served, path, shown, length):
    """Send the head of a request alone, with the length of a body to come."""
    place = urlsplit(served.url)
    connection = socket.create_connection((place.hostname, place.port))
    connection.settimeout(20)
    fields = {
        **shown,
        "Host": place.netloc,
        "Content-Type": "application/json",
        "Content-Length": str(length),
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return connection


@pytest.mark.parametrize("path", [PEERS, REGISTER])
def test_a_body_that_comes_after_its_token_was_revoked_enrols_nothing(builders, served, shown, path):
    body = json.dumps({"public_key": rows.public_key()}).encode()
    with begun(served, path, shown, len(body)) as connection:
        time.sleep(0.5)
        services.revoke_token(actor=services.Actor(), token=builders.tokens.get(), at=timezone.now())
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")
    assert not Peer.objects.exists()


def test_bodies_that_never_come_hold_the_portal_up_for_seconds_only(served, shown):
    held = [
        begun(served, PEERS, shown, 100) for _ in range(2 * THREADS)
    ]  # as many as two processes have threads
    time.sleep(0.5)
    assert requests.get(f"{served.url}/healthz", timeout=20).status_code == 200
    for connection in held:
        with connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 400")


def test_a_body_without_a_length_is_read_as_any_other(served, shown):
    url = served.url + PEERS
    made = requests.post(url, json={"public_key": rows.public_key()}, headers=shown, timeout=20).json()
    renew = f"{url}/{made['id']}/renew"

    def renewed(*pieces):
        return requests.post(renew, data=iter(pieces), headers=shown, timeout=20)

    ends = datetime.fromisoformat(renewed(b'{"tt', b'l": 60}').json()["expires_at"])
    assert ends - timezone.now() <= timedelta(seconds=60)
    assert renewed(b"junk").json()["error"]["code"] == "bad_json"
    assert renewed(*[b" " * 4096] * 5).status_code == 413


# --- Those who are slow on purpose ---

HELD = 4 * THREADS
SLOW = pytest.mark.timeout(180)


def answers(served):
    # One process may have taken all of them, and then its threads are through with them one after the other.
    return requests.get(f"{served.url}/healthz", timeout=HELD / THREADS * ARRIVES_WITHIN + 20).status_code


def connections(served, stack, number):
    place = urlsplit(served.url)
    return [
        stack.enter_context(socket.create_connection((place.hostname, place.port))) for _ in range(number)
    ]


@SLOW
def test_heads_that_never_end_hold_the_portal_up_for_seconds_only(served):
    with ExitStack() as stack:
        for connection in connections(served, stack, HELD):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Held: ")
        time.sleep(1)
        assert answers(served) == 200


@SLOW
def test_bodies_that_come_byte_by_byte_hold_the_portal_up_for_seconds_only(served):
    over = threading.Event()
    with ExitStack() as stack:
        held = [stack.enter_context(begun(served, PEERS, {}, 60_000)) for _ in range(HELD)]

        def drip():
            while not over.wait(2):
                for connection in held:
                    with suppress(OSError):  # it was hung up on, as it should be
                        connection.sendall(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            time.sleep(1)
            assert answers(served) == 200
        finally:
            over.set()
            dripping.join()


@SLOW
def test_connections_that_say_nothing_hold_nobody_up(served):
    with ExitStack() as stack:
        connections(served, stack, 100)
        time.sleep(0.5)
        begun_at = time.monotonic()
        assert answers(served) == 200
        assert time.monotonic() - begun_at < 10
