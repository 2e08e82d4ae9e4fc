"""A person's own tokens: made on their page, shown once, told of in a letter, revoked; nobody else's are there."""

import re
import threading
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from peers import services
from peers.models import ApiToken, AuditEvent, Peer, Scope
from peers.tokens import PREFIX, digest
from peers.views import tokens as views
from portal.models import Mail, User
from tests import rows
from tests.integration.audit import text
from tests.integration.pages import HOSTILE, JSON, kept, signed_in
from tests.integration.test_services import at_once, told

TOKENS = "/accounts/tokens/"
SECRET = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")


@pytest.fixture
def client(alice):
    return signed_in(alice, "192.0.2.7")


def wanted(**fields):
    """Return what the form of a token sends."""
    return {"name": "build server", "scopes": ["peers:enrol"], "days": "30", **fields}


def text_of(answer):
    return re.sub(r"<[^>]*>", "", answer.content.decode())


# --- Made ---


def test_a_token_is_shown_once_on_the_answer_and_acts_for_its_maker_alone(client, alice):
    answer = client.post(TOKENS, wanted(scopes=["peers:enrol", "peers:read"]))
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    page = answer.content.decode()
    [secret] = set(SECRET.findall(page))
    assert page.count(secret) == 1
    made = ApiToken.objects.get()
    assert (made.token_hash, made.owner, made.made_by) == (digest(secret), alice, alice)
    assert (made.name, made.scopes, made.use_limit) == ("build server", [Scope.ENROL, Scope.READ], None)
    assert abs(made.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.person, event.source) == (
        "make_token",
        alice,
        alice,
        "192.0.2.7",
    )
    assert secret not in client.get(TOKENS).content.decode()
    assert secret not in "".join(Session.objects.values_list("session_data", flat=True))
    assert secret not in str(list(Mail.objects.values())) + str(list(AuditEvent.objects.values()))


def test_what_a_token_is_for_is_a_click_away(client):
    page = client.post(TOKENS, wanted()).content.decode()
    for address in ("/api/v1/docs", "/enrol.sh"):
        assert f'href="{address}"' in page
        assert client.get(address).status_code == 200


def test_the_same_form_sent_again_makes_no_second_token(client):
    client.post(TOKENS, wanted())
    answer = client.post(TOKENS, wanted())
    assert answer.status_code == 409
    assert "There is a token of that name already." in answer.context["form"].errors["name"][0]
    assert ApiToken.objects.count() == 1


def test_of_one_form_sent_several_times_at_once_one_token_comes(alice, builders):
    for holder in (alice, builders):
        answers = at_once(8, lambda holder=holder: told(lambda: rows.token(holder, name="laptop")))
        assert answers.count("TokenNameTaken") == 7
    assert ApiToken.objects.count() == 2


def test_a_token_that_acts_is_on_the_page_however_many_there_were_since(client, alice, monkeypatch):
    rows.token(alice, name="the oldest")
    monkeypatch.setattr(views, "LISTED", 3)
    for _ in range(4):
        services.revoke_token(actor=services.Actor(), token=rows.token(alice)[0], at=timezone.now())
    page = client.get(TOKENS)
    assert [line.token.name for line in page.context["lines"]] == ["the oldest"]
    assert len(page.context["former"]) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""}, {"name": "a\u202eb"}, {"name": HOSTILE}, {"name": "x" * 65}, {"scopes": []}, {"scopes": ["all"]},
        {"days": ""}, {"days": "0"}, {"days": "91"}, {"days": "9" * 30}, {"days": "soon"},
    ],
    ids=str,
)  # fmt: skip
def test_a_token_that_cannot_be_is_refused_beside_its_field(client, fields):
    before = kept()
    answer = client.post(TOKENS, wanted(**fields))
    assert answer.status_code == 400
    [field] = fields
    assert re.search(rf'id="{field}-error" role="alert">[^<]', answer.content.decode())
    assert HOSTILE not in answer.content.decode()
    assert (kept(), ApiToken.objects.exists()) == (before, False)
    error = client.post(TOKENS, wanted(**fields), headers=JSON).json()["error"]
    assert error["field"] == field


