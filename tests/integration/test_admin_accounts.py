"""Service accounts in the admin: made, changed, suspended and restored, with what that does to their machines on the page."""

import re
from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, Peer, ServiceAccount
from tests import rows
from tests.integration.audit import text
from tests.integration.pages import HOSTILE, PEERS, kept, names, said, staff

ACCOUNTS = "/admin/peers/serviceaccount/"


@pytest.fixture
def runner(wg0):
    return rows.account(wg0, name="ci runner", team="Build")


def settings(wg0, **fields):
    """Return what the form of a service account sends."""
    return {
        "name": "ci runner", "team": "Build", "interfaces": [wg0.pk], "device_limit": "50", "default_ttl": "1 h",
        "max_ttl": "1 d", "idle_after": "", "source_networks": "", **fields,
    }  # fmt: skip


def errors(answer):
    assert answer.status_code == 200
    return re.findall(r'class="errorlist[^>]*>(?:<li>)?(.*?)</ul>', answer.content.decode(), re.DOTALL)


# --- Made and changed ---


def test_a_service_account_is_made_with_its_settings_in_the_audit(admin, root, wg0):
    form = settings(wg0, name="  Bu\u0308ild 1 ", idle_after="30 min", source_networks="10.0.0.0/8,fd00::/8")
    assert admin.get(f"{ACCOUNTS}add/").status_code == 200
    assert admin.post(f"{ACCOUNTS}add/", form).status_code == 302
    made = ServiceAccount.objects.get()
    assert (made.name, made.team, list(made.interfaces.all())) == ("Büild 1", "Build", [wg0])
    assert (made.default_ttl, made.max_ttl) == (timedelta(hours=1), timedelta(days=1))
    assert (made.idle_after, made.device_limit) == (timedelta(minutes=30), 50)
    assert made.source_networks == [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.source, event.service_account) == (
        "create_account", root, "203.0.113.9", made,
    )  # fmt: skip
    assert event.new["interfaces"] == "wg0"


def test_an_accounts_settings_are_changed_with_what_changed_in_the_audit(admin, wg0, runner):
    wg1 = rows.interface("wg1")
    path = f"{ACCOUNTS}{runner.pk}/change/"
    page = admin.get(path).content.decode()
    for field, value in (("default_ttl", "1 h"), ("max_ttl", "1 d"), ("device_limit", "100")):
        assert re.search(
            rf'<input[^>]*name="{field}"[^>]*value="{value}"|value="{value}"[^>]*name="{field}"', page
        )
    form = settings(wg0, interfaces=[wg1.pk], device_limit="100", default_ttl="90 s", max_ttl="")
    answer = admin.post(path, {**form, "default_ttl": "", "name": "ci runner"})
    assert answer.status_code == 302
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.old, event.new) == (
        "change_account",
        {"default_ttl": "1:00:00", "max_ttl": "1 day, 0:00:00", "interfaces": "wg0"},
        {"default_ttl": "None", "max_ttl": "None", "interfaces": "wg1"},
    )


def test_saving_what_was_not_changed_writes_nothing(admin, wg0, runner):
    before = kept()
    form = settings(wg0, device_limit="100")
    assert admin.post(f"{ACCOUNTS}{runner.pk}/change/", form).status_code == 302
    assert kept() == before


def test_settings_that_cannot_work_are_refused_on_the_form(admin, wg0, runner, subtests):
    before = list(ServiceAccount.objects.values())
    for field, value in {
        "name": "", "team": "  ", "interfaces": [], "device_limit": "-1", "default_ttl": "soon", "max_ttl": "59 s",
        "idle_after": "299 s", "source_networks": "10.0.0.1/8",
    }.items():  # fmt: skip
        with subtests.test(field):
            for path in (f"{ACCOUNTS}add/", f"{ACCOUNTS}{runner.pk}/change/"):
                assert errors(admin.post(path, settings(wg0, **{"name": "another", field: value})))
    for name, case in (("a\u202eb", "direction"), (HOSTILE, "tag"), ("a\nb", "line"), ("x" * 65, "length")):
        with subtests.test(case):
            assert errors(admin.post(f"{ACCOUNTS}add/", settings(wg0, name=name)))
            assert errors(admin.post(f"{ACCOUNTS}add/", settings(wg0, name="another", team=name)))
    for case, ttls in {
        "a usual time longer than the longest": {"default_ttl": "2 d", "max_ttl": "1 d"},
        "a longest time without a usual one": {"default_ttl": "", "max_ttl": "1 d"},
        "beyond all time": {"default_ttl": "999999999999 d", "max_ttl": ""},
        "the name of another": {"name": "ci runner"},
    }.items():
        with subtests.test(case):
            assert errors(admin.post(f"{ACCOUNTS}add/", settings(wg0, **{"name": "another", **ttls})))
    assert list(ServiceAccount.objects.values()) == before


