"""Whether a person's access lasts is asked of the provider: three answers and nothing else, and what follows from each."""

import threading
import time
from contextlib import closing
from datetime import timedelta
from itertools import pairwise

import psycopg2
import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection, connections
from django.test import Client
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, Interface, Peer
from peers.states import State, standing
from portal.access import questions, revalidation
from portal.access.answers import CannotTell, Gone
from portal.access.questions import claim, settle
from portal.access.revalidation import revalidate, unanswered
from portal.models import LossReason, RefreshToken, User
from portal.oidc import discovery
from tests import rows
from tests.integration import provider_double as double_
from tests.integration.conftest import use_providers
from tests.integration.provider_double import DISCOVERY, KEYS, TOKEN, USERINFO
from tests.integration.refreshing import BEYOND, Refreshing, entitled, now

pytestmark = pytest.mark.usefixtures("database")

EVERY = timedelta(minutes=5)


@pytest.fixture
def wg0(database):
    return rows.interface(device_limit=1000)


@pytest.fixture
def alice(hire):
    return hire("alice")


# --- Fine ---


def test_who_is_fine_stays_and_their_lease_does_not_grow(idp, alice):
    assert revalidate(now()) == {"fine": 1}
    row = RefreshToken.objects.get()
    was, at = alice.signed_in_at, row.answered_at
    alice.refresh_from_db()
    assert (alice.signed_in_at, entitled()) == (was, {"alice"})
    assert 0.8 * EVERY <= row.due_at - at <= 1.2 * EVERY
    assert revalidate(now()) == {}
    assert revalidate(now(BEYOND)) == {"fine": 1}
    assert idp.questions == {"alice": 2}


def test_a_rotated_token_is_used_the_next_time_and_is_encrypted_at_rest(idp, alice, database):
    revalidate(now())
    assert RefreshToken.objects.get().token == idp.token("alice") == "alice.2"
    assert "alice.2" not in database.sql("SELECT token FROM portal_refreshtoken")
    assert revalidate(now(BEYOND)) == {"fine": 1}


def test_a_rotated_token_is_committed_before_the_person_is_asked_about(idp, alice):
    idp.behave[USERINFO] = double_.fails
    assert revalidate(now()) == {"cannot_tell": 1}
    assert RefreshToken.objects.get().token == "alice.2"


def test_people_without_an_entitled_device_are_not_asked_about(idp, hire):
    for name in ("suspended", "revoked", "over"):
        hire(name)
    services.suspend_person(
        actor=services.Actor(), person=User.objects.get(sub="suspended"), at=now(), reason="why"
    )
    revoked = Peer.objects.get(owner__sub="revoked")
    services.revoke(actor=services.Actor(), peer=revoked, at=now())
    User.objects.update(signed_in_at=now() - timedelta(hours=13))
    User.objects.filter(sub="over").update(signed_in_at=now() - timedelta(days=8))
    assert revalidate(now()) == {}
    assert idp.questions == {}
    assert not RefreshToken.objects.filter(
        due_at__lte=now(0.9 * EVERY)
    ).exists()  # nor looked at by each claim


# --- Gone ---


def test_who_is_refused_loses_devices_and_sessions_at_once_and_signing_in_brings_them_back(idp, alice, wg0):
    browser = Client()
    idp.is_person("alice", groups=["employees"])
    idp.tokens["refresh_token"] = idp.token("alice")
    idp.sign_in(browser)
    assert browser.get("/").status_code == 200
    idp.out.add("alice")
    assert revalidate(now(BEYOND)) == {"gone": 1}
    assert entitled() == set()
    assert browser.get("/").status_code == 302
    assert not Session.objects.exists()
    alice.refresh_from_db()
    assert (alice.access_end_reason, alice.is_active) == ("refused", True)
    assert not RefreshToken.objects.exists()
    event = AuditEvent.objects.get(action="access_ended")
    assert (event.actor_kind, event.person, event.new) == ("command", alice, {"why": "refused", "devices": 1})
    idp.out.clear()
    assert idp.sign_in(browser).status_code == 302
    assert entitled() == {"alice"}
    alice.refresh_from_db()
    assert (alice.access_ended_at, alice.access_end_reason, alice.lease_limit) == (None, "", None)


