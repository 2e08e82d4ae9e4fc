"""The audit's chain of seals: what it covers, that none is lost and nobody waits for it, and what it shows of tampering."""

import hashlib
import json
import re
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from peers import audit, chain, seals, services
from peers.chain import Walk
from peers.management.commands.seal_audit import PAUSE, SEARCH_EVERY
from peers.models import AuditEvent, AuditSeal, SealedEvent
from peers.states import database_now
from tests import rows
from tests.conftest import OWNER, ROOT, WEB
from tests.integration.audit import by, text
from tests.integration.pages import AUDIT


def fill(database, count, at="now()", action="sign_in"):
    """Write events straight into the table."""
    database.sql(
        f"""INSERT INTO peers_auditevent (at, actor_kind, gateway, action, old, new, reason)
            SELECT {at}, 'command', '', '{action}', '{{}}', '{{"n": 1}}', 'é' || n FROM generate_series(1, {count}) n"""
    )


def findings(*heads):
    return list(Walk(heads).findings(database_now()))


def tampered(database, statement):
    """Run a statement as somebody who owns the database and takes its guards away first."""
    database.sql(f"SET session_replication_role = replica; {statement}")


@pytest.fixture
def sealed(database, monkeypatch):
    """Three seals over five events each."""
    monkeypatch.setattr(seals, "AT_ONCE", 5)
    fill(database, 15)
    assert seals.seal_all() == 15
    assert findings() == []
    return list(AuditSeal.objects.order_by("pk"))


# --- What is sealed ---


def test_a_seal_is_the_digest_of_lines_that_another_program_can_write(admin, alice, laptop, root, wg0):
    services.rename(actor=by(alice), peer=laptop, name="Übersee\n\u2028".strip())
    token, _text = rows.token(runner := rows.account(wg0))
    rows.machine(runner, wg0, actor=services.Actor(token=token))
    services.suspend_person(actor=by(root), person=alice, at=timezone.now(), reason="left")
    assert seals.seal_all() == AuditEvent.objects.count() >= 3
    made = AuditSeal.objects.get()
    lines = ["latchkey audit seal 1", "0" * 64, f"{made.sealed_at:%Y-%m-%dT%H:%M:%S.%fZ}"]
    for event in AuditEvent.objects.order_by("pk"):
        values = {
            "id": event.pk, "at": f"{event.at:%Y-%m-%dT%H:%M:%S.%fZ}", "actor_kind": event.actor_kind,
            "actor_id": event.actor_id, "gateway": event.gateway, "action": event.action,
            "peer_id": event.peer_id and str(event.peer_id), "interface_id": event.interface_id,
            "person_id": event.person_id, "source": event.source, "old": event.old, "new": event.new,
            "reason": event.reason,
        }  # fmt: skip
        machines = {"token_id": event.token_id, "service_account_id": event.service_account_id}
        values |= {name: value for name, value in machines.items() if value is not None}
        lines.append(json.dumps(values, sort_keys=True, separators=(",", ":")))
    assert bytes(made.digest) == hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).digest()


def test_what_was_sealed_before_machines_acted_keeps_its_digest():
    event = {
        "id": 7, "at": datetime(2026, 8, 31, 9, 30, tzinfo=UTC), "actor_kind": "command", "actor_id": None,
        "gateway": "", "action": "prune", "peer_id": None, "interface_id": None, "person_id": None, "source": None,
        "old": {}, "new": {"peers": 3}, "reason": "",
    }  # fmt: skip
    line = (
        b'{"action":"prune","actor_id":null,"actor_kind":"command","at":"2026-08-31T09:30:00.000000Z","gateway":"",'
        b'"id":7,"interface_id":null,"new":{"peers":3},"old":{},"peer_id":null,"person_id":null,"reason":"",'
        b'"source":null}\n'
    )
    assert seals.line(event) == seals.line({**event, "token_id": None, "service_account_id": None}) == line
    assert b'"service_account_id":4' in seals.line({**event, "token_id": None, "service_account_id": 4})


