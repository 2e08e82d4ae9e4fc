"""What load balancers and monitoring are told."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from peers.models import GatewayStatus
from portal.models import HeldLoss, RefreshToken
from tests import rows
from tests.conftest import OWNER
from tests.integration.conftest import free_port

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def gateway():
    wg0, now = rows.interface(), timezone.now()
    return GatewayStatus(
        gateway='gate"1', interface=wg0, version="1", started_at=now, heartbeat_at=now - timedelta(seconds=42)
    )


@pytest.fixture
def heard(gateway, database):
    """Write the gateway's row as its owner: the portal may not."""
    connection.close()
    web = connection.settings_dict["USER"]
    connection.settings_dict["USER"] = OWNER
    gateway.save()
    connection.close()
    connection.settings_dict["USER"] = web


def take_database_away():
    connection.close()
    connection.settings_dict.update(HOST="127.0.0.1", PORT=str(free_port()))


def test_the_process_is_healthy_with_or_without_its_database():
    assert Client().get("/healthz").content == b"ok\n"
    take_database_away()
    assert Client().get("/healthz").status_code == 200


def test_the_portal_is_ready_with_its_database_and_migrations():
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "gateways": []})


def test_the_database_compiles_no_plan_for_the_portal():
    with connection.cursor() as cursor:
        cursor.execute("SHOW jit")
        assert cursor.fetchone() == ("off",)


def test_it_is_not_ready_without_its_database():
    take_database_away()
    answer = Client().get("/readyz")
    assert (answer.status_code, answer["Retry-After"]) == (503, "10")
    assert answer.json()["reason"] == "the database cannot be reached"


def test_it_is_not_ready_while_a_migration_is_missing(database):
    latest = "SELECT max(name) FROM django_migrations WHERE app = 'portal'"
    database.sql(f"DELETE FROM django_migrations WHERE app = 'portal' AND name = ({latest})")
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "migrations are missing")


def test_a_silent_gateway_leaves_the_portal_ready_and_stands_in_the_answer(heard):
    answer = Client().get("/readyz")
    assert answer.status_code == 200
    (gateway,) = answer.json()["gateways"]
    assert (gateway["gateway"], gateway["interface"]) == ('gate"1', "wg0")
    assert 42 <= gateway["age_seconds"] < 60
    assert gateway["heartbeat_at"].endswith("Z")


def test_figures_are_not_there_until_a_token_is_set():
    assert Client().get("/metrics", headers={"authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Bearer", "Basic right-token", "Bearer rïght"])
def test_figures_need_the_token(settings, authorization):
    settings.LATCHKEY_METRICS_TOKEN = "right-token"
    answer = Client().get("/metrics", headers={"authorization": authorization})
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")


def test_figures_are_prometheus_text(settings, heard):
    settings.LATCHKEY_METRICS_TOKEN = "right-token"
    answer = Client().get("/metrics", headers={"authorization": "Bearer right-token"})
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.content.decode().splitlines()
    assert 'latchkey_peers{state="entitled"} 0' in lines
    assert any(
        line.startswith(r'latchkey_gateway_heartbeat_age_seconds{gateway="gate\"1",interface="wg0"} 4')
        for line in lines
    )
    assert "latchkey_access_losses_held 0" in lines


def test_figures_count_the_handshakes_of_each_gateway_and_tell_of_a_flood(settings, gateway, database):
    settings.LATCHKEY_METRICS_TOKEN = "right-token"
    gateway.handshakes_admitted, gateway.handshakes_dropped = 41, 1 << 40
    gateway.flood_at = timezone.now()
    with database.as_role(OWNER):
        gateway.save()
    answer = Client().get("/metrics", headers={"authorization": "Bearer right-token"})
    lines = [line for line in answer.content.decode().splitlines() if "handshake" in line]
    gateway_of = r'gateway="gate\"1",interface="wg0"'
    assert "# TYPE latchkey_handshakes_total counter" in lines
    assert "# TYPE latchkey_handshake_flood gauge" in lines
    assert [line for line in lines if not line.startswith("#")] == [
        f'latchkey_handshakes_total{{{gateway_of},outcome="admitted"}} 41',
        f'latchkey_handshakes_total{{{gateway_of},outcome="refused"}} 0',
        f'latchkey_handshakes_total{{{gateway_of},outcome="invalid"}} 0',
        f'latchkey_handshakes_total{{{gateway_of},outcome="dropped"}} {1 << 40}',
        f"latchkey_handshake_flood{{{gateway_of}}} 1",
    ]


def test_figures_tell_of_no_flood_while_there_is_none(settings, heard):
    settings.LATCHKEY_METRICS_TOKEN = "right-token"
    answer = Client().get("/metrics", headers={"authorization": "Bearer right-token"})
    assert re.search(r"^latchkey_handshake_flood{[^}]*} 0$", answer.content.decode(), re.MULTILINE)


def test_figures_tell_what_is_held_and_whom_nobody_could_ask_about(settings):
    settings.LATCHKEY_METRICS_TOKEN = "right-token"
    at, wg0 = timezone.now(), rows.interface()
    failing = (at - timedelta(hours=2), at - timedelta(minutes=50), None)
    for since in failing:
        person = rows.person()
        rows.peer(person, wg0)
        RefreshToken.objects.create(
            person=person, provider="demo", token="any", obtained_at=at, due_at=at, failing_since=since
        )
        HeldLoss.objects.create(person=person, reason="refused", found_at=at)
    answer = Client().get("/metrics", headers={"authorization": "Bearer right-token"})
    lines = answer.content.decode().splitlines()
    assert "latchkey_access_losses_held 3" in lines
    assert 'latchkey_revalidation_unanswered{provider="demo"} 1' in lines


def test_figures_tell_of_people_whose_provider_the_settings_know_no_more(settings):
    settings.LATCHKEY_METRICS_TOKEN = "right-token"
    at = timezone.now()
    rows.peer(person := rows.person(), rows.interface())
    RefreshToken.objects.create(
        person=person,
        provider="gone",
        token="any",
        obtained_at=at,
        due_at=at,
        failing_since=at - timedelta(hours=2),
    )
    answer = Client().get("/metrics", headers={"authorization": "Bearer right-token"})
    shown = [line for line in answer.content.decode().splitlines() if "unanswered{" in line]
    assert shown == [
        'latchkey_revalidation_unanswered{provider="demo"} 0',
        'latchkey_revalidation_unanswered{provider="gone"} 1',
    ]