def test_who_is_said_to_be_disabled_is_gone(idp, alice):
    idp.claims["active"] = False
    assert revalidate(now()) == {"gone": 1}
    alice.refresh_from_db()
    assert (alice.access_end_reason, entitled()) == ("disabled", set())


def test_who_is_in_no_group_that_lets_them_in_is_gone_with_their_rights(idp, hire):
    carol = hire("carol", is_staff=True, is_superuser=True, groups_claim=["employees", "vpn-admins"])
    idp.groups["carol"] = ["guests"]
    assert revalidate(now()) == {"gone": 1}
    carol.refresh_from_db()
    assert (carol.access_end_reason, carol.groups_claim) == ("group_lost", ["guests"])
    assert (carol.is_staff, carol.is_superuser) == (False, False)


def test_the_page_of_a_device_says_sign_in_over(alice, idp, database):
    database.sql(
        "INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at, last_pass_at,"
        f" drift_found, left_alone, unexplained, held, problem) VALUES ('gw1', {Interface.objects.get().pk}, '', true,"
        " now(), now(), now(), 0, '{}', 0, 0, '')"
    )
    idp.out.add("alice")
    revalidate(now())
    assert standing(Peer.objects.get(), timezone.now()).state == State.REVOKING  # nobody has looked since
    database.sql("UPDATE peers_gatewaystatus SET last_pass_at = now()")
    assert standing(Peer.objects.get(), timezone.now()).state == State.SIGNED_OUT


# --- Groups ---


def test_a_group_that_an_interface_asks_for_cuts_there_alone_and_brings_back(idp, hire, wg0):
    Interface.objects.update(enrol_groups=["vpn"])
    alice = hire("alice", groups_claim=["employees", "vpn"])
    elsewhere = rows.interface("wg1")
    rows.peer(alice, elsewhere)
    browser = Client()
    browser.force_login(alice)
    assert revalidate(now()) == {"fine": 1}
    assert list(Peer.objects.entitled(now())) == [Peer.objects.get(interface=elsewhere)]
    assert browser.get("/").status_code == 200
    event = AuditEvent.objects.get(action="groups_changed")
    assert (event.old, event.new) == (
        {"groups": ["employees", "vpn"]},
        {"groups": ["employees"], "devices": 1},
    )
    idp.groups["alice"] = ["employees", "vpn"]
    assert revalidate(now(BEYOND)) == {"fine": 1}
    assert Peer.objects.entitled(now()).count() == 2
    assert AuditEvent.objects.latest("pk").new == {"groups": ["employees", "vpn"], "devices": 0}


def test_the_administrators_group_comes_and_goes_with_the_providers_word(idp, alice):
    idp.groups["alice"] = ["employees", "vpn-admins"]
    revalidate(now())
    alice.refresh_from_db()
    assert (alice.is_staff, alice.is_superuser) == (True, True)
    idp.groups["alice"] = ["employees"]
    revalidate(now(BEYOND))
    alice.refresh_from_db()
    assert (alice.is_staff, alice.is_superuser) == (False, False)


def test_who_lost_the_only_group_of_their_devices_is_asked_about_until_it_is_back(idp, hire, wg0):
    Interface.objects.update(enrol_groups=["vpn"])
    hire("alice", groups_claim=["employees", "vpn"], signed_in_at=now() - timedelta(days=2))
    assert revalidate(now()) == {"fine": 1}
    assert entitled() == set()
    idp.groups["alice"] = ["employees", "vpn"]
    assert revalidate(now(BEYOND)) == {"fine": 1}
    assert entitled() == {"alice"}


def test_who_has_a_session_and_no_device_is_asked_about_too(idp, hire):
    carol = hire("carol")
    Peer.objects.update(suspended_at=now())
    idp.out.add("carol")
    browser = Client()
    browser.force_login(carol)
    assert revalidate(now()) == {"gone": 1}
    assert browser.get("/").status_code == 302


def test_an_administrator_whose_session_lasts_longer_is_asked_about_for_as_long(idp, hire, settings):
    settings.LATCHKEY_SESSION_AGE, settings.LATCHKEY_ADMIN_SESSION_AGE = (
        timedelta(hours=1),
        timedelta(hours=8),
    )
    hire("carol", signed_in_at=now(timedelta(hours=-3)))
    Peer.objects.update(suspended_at=now())
    assert revalidate(now()) == {"fine": 1}


# --- Nobody can tell ---

