"""The export of the audit: every event that the filters leave, as a file that holds no formula."""

import csv
import json
import re
from io import StringIO
from itertools import chain

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from peers import services
from peers.admin.audit import export, filters
from peers.admin.audit.export import NAMES, as_csv, as_jsonl, neutralised
from peers.models import AuditEvent
from tests import rows
from tests.integration.audit import ADDRESS, by, exported, text
from tests.integration.pages import AUDIT, enter, staff


def test_an_export_holds_every_event_that_the_filters_leave_the_latest_first(admin, alice, laptop, phone):
    services.rename(actor=by(alice), peer=laptop, name="Renamed")
    for kind in ("csv", "jsonl"):
        assert [row["action"] for row in exported(admin, kind, peer__id__exact=laptop.pk)] == [
            "rename",
            "enrol",
        ]
        assert [row["peer"] for row in exported(admin, kind, q="bob")] == ["Bob's phone"]
        assert [row["action"] for row in exported(admin, kind, to="2020-01-01T00:00")] == []
        assert len(exported(admin, kind)) == AuditEvent.objects.count()


def test_an_export_goes_on_where_the_list_stops(admin, wg0, monkeypatch):
    monkeypatch.setattr(filters, "MOST", 2)
    monkeypatch.setattr(export, "AT_ONCE", 2)
    for _ in range(5):
        rows.peer(rows.person(), wg0)
    assert len(exported(admin, "csv", action="enrol")) == 5
    assert len(exported(admin, "jsonl", action="enrol")) == 5


def test_an_export_that_would_not_end_in_time_is_refused_with_a_sentence(admin, wg0, monkeypatch):
    monkeypatch.setattr(export, "MOST", 2)
    for _ in range(3):
        rows.peer(rows.person(), wg0)
    answer = admin.post(f"{AUDIT}export.csv?action=enrol&q=person")
    assert (answer.status_code, answer["Location"]) == (302, f"{AUDIT}?action=enrol&q=person")
    assert "more than an export may hold" in text(admin.get(answer["Location"]))
    assert not AuditEvent.objects.filter(action="export_audit").exists()
    monkeypatch.setattr(export, "MOST", 3)
    assert len(exported(admin, "csv", action="enrol")) == 3


def test_json_lines_are_exact_and_csv_says_the_same(admin, root, alice, laptop):
    services.suspend(
        actor=by(alice), peer=laptop, at=timezone.now(), reason="=cmd|' /C calc'!A0\u2028\n\"x\""
    )
    event = AuditEvent.objects.get(action="suspend")
    expected = {
        "id": event.pk, "at": f"{event.at:%Y-%m-%dT%H:%M:%S.%f}Z", "action": "suspend", "actor_kind": "person",
        "actor_id": alice.pk, "actor": "Alice", "actor_email": "alice@example.com", "gateway": "", "token_id": None,
        "token": None, "person_id": alice.pk, "person": "Alice", "person_email": "alice@example.com",
        "service_account_id": None, "service_account": None, "peer_id": str(laptop.pk), "peer": "Alice's laptop",
        "interface": "wg0", "source": "198.51.100.7", "reason": event.reason, "old": {}, "new": {},
        "after": None, "milliseconds": None,
    }  # fmt: skip
    assert exported(admin, "jsonl", action="suspend") == [expected]
    texts = {name: "" if value is None else str(value) for name, value in expected.items()}
    assert exported(admin, "csv", action="suspend") == [{**texts, "reason": f"'{event.reason}"}]
    enrolment = exported(admin, "csv", action="enrol")[0]
    assert json.loads(enrolment["new"]) == AuditEvent.objects.get(action="enrol").new


def test_an_export_is_a_download_with_the_date_in_its_name(admin, laptop):
    for kind, content_type in (
        ("csv", "text/csv; charset=utf-8"),
        ("jsonl", "application/jsonl; charset=utf-8"),
    ):
        answer = admin.post(f"{AUDIT}export.{kind}")
        name = f"latchkey-audit-{timezone.now():%Y-%m-%d}.{kind}"
        assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
        assert answer["Content-Type"] == content_type
        assert answer["Cache-Control"] == "no-store" or "no-store" in answer["Cache-Control"]
        b"".join(answer.streaming_content)


