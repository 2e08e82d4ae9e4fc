"""A provider that is down, slow, broken or lying: a clean page in time, and nobody signed in or out by it."""

import logging
import socket
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client

from portal.http import safe_next
from portal.models import User
from portal.oidc import http
from tests import rows
from tests.integration import provider_double as double_
from tests.integration.conftest import free_port, use_providers
from tests.integration.provider_double import CODE, DISCOVERY, SECRET, TOKEN, USERINFO, Double
from tests.integration.sign_in import depart

pytestmark = pytest.mark.usefixtures("database")

LOGIN = "/accounts/oidc/double/login/"
QUICK = [
    double_.fails,
    double_.sends_garbage,
    double_.sends_html,
    double_.sends_a_list,
    double_.sends_deep_json,
    double_.sends_two_mebibytes,
    double_.redirects,
]
SLOW = [double_.hangs, double_.drips_headers, double_.drips_body]


@pytest.fixture
def double(settings):
    made = Double()
    use_providers(settings, (made.provider(allowed_groups=frozenset({"employees"})),))
    yield made
    made.close()


@pytest.fixture
def logged(caplog):
    """Return what is logged, every field of it; checked at the end for what must never be there."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    everything = "\n".join(str(record.__dict__) for record in caplog.records)
    for secret in (SECRET, CODE, "an-access-token"):
        assert secret not in everything


def assert_clean(answer, status=503):
    assert answer.status_code == status
    page = answer.content.decode()
    assert "Traceback" not in page
    assert "<h1>" in page
    assert (answer.get("Retry-After") is not None) == (status == 503)
    assert not User.objects.exists()


def failures(logged):
    return [record.failure for record in logged.records if record.msg == "provider_trouble"]


# --- At departure: discovery ---


@pytest.mark.parametrize("behaviour", QUICK)
def test_a_broken_discovery_document_is_a_clean_503(double, logged, behaviour):
    double.behave[DISCOVERY] = behaviour
    assert_clean(Client().post(LOGIN))
    assert len(failures(logged)) == 1


@pytest.mark.parametrize("behaviour", SLOW)
def test_slow_discovery_is_a_clean_503_within_the_budget(double, logged, behaviour, monkeypatch):
    monkeypatch.setattr(http, "BUDGET", 0.5)
    double.behave[DISCOVERY] = behaviour
    started = time.monotonic()
    assert_clean(Client().post(LOGIN))
    assert time.monotonic() - started < 1.5
    assert failures(logged) == ["timeout"]


def test_a_provider_that_is_down_is_a_clean_503(settings, logged):
    use_providers(settings, (Double().provider(issuer=f"http://127.0.0.1:{free_port()}"),))
    assert_clean(Client().post(LOGIN))
    assert failures(logged) == ["unreachable"]


def test_a_provider_that_accepts_and_never_answers_is_given_up_within_six_seconds(settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_providers(settings, (Double().provider(issuer=f"http://127.0.0.1:{silent.getsockname()[1]}"),))
        started = time.monotonic()
        assert_clean(Client().post(LOGIN))
        assert 4 < time.monotonic() - started < 6


def test_a_name_look_up_that_hangs_is_given_up_too(settings, monkeypatch):
    monkeypatch.setattr(http, "BUDGET", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: time.sleep(3) or [])
    use_providers(settings, (Double().provider(issuer="https://idp.example"),))
    started = time.monotonic()
    assert_clean(Client().post(LOGIN))
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://another.example"},
        {"issuer": None},
        {"authorization_endpoint": None},
        {"token_endpoint": None},
        {"userinfo_endpoint": 7},
        {"authorization_endpoint": "http://elsewhere.example/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://idp.example/\r\nSet-Cookie: a=b"},
        {"authorization_endpoint": "https://idp.example/; url=https://evil.example"},
        {"authorization_endpoint": "https://[broken/"},
        {"authorization_endpoint": "https://idp.example@evil.example/"},
        {"token_endpoint": "http://169.254.169.254/latest"},
    ],
)
def test_a_discovery_document_that_lies_or_lacks_something_is_a_clean_503(double, logged, changes):
    double.document |= changes
    assert_clean(Client().post(LOGIN))
    assert len(failures(logged)) == 1


def test_an_endpoint_with_a_query_of_its_own_keeps_it(double):
    double.document["authorization_endpoint"] += "?policy=b2c"
    assert "/authorize?policy=b2c&client_id=latchkey" in depart(Client(), provider="double")


# --- At the return: token and userinfo ---


@pytest.mark.parametrize("path", [TOKEN, USERINFO])
@pytest.mark.parametrize("behaviour", QUICK)
def test_a_broken_answer_at_the_return_is_a_clean_503(double, logged, path, behaviour):
    double.behave[path] = behaviour
    assert_clean(double.sign_in(Client()))
    assert len(failures(logged)) == 1


@pytest.mark.parametrize("path", [TOKEN, USERINFO])
@pytest.mark.parametrize("behaviour", SLOW)
def test_a_slow_answer_at_the_return_is_a_clean_503(double, path, behaviour, monkeypatch):
    monkeypatch.setattr(http, "BUDGET", 0.7)
    double.behave[path] = behaviour
    started = time.monotonic()
    assert_clean(double.sign_in(Client()))
    assert time.monotonic() - started < 2


def test_three_calls_that_are_not_slow_each_share_one_time_budget(double, logged):
    client = Client()
    query = parse_qs(urlsplit(depart(client, provider="double")).query)
    double.id_token["nonce"], state = query["nonce"][0], query["state"][0]
    double.behave = dict.fromkeys((DISCOVERY, TOKEN, USERINFO), double_.dawdles)
    cache.clear()  # the discovery document's time is over
    started = time.monotonic()
    assert_clean(client.get(double.callback(state=state, code=CODE)))
    assert 4 < time.monotonic() - started < 6
    assert failures(logged) == ["timeout"]


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("userinfo", {"sub": "somebody-else"}),
        ("userinfo", {"sub": None}),
        ("id_token", {"aud": "another-client"}),
        ("id_token", {"iss": "https://another.example"}),
        ("id_token", {"exp": 1}),
        ("id_token", {"exp": "soon"}),
        ("id_token", {"nonce": "another"}),
        ("id_token", {"sub": ""}),
        ("tokens", {"id_token": "no.jwt.here"}),
        ("tokens", {"id_token": None}),
        ("tokens", {"access_token": None}),
        ("tokens", {"access_token": "line\nbreak"}),
        ("tokens", {"access_token": 7}),
    ],
)
def test_claims_that_do_not_fit_together_sign_nobody_in(double, logged, what, changes):
    getattr(double, what).update(changes)
    assert_clean(double.sign_in(Client()))
    assert len(failures(logged)) == 1


@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "aud", "iss"])
def test_an_id_token_without_a_required_claim_signs_nobody_in(double, claim):
    del double.id_token[claim]
    assert_clean(double.sign_in(Client()))


def test_a_code_that_the_provider_calls_spent_asks_to_try_again(double):
    double.behave[TOKEN] = lambda handler: handler.json({"error": "invalid_grant"}, status=400)
    answer = double.sign_in(Client())
    assert_clean(answer, status=400)
    assert "took too long or was interrupted" in answer.content.decode()


def test_wrong_client_credentials_are_the_providers_trouble(double, logged):
    double.behave[TOKEN] = lambda handler: handler.json({"error": "invalid_client"}, status=401)
    assert_clean(double.sign_in(Client()))
    assert failures(logged) == ["status_401"]


def test_the_client_secret_and_the_verifier_go_to_the_token_endpoint_only(double):
    double.sign_in(Client())
    assert double.posted["client_secret"] == [SECRET]
    assert len(double.posted["code_verifier"][0]) >= 43


# --- Errors that come back through the browser ---


@pytest.mark.parametrize(
    "query", [{}, {"state": "unknown"}, {"code": CODE}, {"code": CODE, "state": "x" * 5000}]
)
def test_a_return_without_a_state_that_was_given_out_asks_to_try_again(double, logged, query):
    answer = Client().get(f"{LOGIN}callback/", query)
    assert_clean(answer, status=400)
    assert "took too long or was interrupted" in answer.content.decode()


def test_a_state_is_good_for_ten_minutes(double, monkeypatch):
    client = Client()
    url = depart(client, provider="double")
    state = url.partition("state=")[2].partition("&")[0]
    now = time.time()
    monkeypatch.setattr("allauth.socialaccount.internal.statekit.time.time", lambda: now + 601)
    assert_clean(client.get(double.callback(state=state, code=CODE)), status=400)


def test_a_cancelled_sign_in_says_so(double):
    client = Client()
    state = depart(client, provider="double").partition("state=")[2].partition("&")[0]
    answer = client.get(double.callback(state=state, error="access_denied"))
    assert_clean(answer, status=403)
    assert "cancelled" in answer.content.decode()


NEXT = "/devices/?a=b&c=d"
AGAIN = "/accounts/login/?next=%2Fdevices%2F%3Fa%3Db%26c%3Dd"
FAILURES = {
    "cancelled": {"error": "access_denied"},
    "trouble": {"error": "server_error"},
    "another issuer": {"code": CODE, "iss": "https://another.example"},
}


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
def test_a_sign_in_that_is_tried_again_leads_where_the_first_was_to(double, answer):
    client = Client()
    url = depart(client, provider="double", next_url=NEXT)
    state = url.partition("state=")[2].partition("&")[0]
    assert f'href="{AGAIN}"' in client.get(double.callback(state=state, **answer)).content.decode()


def test_a_departure_that_fails_is_tried_again_to_the_same_place(double):
    double.behave[DISCOVERY] = double_.fails
    answer = Client().post(LOGIN, {"next": NEXT})
    assert_clean(answer)
    assert f'href="{AGAIN}"' in answer.content.decode()


def test_a_departure_that_fails_leaves_no_session_behind(double):
    double.behave[DISCOVERY] = double_.fails
    assert_clean(Client().post(LOGIN))
    assert not Session.objects.exists()


def test_trying_again_leads_one_who_is_still_signed_in_back():
    client = Client()
    client.force_login(rows.person())
    assert client.get(AGAIN)["Location"] == NEXT
    assert client.get("/accounts/login/?next=//evil.example/")["Location"] == "/"


@pytest.mark.parametrize(
    "hostile",
    ["//evil.example", "https://evil.example/", "javascript:x", "devices/", "?a=b", "/\ud800x", "/a\r\nb"],
)
def test_what_is_no_path_of_this_site_is_never_where_a_sign_in_leads(hostile):
    assert safe_next(hostile) == "/"


def test_an_error_that_the_provider_reports_is_its_trouble(double, logged):
    client = Client()
    state = depart(client, provider="double").partition("state=")[2].partition("&")[0]
    assert_clean(client.get(double.callback(state=state, error="server_error", error_description="<b>x</b>")))
    assert failures(logged) == ["error_answer"]


def test_an_answer_that_names_another_issuer_is_refused(double):
    client = Client()
    state = depart(client, provider="double").partition("state=")[2].partition("&")[0]
    answer = client.get(double.callback(state=state, code=CODE, iss="https://another.example"))
    assert_clean(answer, status=400)


# --- What trouble leaves alone ---


@pytest.mark.parametrize("path", [DISCOVERY, TOKEN, USERINFO])
def test_trouble_leaves_a_session_and_a_lease_as_they_are(double, path):
    client = Client()
    double.sign_in(client)
    before = User.objects.get()
    double.behave[path] = double_.fails
    if path == DISCOVERY:
        cache.clear()  # its time is over
        assert client.post(LOGIN).status_code == 503
    else:
        assert double.sign_in(client).status_code == 503
    after = User.objects.get()
    assert client.get("/").status_code == 200
    assert (after.signed_in_at, after.is_active) == (before.signed_in_at, before.is_active)


def test_an_abandoned_call_ends_with_its_thread(double, monkeypatch):
    import threading

    monkeypatch.setattr(http, "BUDGET", 0.3)
    double.behave[DISCOVERY] = double_.drips_headers
    before = {thread for thread in threading.enumerate() if "_exchange" in thread.name}
    Client().post(LOGIN)
    time.sleep(0.5)
    assert {thread for thread in threading.enumerate() if "_exchange" in thread.name} <= before