OUTAGES = {
    "500": (TOKEN, double_.fails), "garbage": (TOKEN, double_.sends_garbage), "html": (TOKEN, double_.sends_html),
    "a redirect": (TOKEN, double_.redirects), "429": (TOKEN, lambda handler: handler.json({}, status=429)),
    "another client": (TOKEN, lambda handler: handler.json({"error": "invalid_client"}, status=401)),
    "more is asked for": (TOKEN, lambda handler: handler.json({"error": "interaction_required"}, status=400)),
    "refused with another status": (TOKEN, lambda handler: handler.json({"error": "invalid_grant"}, status=403)),
    "no access token": (TOKEN, lambda handler: handler.json({"token_type": "Bearer"})),
    "500 at userinfo": (USERINFO, double_.fails),
    "somebody else": (USERINFO, lambda handler: handler.json({"sub": "eve", "groups": []})),
    "nobody": (USERINFO, lambda handler: handler.json({"groups": []})),
    "discovery": (DISCOVERY, double_.fails),
}  # fmt: skip


def test_an_answer_that_says_nothing_takes_nothing_away(idp, alice, subtests):
    right, before = dict(idp.behave), User.objects.values().get()
    for number, (case, (path, behaviour)) in enumerate(OUTAGES.items()):
        with subtests.test(case):
            idp.behave = {**right, path: behaviour}
            if path == DISCOVERY:
                from django.core.cache import cache

                cache.clear()
            assert revalidate(now(number * timedelta(hours=2))) == {"cannot_tell": 1}
            RefreshToken.objects.update(failures=0)
            assert User.objects.values().get() == before
            assert entitled() == {"alice"}
    assert not AuditEvent.objects.exclude(action="enrol").exists()


def test_an_outage_for_hours_is_asked_less_and_less_and_raises_the_alarm_in_time(idp, alice, caplog):
    idp.behave[TOKEN] = double_.fails
    at, tries = now(), []
    end = at + timedelta(hours=6)
    while at < end:
        if revalidate(at):
            tries.append(at)
            assert (unanswered(at) == {"double": 1}) == (at - tries[0] >= timedelta(hours=1))
        at += timedelta(minutes=4)
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses[0] < timedelta(minutes=10) and max(pauses) <= timedelta(minutes=64)
    assert len(tries) < 14
    assert entitled() == {"alice"}
    assert [record.people for record in caplog.records if record.msg == "revalidation_alarm"] == [
        {"double": 1}
    ]
    idp.behave[TOKEN] = idp._token
    revalidate(end + timedelta(hours=1))
    row = RefreshToken.objects.get()
    assert (row.failing_since, row.failures, row.trouble, unanswered(end)) == (None, 0, "", {})


def test_a_provider_that_wants_to_be_left_alone_is(idp, alice):
    at = now()
    idp.behave[TOKEN] = lambda handler: handler.send(b"{}", status=429, **{"Retry-After": "1800"})
    revalidate(at)
    assert (
        timedelta(0) <= RefreshToken.objects.get().due_at - at - timedelta(minutes=30) < timedelta(seconds=20)
    )


def test_a_provider_that_hangs_is_waited_for_no_longer_than_its_time(idp, alice, monkeypatch):
    monkeypatch.setattr("portal.oidc.http.BUDGET", 0.4)
    idp.behave[TOKEN] = double_.hangs
    assert revalidate(now()) == {"cannot_tell": 1}
    assert entitled() == {"alice"}


def test_a_provider_that_the_settings_know_no_more_says_nothing(idp, alice, settings):
    use_providers(settings, ())
    assert revalidate(now()) == {"cannot_tell": 1}
    assert RefreshToken.objects.get().trouble == "not_configured"


def test_a_token_that_no_key_opens_is_not_sent_and_says_nothing(idp, alice, database):
    database.sql("UPDATE portal_refreshtoken SET token = 'nonsense'")
    assert revalidate(now()) == {"cannot_tell": 1}
    assert TOKEN not in idp.asked
    assert entitled() == {"alice"}


def test_an_answer_that_nobody_thought_of_costs_no_one_else_anything(idp, hire, monkeypatch):
    for name in ("odd", "plain"):
        hire(name)
    right = revalidation.read

    def read(provider, claims, known):
        if claims["sub"] == "odd":
            raise RuntimeError("nobody thought of that")
        return right(provider, claims, known)

    monkeypatch.setattr(revalidation, "read", read)
    assert revalidate(now()) == {"cannot_tell": 1, "fine": 1}