def test_an_export_is_written_down_before_its_first_row(admin, root, laptop):
    answer = admin.post(f"{AUDIT}export.csv?q=laptop&action=enrol")
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor, event.source) == ("export_audit", root, "203.0.113.9")
    assert event.new == {"format": "csv", "filter": {"q": "laptop", "action": "enrol"}}
    answer.close()


def test_nothing_is_exported_by_get_without_the_right_or_without_the_token(admin, root, laptop):
    before = AuditEvent.objects.count()
    strict = enter(Client(enforce_csrf_checks=True), root)
    for kind in ("csv", "jsonl"):
        assert admin.get(f"{AUDIT}export.{kind}").status_code == 405
        assert staff("view_peer").post(f"{AUDIT}export.{kind}").status_code == 403
        assert strict.post(f"{AUDIT}export.{kind}").status_code == 403
    assert staff("view_peer").get(ADDRESS, {"address": "10.0.0.1"}).status_code == 403
    assert AuditEvent.objects.count() == before
    assert len(exported(staff("view_auditevent"), "csv")) == before + 1


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_export_by_a_sign_that_no_text_holds_is_refused_and_not_on_record(admin, kind):
    for query in ("q=%00", "from=%00", "action=%00", "p=%00"):
        assert admin.post(f"{AUDIT}export.{kind}?{query}").status_code == 400
    assert not AuditEvent.objects.filter(action="export_audit").exists()


# --- What stands in a cell ---


SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def dangerous(cell):
    """Say, in other words than the code's, whether a spreadsheet could take the cell for a formula."""
    return (
        re.match(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠﹢﹣﹦﹫]|[\t\r\n]", cell)
        is not None
    )


@pytest.mark.parametrize(
    "blank", ["", " ", "\t", "\r", "\n", "\u00a0", "\u3000", "\ufeff", "\u200b", "\x00", "\x0b"]
)
def test_a_cell_that_could_begin_a_formula_gets_an_apostrophe(blank):
    for sign in SIGNS:
        assert neutralised(f"{blank}{sign}1+1") == f"'{blank}{sign}1+1"
    for harmless in ("1+1", "a=b", "'=1", "", "ä", '"=1"', "2026-01-01", "::1", "{}"):
        assert neutralised(harmless) == harmless


texts = st.text(st.characters(codec="utf-8")) | st.builds(
    "{}{}{}".format,
    st.text(" \t\r\n\u3000\u200b,;\"'", max_size=3),
    st.sampled_from(SIGNS),
    st.text(st.characters(codec="utf-8")),
)


@given(st.lists(st.lists(texts, min_size=len(NAMES), max_size=len(NAMES)), max_size=3))
def test_any_text_comes_back_from_csv_but_for_the_apostrophe_and_begins_no_formula(given_rows):
    content = "".join(as_csv(map(tuple, given_rows))).encode()
    head, *found = csv.reader(StringIO(content.decode(), newline=""))
    assert head == list(NAMES)
    assert len(found) == len(given_rows)
    for cell, text_given in zip(chain(*found), chain(*given_rows), strict=True):
        assert cell in (text_given, f"'{text_given}")
        assert not dangerous(cell)
        assert (cell != text_given) == dangerous(text_given) or not dangerous(text_given)


@given(st.lists(st.lists(texts, min_size=len(NAMES), max_size=len(NAMES)), max_size=3))
def test_any_text_comes_back_from_json_lines_exactly_and_a_line_is_an_event(given_rows):
    lines = "".join(as_jsonl(map(tuple, given_rows))).splitlines()
    assert [list(json.loads(line).values()) for line in lines] == given_rows


def test_an_export_takes_its_rows_as_they_are_asked_for():
    """A million rows need no more memory than a thousand."""
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield ("x",) * len(NAMES)

    for write in (as_csv, as_jsonl):
        taken.clear()
        pieces = write(endless())
        for _ in range(3):
            next(pieces)
        assert len(taken) <= 3 * export.AT_ONCE