def test_what_no_form_offers_cannot_be_posted(admin, wg0, runner):
    forged = settings(
        wg0, device_limit="100", suspended_at="2026-01-01", suspend_reason="x", made_at="2020-01-01", id="77",
    )  # fmt: skip
    before = ServiceAccount.objects.values().get()
    assert admin.post(f"{ACCOUNTS}{runner.pk}/change/", forged).status_code == 302
    assert ServiceAccount.objects.values().get() == before


def test_an_address_fills_in_no_form(admin, wg0):
    page = admin.get(f"{ACCOUNTS}add/?name=trap&source_networks=0.0.0.0/0&default_ttl=x").content.decode()
    assert "trap" not in re.search(r"(?s)<form[^>]*serviceaccount_form.*?</form>", page)[0]


def test_no_account_is_deleted(admin, runner):
    assert admin.post(f"{ACCOUNTS}{runner.pk}/delete/", {"post": "yes"}).status_code == 403
    admin.post(ACCOUNTS, {"action": "delete_selected", "_selected_action": [runner.pk], "post": "yes"})
    assert ServiceAccount.objects.exists()


def test_each_act_on_an_account_takes_its_right(wg0, runner, subtests):
    form = settings(wg0, name="other")
    for right, path, allowed in (
        ("view_serviceaccount", f"{ACCOUNTS}{runner.pk}/change/", ()),
        ("add_serviceaccount", f"{ACCOUNTS}add/", ("add_serviceaccount",)),
        ("change_serviceaccount", f"{ACCOUNTS}{runner.pk}/change/", ("change_serviceaccount",)),
        ("suspend_serviceaccount", f"{ACCOUNTS}{runner.pk}/suspend/", ("suspend_serviceaccount",)),
        ("add_apitoken", f"{ACCOUNTS}{runner.pk}/make-token/", ("add_apitoken",)),
    ):
        with subtests.test(right):
            rest = {"view_serviceaccount", "add_serviceaccount", "change_serviceaccount", "suspend_serviceaccount",
                    "add_apitoken"} - {right, *allowed}  # fmt: skip
            before = kept(), list(ServiceAccount.objects.values())
            without = staff(*(rest - {"change_serviceaccount"} if right == "view_serviceaccount" else rest))
            assert without.post(path, {**form, "reason": "x"}).status_code == 403
            assert (kept()[:2], list(ServiceAccount.objects.values())) == (before[0][:2], before[1])
    assert staff("view_serviceaccount").get(f"{ACCOUNTS}{runner.pk}/change/").status_code == 200


# --- Suspended and restored ---


def test_suspending_says_how_many_machines_it_cuts_and_asks_why(admin, root, wg0, runner):
    for number in range(3):
        rows.machine(runner, wg0, f"build-{number}")
    services.revoke(actor=services.Actor(), peer=Peer.objects.get(name="build-2"), at=timezone.now())
    path = f"{ACCOUNTS}{runner.pk}/suspend/"
    assert "2 machines leave the network at once." in text(admin.get(path))
    before = kept()
    for form in ({}, {"reason": " "}, {"reason": "x" * 201}, {"reason": "a\u202eb"}):
        assert admin.post(path, form).status_code == 400
    assert kept() == before
    answer = admin.post(path, {"reason": "leaked"})
    assert (answer.status_code, answer["Location"]) == (302, f"{ACCOUNTS}{runner.pk}/change/")
    assert said(answer) == [("success", "Suspended: ci runner.")]
    assert not Peer.objects.entitled(timezone.now()).exists()
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor, event.service_account, event.reason) == (
        "suspend",
        root,
        runner,
        "leaked",
    )
    page = text(admin.get(f"{ACCOUNTS}{runner.pk}/change/"))
    assert "Reason: leaked" in page
    assert page.count("Suspended") >= 2  # the account, and each machine that it had
    assert said(admin.post(path, {"reason": "again"}))[-1] == ("warning", "ci runner is suspended already.")


def test_restoring_says_what_comes_back(admin, wg0, runner):
    rows.machine(runner, wg0)
    services.suspend_account(actor=services.Actor(), account=runner, at=timezone.now(), reason="leaked")
    path = f"{ACCOUNTS}{runner.pk}/restore/"
    page = text(admin.get(path))
    assert "Reason: leaked" in page
    assert "1 machine comes back with it" in page
    assert said(admin.post(path, {"reason": ""})) == [("success", "Restored: ci runner.")]
    assert Peer.objects.entitled(timezone.now()).count() == 1
    assert said(admin.post(path, {"reason": ""}))[-1] == ("warning", "ci runner is not suspended.")