def test_a_rotated_token_outlives_a_database_that_is_away_for_a_moment(idp, alice, database, monkeypatch):
    def away(_seconds):
        monkeypatch.setattr(time, "sleep", lambda _seconds: None)
        database.cluster.sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")

    monkeypatch.setattr(time, "sleep", away)
    right = idp.behave[TOKEN]

    def answers_and_the_database_goes(handler):
        database.cluster.sql(
            f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false;"
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
        )
        right(handler)

    idp.behave[TOKEN] = answers_and_the_database_goes
    assert revalidate(now()) == {"fine": 1}
    assert RefreshToken.objects.get().token == "alice.2"


def test_a_question_that_is_due_in_ten_years_was_put_off_by_a_wrong_clock(idp, alice):
    RefreshToken.objects.update(due_at=now(timedelta(days=3650)))
    assert revalidate(now()) == {"fine": 1}


def test_a_person_whom_nobody_asks_about_counts_as_unanswered(idp, alice):
    assert unanswered(now(timedelta(minutes=59))) == {}
    assert unanswered(now(timedelta(minutes=61))) == {"double": 1}


def test_who_becomes_due_in_a_round_waits_for_the_next(idp, hire, settings):
    settings.LATCHKEY_REVALIDATE_EVERY = timedelta(0)
    for number in range(3):
        hire(f"p{number}")
    assert revalidate(now()) == {"fine": 3}


def test_what_was_written_in_a_long_round_is_not_due_again_in_it(idp, alice):
    begun, hours_later = now(), now(timedelta(hours=3))
    [question] = claim(hours_later, 10, due_by=begun)
    assert claim(hours_later, 10, due_by=begun) == []
    settle(question, CannotTell("timeout"), at=hours_later)
    assert claim(hours_later, 10, due_by=begun) == []


def test_a_round_that_has_lasted_long_enough_leaves_the_rest_to_the_next(idp, hire, monkeypatch, settings):
    settings.LATCHKEY_REVALIDATE_PARALLEL = 1
    for number in range(3):
        hire(f"p{number}")
    idp.latency = 0.1
    monkeypatch.setattr(revalidation, "LONGEST_ROUND", timedelta(seconds=0.05))
    assert [revalidate(now()) for _ in range(3)] == [{"fine": 1}] * 3


def test_a_provider_that_is_down_is_tried_once_a_round(idp, hire, subtests):
    for number in range(5):
        hire(f"p{number}")
    for path in (DISCOVERY, KEYS):
        with subtests.test(down=path):
            cache.clear()
            RefreshToken.objects.update(due_at=now())
            idp.asked.clear()
            idp.behave[path] = double_.fails
            assert revalidate(now()) == {"cannot_tell": 5}
            assert (idp.asked.count(path), idp.questions) == (1, {})
            del idp.behave[path]


def test_a_provider_that_is_down_does_not_keep_a_round_from_the_others(idp, hire, settings):
    other = Refreshing("other")
    use_providers(settings, (idp.provider(), other.provider()))
    for number in range(3):
        hire(f"p{number}")
        other.hire(Interface.objects.get(), f"q{number}")
    idp.behave[DISCOVERY] = double_.fails
    try:
        assert revalidate(now()) == {"cannot_tell": 3, "fine": 3}
    finally:
        other.close()


def test_a_description_that_nobody_thought_of_costs_no_one_else_anything(idp, hire, settings, monkeypatch):
    other = Refreshing("other")
    use_providers(settings, (idp.provider(), other.provider()))
    hire("p")
    other.hire(Interface.objects.get(), "q")
    right = discovery.document

    def document(provider):
        if provider.id == "double":
            raise RuntimeError("nobody thought of that")
        return right(provider)

    monkeypatch.setattr(discovery, "document", document)
    try:
        assert revalidate(now()) == {"cannot_tell": 1, "fine": 1}
    finally:
        other.close()


def test_what_cannot_be_written_down_of_one_person_costs_no_one_else_anything(idp, hire, monkeypatch):
    odd, _ = hire("odd"), hire("plain")
    right = questions.settle

    def settle(question, answer, *, at):
        if question.person == odd.pk:
            raise RuntimeError("nobody thought of that")
        return right(question, answer, at=at)

    monkeypatch.setattr(questions, "settle", settle)
    assert revalidate(now()) == {"cannot_tell": 1, "fine": 1}