def test_an_event_bears_the_time_at_which_it_was_written_not_that_of_its_transaction(database):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT transaction_timestamp()")
        (began_at,) = cursor.fetchone()
        first, second = (audit.record("rename", audit.Actor(), None).at for _ in range(2))
        assert began_at < first < second


def test_seals_follow_each_other_and_cover_every_event_once_in_order(sealed):
    assert [bytes(seal.previous) for seal in sealed] == [
        bytes(32),
        *(bytes(seal.digest) for seal in sealed[:-1]),
    ]
    marks = list(SealedEvent.objects.order_by("pk").values_list("seal", flat=True))
    assert marks == [seal.pk for seal in sealed for _ in range(5)]
    assert seals.seal_all() == seals.seal_recent() == 0
    assert AuditSeal.objects.count() == 3


def test_a_stop_comes_between_two_batches(sealed, database):
    fill(database, 12)
    left = iter((False, True))
    assert seals.seal_recent(stopped=lambda: next(left)) == 5
    oldest = AuditEvent.objects.order_by("pk").values_list("pk", flat=True)[15:20]
    assert list(AuditSeal.objects.latest("pk").sealed.order_by("pk").values_list("pk", flat=True)) == list(
        oldest
    )
    assert seals.seal_all() == 7


def test_an_event_that_commits_after_later_ones_were_sealed_comes_under_the_next_seal(database):
    with closing(psycopg2.connect(database.url())) as late:
        late.cursor().execute(
            "INSERT INTO peers_auditevent (actor_kind, gateway, action, old, new, reason)"
            " VALUES ('command', '', 'late', '{}', '{}', '')"
        )
        fill(database, 3)
        assert seals.seal_all() == 3
        late.commit()
    assert seals.seal_recent() == 1
    assert AuditEvent.objects.get(action="late").pk < AuditEvent.objects.latest("pk").pk
    assert findings() == []


@pytest.mark.parametrize("at", ["now() - interval '2 days'", "now() + interval '2 years'"])
def test_what_the_quick_search_must_leave_the_complete_one_finds(database, at, subtests):
    fill(database, 2, at=at)
    fill(database, 2)
    database.sql(
        "SET session_replication_role = replica;"
        "UPDATE peers_auditevent SET id = id + 100 WHERE id > (SELECT min(id) + 1 FROM peers_auditevent)"
    )
    first = AuditEvent.objects.order_by("pk").values_list("pk", flat=True)[:2]
    newer = list(AuditEvent.objects.exclude(pk__in=list(first)).values_list("pk", flat=True))
    seals._seal(lambda _: newer)
    quick = seals.seal_recent()
    assert quick == (0 if "-" in at else 2)
    assert seals.seal_all() == 2 - quick
    assert findings() == []


def test_an_event_of_a_clock_that_was_put_back_is_found_by_its_number(sealed, database):
    fill(database, 1, at="now() - interval '9 days'")
    assert seals.seal_recent() == 1


# --- Nobody waits ---


def test_an_event_is_written_while_a_sealing_transaction_is_open(database, alice):
    fill(database, 3)
    with closing(psycopg2.connect(database.url())) as other, transaction.atomic():
        assert seals.seal_all() == AuditEvent.objects.count()
        with other, other.cursor() as cursor:
            cursor.execute("SET statement_timeout = '2s'")
            cursor.execute(
                "INSERT INTO peers_auditevent (actor_kind, gateway, action, old, new, reason)"
                " VALUES ('command', '', 'meanwhile', '{}', '{}', '')"
            )
        assert AuditEvent.objects.filter(action="meanwhile").exists()
    assert seals.seal_recent() == 1


