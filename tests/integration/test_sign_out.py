"""Signing out: here at once, whatever the provider does, and then there."""

import logging
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers.models import AuditEvent
from portal import break_glass
from portal.models import RefreshToken, User
from portal.oidc import http
from tests import rows
from tests.integration import provider_double as double_
from tests.integration.conftest import free_port, use_providers
from tests.integration.provider_double import CODE, DISCOVERY, TOKEN, Double
from tests.integration.sign_in import depart, way_out

pytestmark = pytest.mark.usefixtures("database")

OUT, SIGNED_OUT = "/accounts/logout/", "/accounts/signed-out/"


@pytest.fixture
def double(settings):
    made = Double()
    made.document["end_session_endpoint"] = f"{made.issuer}/end?realm=corp"
    use_providers(settings, (made.provider(),))
    yield made
    made.close()


@pytest.fixture
def tokens(double):
    """Return the id_tokens that the provider gives out, as it does."""
    given = []

    def answer(handler):
        body = double.answer(TOKEN)
        given.append(body["id_token"])
        handler.json(body)

    double.behave[TOKEN] = answer
    return given


def signed_in(double):
    browser = Client()
    assert double.sign_in(browser).status_code == 302
    return browser


def is_signed_in(browser):
    return browser.get("/").status_code == 200


def query_of(page):
    """Return where the page leads by itself, and with which parameters; its link leads to the same place."""
    url = way_out(page)
    assert f'<a href="{url.replace("&", "&amp;")}" rel="noreferrer">' in page
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}", parse_qs(parts.query)


def test_one_who_signs_out_is_led_to_the_provider_with_the_token_of_this_session(double, tokens):
    other, browser = signed_in(double), signed_in(double)
    double.id_token["exp"] += 1  # so that the next token is another
    other, browser = browser, signed_in(double)
    answer = browser.post(
        f"{OUT}?next=//evil.example&post_logout_redirect_uri=https://evil.example/", {"next": "/x"}
    )
    assert answer.status_code == 200
    endpoint, query = query_of(answer.content.decode())
    assert endpoint == f"{double.issuer}/end"
    assert query == {
        "realm": ["corp"],
        "client_id": ["latchkey"],
        "post_logout_redirect_uri": [f"http://127.0.0.1:8000{SIGNED_OUT}"],
        "id_token_hint": [tokens[-1]],
    }
    assert tokens[-1] != tokens[-2]
    assert not is_signed_in(browser)
    assert is_signed_in(other)
    assert Session.objects.count() == UserSession.objects.count() == 2


def test_the_session_here_ends_before_the_provider_is_asked(double, database):
    browser, seen = signed_in(double), []

    def look(handler):
        seen.append(database.sql("SELECT count(*) FROM django_session").strip())
        handler.json(double.document)

    cache.clear()
    double.behave[DISCOVERY] = look
    assert browser.post(OUT).status_code == 200
    assert seen == ["0"]


@pytest.mark.parametrize(
    "endpoint", [None, "javascript:alert(1)", "http://elsewhere.example/end", "https://a@evil.example/", 7]
)
def test_where_the_provider_names_no_place_to_sign_out_that_is_all(double, endpoint):
    double.document["end_session_endpoint"] = endpoint
    browser = signed_in(double)
    assert browser.post(OUT)["Location"] == SIGNED_OUT
    assert not is_signed_in(browser)


TROUBLE = [
    double_.fails, double_.sends_garbage, double_.sends_html, double_.sends_two_mebibytes, double_.redirects, double_.hangs,
    double_.drips_body, lambda handler: handler.json({"error": "invalid_grant"}, status=400),
]  # fmt: skip


def test_a_provider_in_trouble_keeps_nobody_signed_in_and_holds_nobody_up(
    double, settings, monkeypatch, caplog, subtests
):
    for behaviour in TROUBLE:
        with subtests.test(behaviour.__name__), monkeypatch.context() as patched:
            double.behave.pop(DISCOVERY, None)
            browser = signed_in(double)
            cache.clear()
            caplog.clear()
            double.behave[DISCOVERY] = behaviour
            patched.setattr(http, "BUDGET", 0.5)
            started = time.monotonic()
            assert browser.post(OUT)["Location"] == SIGNED_OUT
            assert time.monotonic() - started < 1.5
            assert not is_signed_in(browser)
            assert [record.msg for record in caplog.records if record.levelno >= logging.WARNING] == [
                "provider_trouble"
            ]
    double.behave.pop(DISCOVERY)
    browser = signed_in(double)
    cache.clear()
    use_providers(settings, (double.provider(issuer=f"http://127.0.0.1:{free_port()}"),))
    assert browser.post(OUT)["Location"] == SIGNED_OUT
    assert not is_signed_in(browser)


