"""The way in while the provider is away: one link, one use, ten minutes, one administrator."""

import io
import json
import threading
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from peers.models import AuditEvent
from portal import break_glass
from portal.models import BreakGlassLink, User
from tests.conftest import WEB
from tests.integration.conftest import free_port
from tests.integration.served import ServedPortal
from tests.integration.sign_in import Browser

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def boss():
    return User.objects.create_user(
        issuer="https://idp.example", sub="boss", email="boss@example.com", is_staff=True, is_superuser=True
    )


def issued(*words):
    """Run the command and return the path of the link that it prints."""
    out = io.StringIO()
    call_command("break_glass", *words, stdout=out)
    address = out.getvalue().strip()
    assert address.startswith("http://127.0.0.1:8000/break-glass/")
    return address.removeprefix("http://127.0.0.1:8000")


def is_signed_in(client):
    return client.get("/").status_code == 200


def test_the_link_signs_the_administrator_in(boss):
    client = Client()
    path = issued("boss@example.com")
    assert client.post(path)["Location"] == "/"
    assert client.session["_auth_user_id"] == str(boss.pk)
    assert client.get("/admin/").status_code == 200


def test_a_link_can_be_asked_for_by_id(boss):
    assert Client().post(issued(str(boss.pk))).status_code == 302


def test_opening_the_link_spends_nothing_and_signs_nobody_in(boss):
    client = Client()
    path = issued("boss@example.com")
    for _ in range(3):
        assert client.get(path).status_code == 200
    assert not is_signed_in(client)
    assert client.post(path).status_code == 302


def test_a_link_works_once(boss):
    path = issued("boss@example.com")
    assert Client().post(path).status_code == 302
    second = Client()
    assert second.post(path).status_code == 403
    assert not is_signed_in(second)


def test_a_link_used_by_many_at_once_signs_one_in(boss):
    token = break_glass.issue(boss, at=timezone.now())
    barrier, found = threading.Barrier(8), []

    def use():
        barrier.wait()
        found.append(break_glass.redeem(token, address=None, at=timezone.now()))
        connection.close()

    threads = [threading.Thread(target=use) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found.count(boss) == 1
    assert found.count(None) == 7


def test_a_link_is_worthless_after_ten_minutes(boss):
    now = timezone.now()
    token = break_glass.issue(boss, at=now)
    assert break_glass.redeem(token, address=None, at=now + timedelta(minutes=10)) is None
    assert break_glass.redeem(token, address=None, at=now + timedelta(minutes=9, seconds=59)) == boss


def test_an_unknown_token_is_refused(boss):
    issued("boss@example.com")
    assert Client().post("/break-glass/guess").status_code == 403


@pytest.mark.parametrize("lost", [{"is_active": False}, {"is_superuser": False}])
def test_a_link_dies_with_its_persons_right(boss, lost):
    path = issued("boss@example.com")
    User.objects.update(**lost)
    assert Client().post(path).status_code == 403


@pytest.mark.parametrize("lack", [{"is_active": False}, {"is_superuser": False}])
def test_no_link_is_issued_for_anyone_but_an_active_administrator(boss, lack):
    User.objects.update(**lack)
    with pytest.raises(CommandError, match="is not an active administrator"):
        issued("boss@example.com")
    assert not BreakGlassLink.objects.exists()


def test_nobody_of_that_name_is_a_clear_refusal():
    with pytest.raises(CommandError, match="Nobody here is ghost"):
        issued("ghost@example.com")


def test_an_address_of_two_people_must_be_told_apart_by_id(boss):
    User.objects.create_user(
        issuer="https://other.example", sub="x", email="boss@example.com", is_superuser=True
    )
    with pytest.raises(CommandError, match="give the id"):
        issued("boss@example.com")


def test_the_token_has_256_random_bits_and_only_its_hash_is_kept(boss):
    token = issued("boss@example.com").rpartition("/")[2]
    assert len(token) == 43
    stored = BreakGlassLink.objects.get()
    assert token not in {str(getattr(stored, field.name)) for field in stored._meta.fields}
    assert len(stored.token_hash) == 64


def test_issue_and_use_are_on_record(boss):
    Client(REMOTE_ADDR="192.0.2.1").post(issued("boss@example.com"))
    rows = AuditEvent.objects.order_by("id").values_list("action", "actor_kind", "actor", "person", "source")
    assert list(rows) == [
        ("break_glass_issued", "command", None, boss.pk, None),
        ("break_glass_used", "person", boss.pk, boss.pk, "192.0.2.1"),
    ]


def test_it_starts_no_lease(boss):
    Client().post(issued("boss@example.com"))
    boss.refresh_from_db()
    assert boss.signed_in_at is None


def test_the_first_administrator_can_be_made_without_a_provider():
    client = Client()
    assert client.post(issued("--new", "setup")).status_code == 302
    made = User.objects.get()
    assert (made.issuer, made.sub, made.is_superuser) == ("latchkey:break-glass", "setup", True)
    assert client.get("/admin/").status_code == 200


def test_no_second_administrator_is_made_that_way(boss):
    with pytest.raises(CommandError, match="There is an administrator already"):
        issued("--new", "setup")
    assert User.objects.count() == 1


def test_tries_are_limited(boss, settings):
    settings.ACCOUNT_RATE_LIMITS = {"break_glass": "2/m/ip"}
    assert [Client().post("/break-glass/guess").status_code for _ in range(3)] == [403, 403, 429]


def test_the_form_needs_its_csrf_token(boss):
    assert Client(enforce_csrf_checks=True).post(issued("boss@example.com")).status_code == 403


def test_the_served_portal_logs_json_without_tokens_or_queries(boss, database, collected, tmp_path):
    path = issued("boss@example.com")
    environment = {**database.environment(WEB), "LATCHKEY_STATIC_ROOT": str(collected)}
    with ServedPortal(free_port(), environment, tmp_path / "log") as portal, Browser(portal.url) as browser:
        assert browser.form(path).url == f"{portal.url}/"
        browser.get(f"{portal.url}/nothing?secret=in-the-query")
        browser.post(f"{portal.url}{path}", {"csrfmiddlewaretoken": "wrong"})
    text = (tmp_path / "log").read_text()
    assert path.rpartition("/")[2] not in text
    assert "in-the-query" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "logger", "event"} <= line.keys() for line in lines)
    paths = [line["path"] for line in lines if line["event"] == "request"]
    assert paths.count("/break-glass/[redacted]") == 3
    assert "/nothing" in paths