def test_two_processes_that_seal_at_once_make_one_chain(database):
    fill(database, 4000)
    started = [
        subprocess.Popen(
            [sys.executable, "manage.py", "seal_audit"],
            cwd=ROOT, env=database.environment(WEB), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    counts = [int(re.search(r"(\d+) events sealed", out)[1]) for out, _ in said]
    print(f"sealed by each: {counts}")
    assert sum(counts) == 4000
    logged = [
        line
        for _, log in said
        for line in map(json.loads, log.splitlines())
        if line["event"] == "audit_sealed"
    ]
    assert {(line["seal"], line["events"], line["digest"]) for line in logged} == {
        (seal.pk, seal.events, bytes(seal.digest).hex()) for seal in AuditSeal.objects.all()
    }
    assert findings() == []


def test_the_second_of_two_sealers_waits_and_goes_on_from_the_firsts_seal(database):
    fill(database, 3)
    with closing(psycopg2.connect(database.url())) as first:
        first.cursor().execute("SELECT pg_advisory_xact_lock(%s)", [seals.LOCK])
        waiter = subprocess.Popen(
            [sys.executable, "manage.py", "seal_audit"], cwd=ROOT, env=database.environment(WEB),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        give_up = time.monotonic() + 20
        while (
            database.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") != "1"
        ):
            assert time.monotonic() < give_up
            time.sleep(0.05)
        assert not AuditSeal.objects.exists()
    assert waiter.communicate(timeout=20)[0] == "3 events sealed.\n"


# --- Tampering ---


ANOTHER = """
INSERT INTO peers_auditevent SELECT (other).* FROM (
    SELECT jsonb_populate_record(event, '{{"id": 9000}}') other FROM peers_auditevent event WHERE id = {e[6]}) found;
INSERT INTO peers_sealedevent VALUES (9000, {s[1]});
"""
FORK = """
ALTER TABLE peers_auditseal DROP CONSTRAINT peers_auditseal_previous_key;
UPDATE peers_auditseal SET previous = (SELECT previous FROM peers_auditseal WHERE id = {s[1]}) WHERE id = {s[2]}
"""
ANOTHERS = """
ALTER TABLE peers_auditevent DROP CONSTRAINT auditevent_actor;
UPDATE peers_auditevent SET token_id = 7 WHERE id = {e[6]}
"""
UNCHANGED = "Seal {s[1]} does not fit events {e[5]} to {e[9]}:"
FOUR = "Seal {s[1]} covers 5 events, but 4 are there, events {e[5]} to {e[9]};"

# What is done to the second of three seals, each over five events, and how the sentences that tell of it begin.
TAMPERING = {
    "a changed event": ("UPDATE peers_auditevent SET reason = 'other' WHERE id = {e[6]}", [UNCHANGED]),
    "a changed value": (
        "UPDATE peers_auditevent SET new = '{{\"n\": 2}}' WHERE id = {e[6]}", [UNCHANGED],
    ),
    "an event's time changed by a microsecond": (
        "UPDATE peers_auditevent SET at = at + interval '1 microsecond' WHERE id = {e[6]}", [UNCHANGED],
    ),
    "an act put down to a token": (ANOTHERS, [UNCHANGED]),
    "an event put down to a service account": (
        "UPDATE peers_auditevent SET service_account_id = 7 WHERE id = {e[6]}", [UNCHANGED],
    ),
    "a deleted event": (
        "DELETE FROM peers_auditevent WHERE id = {e[6]}", [f"{FOUR} no longer there: event {{e[6]}}."],
    ),
    "a deleted event with its mark": (
        "DELETE FROM peers_sealedevent WHERE event_id = {e[6]}; DELETE FROM peers_auditevent WHERE id = {e[6]}",
        [f"{FOUR} perhaps no longer there: event {{e[6]}}."],
    ),
    "all events of a seal deleted": (
        "DELETE FROM peers_sealedevent WHERE seal_id = {s[1]}; DELETE FROM peers_auditevent WHERE id BETWEEN {e[5]} AND {e[9]}",
        ["Seal {s[1]} covers 5 events, but 0 are there, none of them."],
    ),
    "an event slipped under a seal": (
        ANOTHER, ["Seal {s[1]} covers 5 events, but 6 are there, events {e[5]} to 9000."],
    ),
    "an event slipped in and counted": (
        f"{ANOTHER} UPDATE peers_auditseal SET events = 6 WHERE id = {{s[1]}}",
        ["Seal {s[1]} does not fit events {e[5]} to 9000:"],
    ),
    "an event moved under another seal": (
        "UPDATE peers_sealedevent SET seal_id = {s[0]} WHERE event_id = {e[6]}",
        ["Seal {s[0]} covers 5 events, but 6 are there", FOUR[:-1]],
    ),
    "a missing seal": (
        "DELETE FROM peers_auditseal WHERE id = {s[1]}",
        [
            "Seal {s[2]} does not follow seal {s[0]}:",
            *(f"Event {{e[{n}]}} is under seal {{s[1]}}, which is missing." for n in range(5, 10)),
        ],
    ),
    "a missing first seal with its marks": (
        "DELETE FROM peers_sealedevent WHERE seal_id = {s[0]}; DELETE FROM peers_auditseal WHERE id = {s[0]}",
        ["Seal {s[1]} does not follow the beginning:"],
    ),
    "the last seal cut off, its marks left": (
        "DELETE FROM peers_auditseal WHERE id = {s[2]}",
        [f"Event {{e[{n}]}} is under seal {{s[2]}}, which is missing." for n in range(10, 15)],
    ),
    "seals in another order": (
        "UPDATE peers_sealedevent SET seal_id = 800 WHERE seal_id = {s[1]}; UPDATE peers_auditseal SET id = 800 WHERE id = {s[1]}",
        ["Seal {s[2]} does not follow seal {s[0]}:", "Seal 800 does not follow seal {s[2]}:"],
    ),
    "a fork": (
        FORK,
        ["Seal {s[2]} does not follow seal {s[1]}:", "Seal {s[2]} does not fit events {e[10]} to {e[14]}:"],
    ),
    "a seal's time": (
        "UPDATE peers_auditseal SET sealed_at = sealed_at - interval '1 second' WHERE id = {s[1]}", [UNCHANGED],
    ),
    "a seal's digest": (
        "UPDATE peers_auditseal SET digest = sha256('') WHERE id = {s[2]}",
        ["Seal {s[2]} does not fit events {e[10]} to {e[14]}:"],
    ),
}  # fmt: skip


def test_whatever_an_owner_of_the_database_does_to_what_is_sealed_is_named(sealed, database, subtests):
    numbers = {
        "e": list(AuditEvent.objects.order_by("pk").values_list("pk", flat=True)), "s": [seal.pk for seal in sealed],
    }  # fmt: skip
    for name, (statement, sentences) in TAMPERING.items():
        with subtests.test(name), undone(statement.format(**numbers)):
            found = findings()
            assert len(found) == len(sentences), found
            for sentence, begun in zip(found, sentences, strict=True):
                assert sentence.startswith(begun.format(**numbers))
    assert findings() == []


@contextmanager
def undone(statement):
    """Give the database as somebody left it who owns it; afterwards it is as it was."""
    connection.close()
    connection.settings_dict["USER"] = OWNER
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL session_replication_role = replica; {statement}")
            yield
            transaction.set_rollback(True)
    finally:
        connection.close()
        connection.settings_dict["USER"] = WEB


def test_a_tail_that_was_made_anew_is_shown_by_the_digest_in_a_log_alone(sealed, database, capsys):
    head = bytes(sealed[-1].digest)
    assert findings(head) == []
    tampered(
        database,
        f"DELETE FROM peers_sealedevent WHERE seal_id = {sealed[-1].pk}; DELETE FROM peers_auditseal WHERE id = {sealed[-1].pk};"
        f"UPDATE peers_auditevent SET reason = 'other' WHERE id = (SELECT max(id) FROM peers_auditevent)",
    )
    assert seals.seal_all() == 5
    assert findings() == []
    assert findings(head, bytes(sealed[0].digest)) == [
        f"No seal has the digest {head.hex()}: the chain was cut or rewritten since that was its head."
    ]


def test_an_event_that_nobody_seals_for_an_hour_is_named(sealed, database):
    fill(database, 2, at="now() - interval '59 minutes'")
    assert findings() == []
    walk = Walk()
    (found,) = walk.findings(database_now() + timedelta(minutes=2))
    assert found.startswith(f"Event {AuditEvent.objects.order_by('pk')[15].pk} of ")
    assert (walk.waiting, walk.events, walk.seals) == (2, 15, 3)


# --- The commands ---


def test_verify_audit_says_what_is_sealed_and_fails_with_a_sentence(sealed, database, capsys, subtests):
    fill(database, 1)
    with subtests.test("all is well"):
        done = database.manage("verify_audit", "--head", bytes(sealed[1].digest).hex(), role=WEB)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"15 events under 3 seals; the head is {bytes(sealed[-1].digest).hex()}." in done.stdout
        assert "1 events not yet sealed, the first of " in done.stdout
    event = AuditEvent.objects.order_by("pk")[3].pk
    tampered(database, f"UPDATE peers_auditevent SET actor_kind = 'person' WHERE id = {event}")
    with subtests.test("a changed event"):
        with pytest.raises(CommandError) as failed:
            call_command("verify_audit")
        assert str(failed.value) == "The audit is not as it was sealed: 1 findings."
        assert f"Seal {sealed[0].pk} does not fit events" in capsys.readouterr().err
    for wrong in ("", "xyz", "00" * 31, "é" * 64):
        with subtests.test(wrong), pytest.raises(CommandError, match="64 hexadecimal digits"):
            call_command("verify_audit", "--head", wrong)


def test_twenty_thousand_events_are_sealed_and_verified(database, capsys, monkeypatch):
    fill(database, 20_000)
    began = time.monotonic()
    assert seals.seal_all() == 20_000
    sealed_at = time.monotonic()
    monkeypatch.setattr("peers.management.commands.verify_audit.EVERY", 10_000)
    monkeypatch.setattr(chain, "AT_ONCE", 10)
    call_command("verify_audit")
    verified_at = time.monotonic()
    assert "10000 events so far\n20000 events so far\n20000 events under 20 seals" in capsys.readouterr().out
    with capsys.disabled():
        print(
            f"20,000 events: sealed in {sealed_at - began:.2f} s, verified in {verified_at - sealed_at:.2f} s"
        )


def test_the_sealer_goes_on_until_it_is_told_to_stop(database):
    fill(database, 3)
    process = subprocess.Popen(
        [sys.executable, "manage.py", "seal_audit", "--loop"],
        cwd=ROOT, env=database.environment(WEB), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    give_up = time.monotonic() + 20
    while not AuditSeal.objects.exists():
        assert time.monotonic() < give_up
        time.sleep(0.05)
    process.terminate()
    assert process.wait(5) == 0


def test_the_sealer_looks_through_the_whole_audit_once_an_hour_and_again_where_it_failed(monkeypatch):
    clock, done = [time.monotonic()], []

    def search(**_):
        done.append("all")
        if len(done) == 1:
            raise OperationalError

    def rounds(work, *, pause):
        for _ in range(2 * SEARCH_EVERY // pause):
            with suppress(OperationalError):
                work()
            clock[0] += pause

    monkeypatch.setattr("peers.management.commands.seal_audit.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("peers.management.commands.seal_audit.go_round", rounds)
    monkeypatch.setattr(seals, "seal_all", search)
    monkeypatch.setattr(seals, "seal_recent", lambda **_: done.append("recent"))
    call_command("seal_audit", "--loop")
    searches = [number for number, what in enumerate(done) if what == "all"]
    assert searches == [0, 1, 1 + SEARCH_EVERY // PAUSE]
    assert len(done) == 2 * SEARCH_EVERY // PAUSE


def test_the_audits_page_says_until_when_it_is_sealed(admin, laptop):
    assert "The audit is not sealed yet" in text(admin.get(AUDIT))
    seals.seal_all()
    made = AuditSeal.objects.get()
    page = text(admin.get(AUDIT))
    assert f"Sealed until {made.sealed_at:%Y-%m-%d %H:%M:%S} UTC" in page
    assert bytes(made.digest).hex()[:16] in page