def test_a_session_that_no_provider_knows_ends_here(double, settings):
    boss = rows.person("boss", is_superuser=True)
    by_link = Client()
    by_link.post(f"/break-glass/{break_glass.issue(boss, at=timezone.now())}")
    old = Client()
    old.force_login(boss)
    of_another = signed_in(double)
    use_providers(settings, (double.provider(id="renamed"),))
    for browser in (by_link, old, of_another):
        assert browser.post(OUT)["Location"] == SIGNED_OUT
        assert not is_signed_in(browser)


def test_a_token_that_is_too_long_for_an_address_stays_here(double):
    double.id_token["groups"] = ["g" * 40] * 80
    answer = signed_in(double).post(OUT)
    _, query = query_of(answer.content.decode())
    assert "id_token_hint" not in query
    assert query["client_id"] == ["latchkey"]


def test_the_id_token_is_in_no_log_and_nowhere_in_clear_in_the_database(double, tokens, database, caplog):
    caplog.set_level(logging.DEBUG)
    query = parse_qs(urlsplit(depart(browser := Client(), provider="double")).query)
    double.id_token["nonce"] = query["nonce"][0]
    browser.get(double.callback(state=query["state"][0], code=CODE))
    signature = tokens[0].rpartition(".")[2]
    tables = database.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split()
    everything = database.sql(
        " UNION ALL ".join(f"SELECT string_agg(t::text, ' ') FROM {name} t" for name in tables)
    )
    kept = str(Session.objects.get().get_decoded())
    assert "double" in kept
    assert signature not in everything + kept
    browser.post(OUT)
    logged = "\n".join(str(record.__dict__) for record in caplog.records)
    assert signature not in logged


def test_the_page_after_signing_out_is_for_everyone_and_asks_for_no_more_than_the_sign_in(double):
    browser = signed_in(double)
    assert browser.get(SIGNED_OUT)["Location"] == "/"
    from django.db import connection

    with CaptureQueriesContext(connection) as asked:
        Client().get("/accounts/login/")
    with CaptureQueriesContext(connection) as now:
        shown = Client().get(f"{SIGNED_OUT}?state=x&next=//evil.example")
    assert len(now) <= len(asked)
    text = shown.content.decode()
    assert "You are signed out. Your devices stay connected." in text
    assert "evil.example" not in text


def test_the_question_before_says_what_ends(double):
    assert "of your organisation’s account" in signed_in(double).get(OUT).content.decode()
    by_hand = Client()
    by_hand.force_login(rows.person())
    assert "ends only this visit to the portal" in by_hand.get(OUT).content.decode()


@pytest.mark.parametrize(("scopes", "kept"), [(("openid",), False), (("openid", "offline_access"), True)])
def test_a_refresh_token_that_ends_with_the_sign_out_is_not_asked_with_again(double, settings, scopes, kept):
    double.tokens["refresh_token"] = "a-refresh-token"
    use_providers(settings, (double.provider(scopes=scopes),))
    client = Client()
    double.sign_in(client)
    before = timezone.now()
    assert "/end?realm" in client.post("/accounts/logout/").content.decode()
    person = User.objects.get()
    assert RefreshToken.objects.exists() is kept
    if not kept:
        left = person.signed_in_at + person.lease_limit - before
        assert timedelta(hours=24) <= left < timedelta(hours=24, minutes=1)
        assert AuditEvent.objects.latest("pk").action == "token_forgone"
    assert (person.lease_limit is None) is kept


@pytest.fixture
def gives_tokens(double):
    """Let each sign-in at the provider obtain a refresh token of its own, and return how many have."""
    given = []

    def answer(handler):
        given.append(f"refresh-token-{len(given)}")
        handler.json({**double.answer(TOKEN), "refresh_token": given[-1]})

    double.behave[TOKEN] = answer
    return given


def test_signing_out_in_one_browser_leaves_the_refresh_token_that_another_obtained(double, gives_tokens):
    laptop, phone = signed_in(double), signed_in(double)
    person = User.objects.get()
    assert "/end?realm" in laptop.post(OUT).content.decode()
    assert not is_signed_in(laptop)
    assert RefreshToken.objects.get().token == gives_tokens[1]
    assert User.objects.get().lease_limit is None
    assert not AuditEvent.objects.filter(action="token_forgone").exists()
    phone.post(OUT)
    assert not RefreshToken.objects.exists()
    assert User.objects.get().signed_in_at == person.signed_in_at


def test_who_signed_in_again_in_the_same_browser_forgoes_the_latest_token_there(double, gives_tokens):
    browser = signed_in(double)
    assert double.sign_in(browser).status_code == 302
    RefreshToken.objects.update(obtained_at=timezone.now())  # rotated meanwhile
    browser.post(OUT)
    assert len(gives_tokens) == 2
    assert not RefreshToken.objects.exists()