def test_a_refresh_token_that_no_header_could_hold_is_not_kept(idp, alice):
    right = {"access_token": "of-alice", "token_type": "Bearer"}
    for odd in ("\ud800", "line\nbreak", "x" * 20_000, 7, ""):
        idp.behave[TOKEN] = lambda handler, odd=odd: handler.json({**right, "refresh_token": odd})
        RefreshToken.objects.update(due_at=now())
        assert revalidate(now()) == {"fine": 1}
        assert RefreshToken.objects.get().token == "alice.1"


def test_the_charset_of_an_answer_changes_nothing(idp, alice):
    def says_utf_16(handler):
        handler.send(
            b'{"sub": "alice", "groups": ["employees"]}', media_type="application/json; charset=utf-16"
        )

    idp.behave[USERINFO] = says_utf_16
    assert revalidate(now()) == {"fine": 1}


def test_a_sign_in_without_the_group_claim_takes_nothing_away(idp, alice):
    idp.is_person("alice")
    del idp.userinfo["groups"]
    answer = idp.sign_in(Client())
    assert answer.status_code == 503
    assert entitled() == {"alice"}
    alice.refresh_from_db()
    assert (alice.groups_claim, alice.access_ended_at) == (["employees"], None)


def test_a_sign_in_without_the_group_claim_takes_nothing_from_who_had_no_groups_either(idp, hire):
    hire("bob", groups_claim=[])
    idp.is_person("bob")
    del idp.userinfo["groups"]
    assert idp.sign_in(Client()).status_code == 503
    assert entitled() == {"bob"}


# --- Twice at once, and against a sign-in ---


def test_two_processes_ask_about_each_person_once(idp, hire):
    idp.latency = 0.05
    for number in range(12):
        hire(f"p{number}")
    outcomes = []

    def ask():
        outcomes.append(revalidate(at))
        connections.close_all()

    at = now()
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcomes[0].values()) + sum(outcomes[1].values()) == 12
    assert set(idp.questions.values()) == {1}


def test_a_row_that_somebody_works_on_is_passed_by(idp, hire, database):
    hire("alice")
    hire("bob")
    with closing(psycopg2.connect(database.url())) as other, connection.cursor() as cursor:
        other.cursor().execute(
            "SELECT FROM portal_refreshtoken WHERE token IS NOT NULL ORDER BY person_id LIMIT 1 FOR UPDATE"
        )
        cursor.execute("SET lock_timeout = '2s'")
        assert [question.sub for question in claim(now(), 10)] == ["bob"]
        other.rollback()


def test_a_question_that_its_asker_never_came_back_with_is_asked_again_a_minute_later(idp, alice):
    at = now()
    assert len(claim(at, 10)) == 1
    assert claim(at + timedelta(seconds=59), 10) == []
    assert revalidate(at + timedelta(seconds=61)) == {"fine": 1}


def test_a_sign_in_meanwhile_wins_over_the_answer_to_the_token_before(idp, alice):
    at = now()
    [question] = claim(at, 10)
    idp.is_person("alice", groups=["employees"])
    idp.tokens["refresh_token"] = "alice.7"
    assert idp.sign_in(Client()).status_code == 302
    assert settle(question, Gone(LossReason.REFUSED), at=at) == "outdated"
    assert entitled() == {"alice"}
    assert RefreshToken.objects.get().token == "alice.7"


def test_without_a_refresh_token_a_sign_in_lasts_a_day_at_most(idp, alice):
    idp.is_person("alice", groups=["employees"])
    assert idp.sign_in(Client()).status_code == 302
    alice.refresh_from_db()
    assert alice.lease_limit == timedelta(hours=24)
    assert not RefreshToken.objects.exists()
    assert not Peer.objects.entitled(now(timedelta(hours=24))).exists()


def test_one_connection_is_held_however_many_are_asked_about(idp, hire, database):
    idp.latency = 0.05
    for number in range(15):
        hire(f"p{number}")
    seen, done = [], threading.Event()

    def watch():
        while not done.is_set():
            count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'latchkey'"
            seen.append(int(database.sql(count)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert revalidate(now()) == {"fine": 15}
    done.set()
    watcher.join()
    assert max(seen) == 1
    assert 1 < idp.most_at_once <= 10
