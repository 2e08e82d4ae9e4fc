"""Tokens in the admin: made for a service account and shown once, listed by their beginnings, revoked with what came of them."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import services
from peers.models import ApiToken, AuditEvent, Peer, Scope
from peers.tokens import PREFIX, digest
from tests import rows
from tests.integration.audit import text
from tests.integration.pages import HOSTILE, PEERS, kept, names, said, staff

TOKENS = "/admin/peers/apitoken/"
SECRET = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")


@pytest.fixture
def runner(wg0):
    return rows.account(wg0, name="ci runner")


@pytest.fixture
def token(runner):
    return rows.token(runner, name="deploy")[0]


@pytest.fixture
def make(runner):
    return f"/admin/peers/serviceaccount/{runner.pk}/make-token/"


def wanted(**fields):
    """Return what the form of a token sends."""
    return {
        "name": "deploy",
        "scopes": ["peers:enrol", "peers:revoke"],
        "days": "90",
        "use_limit": "",
        **fields,
    }


# --- Made ---


def test_a_token_is_shown_on_the_answer_and_is_the_one_that_was_made(admin, root, runner, make):
    assert 'name="days" value="90"' in admin.get(make).content.decode()
    answer = admin.post(make, wanted(use_limit="5"))
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    [secret] = set(SECRET.findall(answer.content.decode()))
    made = ApiToken.objects.get()
    assert (made.token_hash, made.service_account, made.made_by) == (digest(secret), runner, root)
    assert (made.name, made.scopes, made.use_limit) == ("deploy", [Scope.ENROL, Scope.REVOKE], 5)
    assert timedelta(days=89) < made.expires_at - timezone.now() <= timedelta(days=90)
    event = AuditEvent.objects.get(action="make_token")
    assert (event.actor, event.service_account, event.source) == (root, runner, "203.0.113.9")


def test_a_token_is_kept_nowhere(admin, runner, make, database, caplog):
    [secret] = set(SECRET.findall(admin.post(make, wanted()).content.decode()))
    dumped = [
        database.sql(f"SELECT string_agg(row::text, ' ') FROM {table} AS row")
        for table in database.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").splitlines()
    ]
    assert sum(len(rows_of) for rows_of in dumped) > 1000
    assert not [found for found in dumped if secret in found]
    assert secret not in "".join(Session.objects.values_list("session_data", flat=True))
    assert secret not in str(list(LogEntry.objects.values()))
    assert secret not in caplog.text
    for path in (make, TOKENS, f"{TOKENS}{ApiToken.objects.get().pk}/change/"):
        assert secret not in admin.get(path).content.decode()


def test_the_same_form_sent_again_makes_no_second_token(admin, make):
    admin.post(make, wanted())
    answer = admin.post(make, wanted())
    assert answer.status_code == 400
    assert "There is a token of that name already." in text(answer)
    assert not SECRET.search(answer.content.decode())
    assert ApiToken.objects.count() == 1
    services.revoke_token(actor=services.Actor(), token=ApiToken.objects.get(), at=timezone.now())
    assert admin.post(make, wanted()).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""}, {"name": "a\u202eb"}, {"name": HOSTILE}, {"name": "x" * 65}, {"scopes": []}, {"scopes": ["all"]},
        {"scopes": ["peers:enrol", "peers:admin"]}, {"days": ""}, {"days": "0"}, {"days": "3651"}, {"days": "9" * 30},
        {"days": "soon"}, {"use_limit": "0"}, {"use_limit": "-1"}, {"use_limit": "9" * 12},
    ],
    ids=str,
)  # fmt: skip
def test_a_token_that_cannot_be_is_refused_on_the_form(admin, make, fields):
    before = kept()
    answer = admin.post(make, wanted(**fields))
    assert answer.status_code == 400
    assert "errorlist" in answer.content.decode()
    assert HOSTILE not in answer.content.decode()
    assert (kept(), ApiToken.objects.exists()) == (before, False)


@pytest.mark.parametrize("days", [1, 3650])
def test_a_token_lasts_a_day_to_ten_years(admin, make, days):
    assert admin.post(make, wanted(days=str(days))).status_code == 200
    assert abs(ApiToken.objects.get().expires_at - timezone.now() - timedelta(days=days)) < timedelta(
        minutes=1
    )


def test_looking_makes_nothing_and_making_takes_the_right(admin, make):
    assert admin.get(make, wanted()).status_code == 200
    browser = staff("view_serviceaccount", "change_serviceaccount", "view_apitoken", "revoke_apitoken")
    assert browser.get(make).status_code == 403
    assert browser.post(make, wanted()).status_code == 403
    assert not ApiToken.objects.exists()
    assert staff("add_apitoken").post(make, wanted()).status_code == 200
    assert admin.get("/admin/peers/serviceaccount/99999/make-token/").status_code == 404


# --- Listed ---


def test_the_list_and_the_page_show_a_token_by_its_beginning(admin, alice, runner, token):
    services.note_use(token, source="198.51.100.9", at=timezone.now())
    rows.token(alice, Scope.READ, name="mine")
    page = admin.get(TOKENS)
    shown = text(page)
    for words in (
        "deploy",
        "mine",
        "ci runner",
        "Alice",
        f"{token.beginning}…",
        f"{timezone.now():%Y-%m-%d}",
        "never",
        "enrol, read, revoke",
    ):
        assert words in shown, words
    detail = admin.get(f"{TOKENS}{token.pk}/change/")
    assert f"{token.beginning}…" in text(detail)
    assert "enrol, renew and rename; read; revoke" in text(detail)
    assert "198.51.100.9" in text(detail)
    for answer in (page, detail):
        assert token.token_hash not in answer.content.decode()
        assert 'name="name"' not in answer.content.decode()


def test_tokens_are_narrowed_down_and_searched(admin, alice, wg0, runner, token, subtests):
    over = rows.token(runner, name="over", expires_at=timezone.now() + timedelta(milliseconds=1))[0]
    gone = rows.token(runner, name="gone")[0]
    services.revoke_token(actor=services.Actor(), token=gone, at=timezone.now())
    resting = rows.account(wg0, name="resting")
    rows.token(resting, name="asleep")
    services.suspend_account(actor=services.Actor(), account=resting, at=timezone.now(), reason="leaked")
    rows.token(alice, name="mine")
    for query, expected in {
        "state=usable": {"deploy", "mine"},
        "state=asleep": {"asleep"},
        "state=expired": {"over"},
        "state=revoked": {"gone"},
        "service_account=none": {"mine"},
        "service_account=any": {"deploy", "over", "gone", "asleep"},
        f"service_account={runner.pk}": {"deploy", "over", "gone"},
        f"owner__id__exact={alice.pk}": {"mine"},
        "q=runner": {"deploy", "over", "gone"},
        "q=alice": {"mine"},
        f"q={over.beginning}": {"over"},
    }.items():
        with subtests.test(query):
            assert set(names(admin.get(f"{TOKENS}?{query}"))) == expected
    for query in ("state=x", "service_account=99999", "service_account=x", f"service_account={'9' * 30}"):
        with subtests.test(query):
            assert admin.get(f"{TOKENS}?{query}").status_code == 302


@pytest.mark.parametrize(
    "query",
    ["token_hash__startswith=a", "scopes=x", "owner__password__startswith=x", "beginning=x", "id__gt=1"],
)
def test_no_column_of_tokens_is_looked_up_by_an_address(admin, token, query):
    assert admin.get(f"{TOKENS}?{query}").status_code == 400


def test_no_token_is_added_changed_or_deleted_here(admin, token):
    for path in ("add/", f"{token.pk}/change/", f"{token.pk}/delete/"):
        assert (
            admin.post(
                f"{TOKENS}{path}", {"name": "x", "expires_at": "2199-01-01", "post": "yes"}
            ).status_code
            == 403
        )
    admin.post(TOKENS, {"action": "delete_selected", "_selected_action": [token.pk], "post": "yes"})
    assert ApiToken.objects.values("name").get() == {"name": "deploy"}


def test_no_page_of_tokens_costs_more_queries_for_more(admin, wg0, alice, runner, token):
    def cost(path):
        admin.get(path)
        with CaptureQueriesContext(connection) as seen:
            assert admin.get(path).status_code == 200
        return len(seen)

    few = [cost(path) for path in (TOKENS, f"{TOKENS}{token.pk}/change/")]
    for number in range(12):
        rows.token(rows.account(wg0))
        rows.token(rows.person())
        rows.machine(runner, wg0, f"build-{number}", actor=services.Actor(token=token))
    assert [cost(path) for path in (TOKENS, f"{TOKENS}{token.pk}/change/")] == few


# --- Revoked ---


def test_revoking_needs_a_reason_and_leaves_the_machines_unless_they_are_to_go_too(
    admin, root, wg0, runner, token
):
    peer = rows.machine(runner, wg0, "build-1", actor=services.Actor(token=token))
    path = f"{TOKENS}{token.pk}/revoke/"
    assert "Also revoke the device that was enrolled with it" in text(admin.get(path))
    for form in ({}, {"reason": ""}, {"reason": "a\nb"}, {"with_peers": "on"}):
        assert admin.post(path, form).status_code == 400
    assert not ApiToken.objects.exclude(revoked_at=None).exists()
    answer = admin.post(path, {"reason": "leaked"})
    assert (answer.status_code, answer["Location"]) == (302, f"{TOKENS}{token.pk}/change/")
    assert said(answer) == [("success", "Revoked: deploy.")]
    token.refresh_from_db()
    peer.refresh_from_db()
    assert (token.revoked_by, peer.revoked_at) == (root, None)
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.reason, event.service_account) == ("revoke_token", "leaked", runner)
    answer = admin.post(path, {"reason": "these too", "with_peers": "on"})
    assert ("success", "1 device was revoked.") in said(answer)
    assert Peer.objects.get().revoke_reason == "these too"
    assert "Revoke…" not in text(admin.get(f"{TOKENS}{token.pk}/change/"))


def test_revoking_with_its_machines_takes_those_alone(admin, wg0, runner, token):
    other = rows.token(runner, name="other")[0]
    for name, with_ in (("build-1", token), ("build-2", token), ("build-3", other)):
        rows.machine(runner, wg0, name, actor=services.Actor(token=with_))
    answer = admin.post(f"{TOKENS}{token.pk}/revoke/", {"reason": "leaked", "with_peers": "on"})
    assert ("success", "2 devices were revoked.") in said(answer)
    assert list(Peer.objects.filter(revoked_at=None).values_list("name", flat=True)) == ["build-3"]
    assert AuditEvent.objects.filter(action="revoke", reason="leaked").count() == 2


def test_nobody_is_asked_about_machines_where_there_are_none(admin, token):
    path = f"{TOKENS}{token.pk}/revoke/"
    assert "with_peers" not in admin.get(path).content.decode()
    assert said(admin.post(path, {"reason": "x", "with_peers": "on"})) == [("success", "Revoked: deploy.")]


def test_who_may_revoke_tokens_and_no_devices_leaves_the_devices(wg0, runner, token):
    rows.machine(runner, wg0, actor=services.Actor(token=token))
    browser, path = staff("view_apitoken", "revoke_apitoken"), f"{TOKENS}{token.pk}/revoke/"
    assert "with_peers" not in browser.get(path).content.decode()
    assert browser.post(path, {"reason": "x", "with_peers": "on"}).status_code == 302
    token.refresh_from_db()
    assert token.revoked_at
    assert not Peer.objects.exclude(revoked_at=None).exists()


def test_revoking_takes_its_right(token):
    path = f"{TOKENS}{token.pk}/revoke/"
    browser = staff("view_apitoken", "add_apitoken", "revoke_peer")
    assert browser.get(path).status_code == 403
    assert browser.post(path, {"reason": "x"}).status_code == 403
    assert "Revoke…" not in text(browser.get(f"{TOKENS}{token.pk}/change/"))
    assert not ApiToken.objects.exclude(revoked_at=None).exists()
    assert staff("revoke_apitoken").post(path, {"reason": "x"}).status_code == 302


# --- In the list of devices ---


def test_devices_are_found_by_their_service_account_and_by_their_token(
    admin, alice, wg0, runner, token, subtests
):
    rows.machine(runner, wg0, "build-1", actor=services.Actor(token=token))
    rows.machine(rows.account(wg0, name="sensors"), wg0, "sensor-1")
    rows.peer(alice, wg0, "laptop")
    for query, expected in {
        "q=ci+runner": {"build-1"},
        "q=runner+build": {"build-1"},
        "q=sensors": {"sensor-1"},
        "q=alice": {"laptop"},
        "service_account=any": {"build-1", "sensor-1"},
        "service_account=none": {"laptop"},
        f"service_account={runner.pk}": {"build-1"},
        f"token__id__exact={token.pk}": {"build-1"},
        f"owner__id__exact={alice.pk}": {"laptop"},
    }.items():
        with subtests.test(query):
            assert set(names(admin.get(f"{PEERS}?{query}"))) == expected
    for query in (
        "service_account=99999",
        "service_account=x",
        "token__id__exact=x",
        "token__id__exact=99999",
    ):
        with subtests.test(query):
            assert admin.get(f"{PEERS}?{query}")["Location"] == f"{PEERS}?e=1"


def test_the_list_and_the_page_of_a_device_say_whose_it_is_and_with_which_token_it_came(
    admin, alice, wg0, runner, token
):
    peer = rows.machine(runner, wg0, "build-1", actor=services.Actor(token=token))
    rows.peer(alice, wg0, "laptop")
    cells = re.findall(r'class="field-held_by">(.*?)</td>', admin.get(PEERS).content.decode())
    assert cells == ["Alice", f"ci runner<br><small>{token.beginning}…</small>"]
    page = admin.get(f"{PEERS}{peer.pk}/change/").content.decode()
    assert f'href="/admin/peers/serviceaccount/{runner.pk}/change/"' in page
    assert f'href="{TOKENS}{token.pk}/change/"' in page


def test_with_many_accounts_the_list_offers_the_first_and_the_one_that_is_chosen(admin, wg0, monkeypatch):
    monkeypatch.setattr("peers.admin.filters.LISTED", 2)
    found = [rows.account(wg0, name=f"account {letter}") for letter in "abcd"]
    rows.machine(found[3], wg0)
    offered = re.findall(r"\?service_account=(\d+)", admin.get(PEERS).content.decode())
    assert offered == [str(account.pk) for account in found[:2]]
    assert names(admin.get(PEERS, {"service_account": found[3].pk})) == ["build-1"]