def test_what_no_form_offers_cannot_be_posted(client, alice, wg0):
    bob, runner = rows.person("bob"), rows.account(wg0)
    forged = wanted(
        owner=bob.pk, service_account=runner.pk, use_limit="3", expires_at="2199-01-01", enrolments="9"
    )
    assert client.post(TOKENS, forged).status_code == 200
    made = ApiToken.objects.get()
    assert (made.owner, made.service_account, made.use_limit, made.enrolments) == (alice, None, None, 0)
    assert made.expires_at < timezone.now() + timedelta(days=31)


def test_ten_tokens_are_the_most_and_a_revoked_one_makes_room(client, alice):
    found = [rows.token(alice, name=f"token {number}")[0] for number in range(10)]
    page = client.get(TOKENS)
    assert "You have reached the limit: 10 tokens." in text(page)
    assert 'name="days"' not in page.content.decode()
    answer = client.post(TOKENS, wanted())
    assert answer.status_code == 409
    assert "10 tokens are the most you may have." in text_of(answer)
    assert client.post(TOKENS, wanted(), headers=JSON).json()["error"]["code"] == "token_limit"
    services.revoke_token(actor=services.Actor(), token=found[0], at=timezone.now())
    assert client.post(TOKENS, wanted()).status_code == 200
    with pytest.raises(services.TokenLimit):
        rows.token(alice)
    rows.token(rows.person("bob"))


def test_of_those_who_race_for_the_last_token_one_wins(alice):
    for number in range(services.MOST_OF_PERSON - 1):
        rows.token(alice, name=f"token {number}")
    barrier, answers = threading.Barrier(6), []

    def make(number):
        barrier.wait(30)
        try:
            answers.append(rows.token(alice, name=f"racer {number}")[0].name)
        except services.TokenLimit:
            answers.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=make, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers.count("refused") == 5
    assert ApiToken.objects.count() == services.MOST_OF_PERSON


def test_no_token_lasts_longer_than_its_holder_may_have_it(alice, wg0):
    at, day = timezone.now(), timedelta(days=1)
    for holder, days in ((alice, 90), (rows.account(wg0), 3650)):
        rows.token(holder, name="long", at=at, expires_at=at + days * day)
        with pytest.raises(services.TokenTooLong, match=str(days)):
            rows.token(holder, at=at, expires_at=at + days * day + timedelta(seconds=1))


# --- Who may ---


def test_making_one_takes_what_enrolling_takes_and_a_provider_that_is_still_there(alice, settings):
    client = signed_in(alice, provider="demo")
    settings.OIDC_PROVIDERS = ()
    assert client.get(TOKENS).status_code == 200
    answer = client.post(TOKENS, wanted())
    assert answer.status_code == 403
    assert "Confirm that it is you" in text_of(answer)
    assert not ApiToken.objects.exists()


def test_anothers_token_is_one_that_does_not_exist(client, alice, subtests):
    theirs = rows.token(rows.person("bob"), name="theirs")[0]
    path = f"{TOKENS}{theirs.pk}/revoke"
    assert "theirs" not in text(client.get(TOKENS))
    for number in (theirs.pk, 999_999, 10**30):
        for method in (client.get, client.post):
            with subtests.test(f"{method.__name__} {number}"):
                answer = method(f"{TOKENS}{number}/revoke")
                assert answer.status_code == 404
                assert answer.content == client.get(f"{TOKENS}999998/revoke").content
    assert ApiToken.objects.get().revoked_at is None
    assert Client().post(path).status_code == 302


