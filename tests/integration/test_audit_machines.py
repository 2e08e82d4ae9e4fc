"""Machines in the audit: who acted with which token, for which service account; found, narrowed down, exported."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import services
from peers.models import AuditEvent
from tests import rows
from tests.integration.audit import exported, text
from tests.integration.pages import AUDIT, HOSTILE


@pytest.fixture
def runner(wg0):
    return rows.account(wg0, name="ci runner")


@pytest.fixture
def token(runner):
    return rows.token(runner)[0]


@pytest.fixture
def build(wg0, runner, token):
    """Return a machine that a program with the token has enrolled."""
    actor = services.Actor(token=token, source="198.51.100.9")
    return rows.machine(runner, wg0, "build-1", actor=actor)


def column(admin, name, **query):
    """Return what stands in one column of the list, without tags, the latest event first."""
    answer = admin.get(AUDIT, query)
    assert answer.status_code == 200
    found = re.findall(rf'class="field-{name}">(.*?)</td>', answer.content.decode())
    return [re.sub(r"<[^>]*>", "", cell) for cell in found]


def test_a_machine_is_named_by_its_account_and_the_beginning_of_its_token(admin, token, build):
    who, about = column(admin, "who")[0], column(admin, "about")
    assert who == f"ci runner ({token.beginning}…)"
    assert about == ["ci runner", "ci runner"]
    event = AuditEvent.objects.get(action="enrol")
    page = text(admin.get(f"{AUDIT}{event.pk}/change/"))
    assert who in page
    assert "198.51.100.9" in page


def test_a_person_who_acts_through_a_program_is_named_with_the_token(admin, wg0, alice):
    token, _ = rows.token(alice)
    rows.peer(alice, wg0)
    peer = rows.machine(rows.account(wg0), wg0)
    services.rename(actor=services.Actor(user=alice, token=token), peer=peer, name="other")
    assert column(admin, "who", action="rename") == [f"Alice ({token.beginning}…)"]
    assert column(admin, "who", action="enrol")[1] == "Alice"


def test_the_audit_is_narrowed_down_to_an_account_or_a_token(
    admin, wg0, alice, runner, token, build, subtests
):
    other, _ = rows.token(runner, name="another")
    rows.machine(runner, wg0, "build-2", actor=services.Actor(token=other))
    rows.machine(rows.account(wg0), wg0, "elsewhere")
    rows.peer(alice, wg0)
    services.suspend_account(actor=services.Actor(), account=runner, at=timezone.now(), reason="leaked")
    enrolled, made = "Device enrolled", "Token made"
    for query, expected in (
        ({"service_account__id__exact": runner.pk}, ["Suspended", enrolled, made, enrolled, made]),
        ({"service_account__id__exact": runner.pk, "action": "make_token"}, [made, made]),
        ({"token__id__exact": token.pk}, [enrolled]),
        ({"actor_kind__exact": "machine"}, [enrolled, enrolled]),
        ({"q": "CI RUN"}, ["Suspended", enrolled, made, enrolled, made]),
        ({"q": token.beginning}, [enrolled]),
        ({"q": token.beginning[:-2]}, [enrolled]),
        ({"q": "latchkey_nothing"}, []),
        ({"q": "build-1"}, [enrolled]),
    ):
        with subtests.test(str(query)):
            assert column(admin, "act", **query) == expected


@pytest.mark.parametrize("name", ["service_account__id__exact", "token__id__exact"])
def test_what_is_no_id_finds_nothing_and_breaks_nothing(admin, build, name, subtests):
    for value in ("", "x", "-1", "9" * 30, "1 OR 1=1", "\x00"):
        with subtests.test(repr(value)):
            assert column(admin, "act", **{name: value}) == []


@pytest.mark.parametrize(
    "name",
    ["token__token_hash__startswith", "service_account__name", "token__owner", "service_account__team"],
)
def test_no_column_behind_an_event_is_looked_up(admin, build, name):
    assert admin.get(AUDIT, {name: "1"}).status_code == 400


def test_an_export_says_with_which_token_and_for_which_account(admin, runner, token, build):
    told = {
        "actor_kind": "machine", "actor_id": None, "actor": None, "token_id": token.pk, "token": token.beginning,
        "person_id": None, "service_account_id": runner.pk, "service_account": "ci runner",
    }  # fmt: skip
    row = exported(admin, "jsonl", action="enrol")[0]
    assert {name: row[name] for name in told} == told
    row = exported(admin, "csv", action="enrol")[0]
    assert {name: row[name] for name in told} == {
        name: "" if value is None else str(value) for name, value in told.items()
    }


def test_a_whole_token_that_somebody_searches_for_is_not_written_down(admin, wg0, runner):
    token, secret = rows.token(runner)
    assert len(exported(admin, "csv", q=f" {secret} ")) == 0
    event = AuditEvent.objects.get(action="export_audit")
    assert event.new["filter"] == {"q": token.beginning}


def test_hostile_names_are_shown_as_text(admin, wg0, subtests):
    hostile = rows.account(wg0, name=HOSTILE)
    token, _ = rows.token(hostile, name=HOSTILE)
    rows.machine(hostile, wg0, actor=services.Actor(token=token))
    for path in (
        AUDIT, f"{AUDIT}?service_account__id__exact={hostile.pk}", f"{AUDIT}?token__id__exact={token.pk}",
        f"{AUDIT}{AuditEvent.objects.get(action='enrol').pk}/change/",
    ):  # fmt: skip
        with subtests.test(path):
            page = admin.get(path).content.decode()
            assert HOSTILE not in page
            assert "&lt;script&gt;" in page


def test_machines_cost_the_list_no_query_more(admin, wg0, runner, build):
    admin.get(AUDIT)
    with CaptureQueriesContext(connection) as few:
        admin.get(AUDIT)
    for number in range(12):
        account = rows.account(wg0)
        token, _ = rows.token(account)
        rows.machine(account, wg0, f"build-{number}", actor=services.Actor(token=token))
    with CaptureQueriesContext(connection) as many:
        admin.get(AUDIT)
    assert len(many) == len(few)