def test_the_page_of_a_device_says_that_its_account_is_suspended(admin, wg0, runner):
    peer = rows.machine(runner, wg0)
    path = f"{PEERS}{peer.pk}/revoke/"
    assert "suspended" not in text(admin.get(path))
    services.suspend_account(actor=services.Actor(), account=runner, at=timezone.now(), reason="leaked")
    assert "build-1, ci runner, wg0 (its service account is suspended)" in text(admin.get(path))


# --- The list and the page ---


def test_the_list_says_how_many_machines_each_holds(admin, wg0, runner):
    for number in range(2):
        rows.machine(runner, wg0, f"build-{number}")
    rows.machine(runner, wg0, "over", expires_at=timezone.now() + timedelta(milliseconds=1))
    rows.account(rows.interface("wg1"), name="sensors", default_ttl=None, max_ttl=None)
    page = text(admin.get(ACCOUNTS))
    assert "2 of 100" in page
    assert "until it is revoked" in page
    assert "sensors" not in text(admin.get(ACCOUNTS, {"interfaces__id__exact": wg0.pk})).partition("By ")[0]
    assert "ci runner" in text(admin.get(ACCOUNTS, {"q": "build"})).partition("By ")[0]
    services.suspend_account(actor=services.Actor(), account=runner, at=timezone.now(), reason="leaked")
    assert "ci runner" not in text(admin.get(ACCOUNTS, {"suspended": "no"})).partition("By ")[0]


def test_the_page_shows_machines_with_their_states_and_tokens_but_no_secret(admin, wg0, runner, gateway):
    gateway()
    token, secret = rows.token(runner, name="deploy", use_limit=3)
    rows.machine(runner, wg0, "build-1", actor=services.Actor(token=token))
    services.note_use(token, source="198.51.100.9", at=timezone.now())
    page = admin.get(f"{ACCOUNTS}{runner.pk}/change/")
    shown = text(page)
    for words in (
        "build-1", "Pending", "deploy", f"{token.beginning}…", "enrol, renew and rename; read; revoke", "Usable",
        "1 of 3", "198.51.100.9",
    ):  # fmt: skip
        assert words in shown, words
    assert secret not in page.content.decode()
    assert token.token_hash not in page.content.decode()
    assert f"{PEERS}?service_account={runner.pk}" in page.content.decode()
    assert names(admin.get(PEERS, {"service_account": runner.pk})) == ["build-1"]


def test_the_page_shows_what_one_may_see(wg0, runner):
    rows.machine(runner, wg0, "build-1")
    rows.token(runner, name="deploy")
    page = text(staff("view_serviceaccount").get(f"{ACCOUNTS}{runner.pk}/change/"))
    assert "build-1" not in page
    assert "deploy" not in page
    for act in ("Suspend…", "Make a token…"):
        assert act not in page


@pytest.mark.parametrize(
    "query", ["name__regex=(", "tokens__token_hash__startswith=a", "peers__name=x", "team=Build", "id__gt=0"]
)
def test_no_column_of_accounts_is_looked_up_by_an_address(admin, runner, query):
    assert admin.get(f"{ACCOUNTS}?{query}").status_code == 400


def test_hostile_names_are_shown_as_text(admin, wg0, subtests):
    hostile = rows.account(wg0, name=HOSTILE, team=HOSTILE)
    rows.token(hostile, name=HOSTILE)
    rows.machine(hostile, wg0, HOSTILE)
    for path in (
        ACCOUNTS,
        *(f"{ACCOUNTS}{hostile.pk}/{page}/" for page in ("change", "suspend", "make-token")),
    ):
        with subtests.test(path):
            page = admin.get(path).content.decode()
            assert HOSTILE not in page
            assert "&lt;script&gt;" in page


def test_no_page_of_accounts_costs_more_queries_for_more(admin, wg0, runner, subtests):
    def fill(count):
        for number in range(count):
            rows.machine(rows.account(wg0), wg0)
            rows.machine(runner, wg0, f"build-{number}", actor=services.Actor(token=rows.token(runner)[0]))

    fill(2)
    few = {path: cost(admin, path) for path in (ACCOUNTS, f"{ACCOUNTS}{runner.pk}/change/")}
    fill(12)
    for path, queries in few.items():
        with subtests.test(path):
            assert cost(admin, path) == queries


def cost(browser, path):
    browser.get(path)  # what is kept from one request to the next
    with CaptureQueriesContext(connection) as seen:
        assert browser.get(path).status_code == 200
    return len(seen)