def test_a_cookie_without_its_csrf_token_makes_and_revokes_nothing(alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    token = rows.token(alice)[0]
    assert client.post(TOKENS, wanted()).status_code == 403
    assert client.post(f"{TOKENS}{token.pk}/revoke").status_code == 403
    assert ApiToken.objects.get().revoked_at is None


# --- Revoked ---


def test_a_token_is_revoked_with_what_was_enrolled_with_it_or_without(client, alice, wg0, subtests):
    for with_peers, left in (({}, 1), ({"with_peers": "on"}, 0)):
        with subtests.test(str(with_peers)):
            token = rows.token(alice, name=f"token {left}")[0]
            actor = services.Actor(user=alice, token=token)
            peer = services.enrol(
                actor=actor, owner=alice, interface=wg0, public_key=rows.public_key(), name="server", at=timezone.now(),
            ).peer  # fmt: skip
            page = text(client.get(f"{TOKENS}{token.pk}/revoke"))
            assert "Also revoke the device that was enrolled with it" in page
            answer = client.post(f"{TOKENS}{token.pk}/revoke", with_peers)
            assert (answer.status_code, answer["Location"]) == (303, TOKENS)
            token.refresh_from_db()
            assert token.revoked_by == alice
            assert Peer.objects.filter(pk=peer.pk, revoked_at=None).count() == left
            assert client.get(f"{TOKENS}{token.pk}/revoke").status_code == 303
    assert AuditEvent.objects.filter(action="revoke_token", actor=alice).count() == 2


# --- The page ---


def test_the_page_lists_what_there_is_and_what_there_was(client, alice, database):
    token = rows.token(alice, Scope.ENROL, name="live")[0]
    services.note_use(token, source="198.51.100.9", at=timezone.now())
    services.revoke_token(actor=services.Actor(), token=rows.token(alice, name="gone")[0], at=timezone.now())
    rows.token(alice, name="over", expires_at=timezone.now() + timedelta(milliseconds=1))
    now, former = text(client.get(TOKENS)).split("Former tokens (2)")
    for words in ("live", "Usable", f"{token.beginning}…", "It may: enrol, renew and rename", "198.51.100.9"):
        assert words in now, words
    assert {"gone", "over", "Revoked", "Expired", "Never used"} <= set(re.findall(r"Never used|\w+", former))
    User.objects.update(signed_in_at=timezone.now() - timedelta(days=30))
    assert "Asleep" in text(client.get(TOKENS))


def test_the_pages_that_lead_there(client, alice, wg0):
    for path in ("/", "/accounts/sessions/"):
        assert f'href="{TOKENS}"' in client.get(path).content.decode()
    rows.peer(alice, wg0)
    assert f'href="{TOKENS}"' in client.get("/").content.decode()


def test_hostile_names_are_shown_as_text(client, alice):
    token = rows.token(alice, name=HOSTILE)[0]
    for path in (TOKENS, f"{TOKENS}{token.pk}/revoke"):
        page = client.get(path).content.decode()
        assert HOSTILE not in page
        assert "&lt;script&gt;" in page


def test_the_page_costs_no_query_more_for_many_tokens(client, alice):
    def cost():
        with CaptureQueriesContext(connection) as seen:
            assert client.get(TOKENS).status_code == 200
        return len(seen)

    rows.token(alice)
    client.get(TOKENS)
    few = cost()
    for number in range(9):
        rows.token(alice, name=f"token {number}")
    assert cost() == few


# --- The letter ---


def test_the_owner_is_written_to_without_the_token_itself(client, alice):
    [secret] = set(SECRET.findall(client.post(TOKENS, wanted(name="build server")).content.decode()))
    written, made = Mail.objects.get(), ApiToken.objects.get()
    assert (written.to, written.subject) == (
        "alice@example.com", "A token was made for your account: build server",
    )  # fmt: skip
    for fact in (
        "Hello Alice,", "Name: build server", "It may: enrol, renew and rename", "From the address: 192.0.2.7",
        f"Until: {made.expires_at.day} {made.expires_at:%B %Y, %H:%M} UTC", "\nhttp://127.0.0.1:8000/accounts/tokens/\n",
        "tell your administrator at once",
    ):  # fmt: skip
        assert fact in written.body, fact
    assert secret[len(PREFIX) + 8 :] not in written.body
    assert max(map(len, written.body.splitlines())) < 78


def test_nobody_is_written_to_for_an_account_or_without_an_address(alice, wg0):
    rows.token(rows.account(wg0))
    rows.token(rows.person("bob"))
    assert not Mail.objects.exists()


def test_a_letter_is_in_the_language_of_the_page(alice):
    with translation.override("de"):
        rows.token(alice)
    assert "Guten Tag, Alice," in Mail.objects.get().body


def test_a_token_that_acts_is_listed_however_many_have_ended_since(client, alice, monkeypatch):
    monkeypatch.setattr(views, "LISTED", 3)
    at = timezone.now()
    rows.token(alice, name="long lived", at=at - timedelta(days=60), expires_at=at + timedelta(days=20))
    for number in range(3):
        rows.token(
            alice, name=f"short {number}", at=at - timedelta(days=50), expires_at=at - timedelta(days=49)
        )
    assert "long lived" in text(client.get(TOKENS))
