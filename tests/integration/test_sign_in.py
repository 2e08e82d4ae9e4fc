"""Signing in: who gets in at the real demo provider, as whom, and with what rights."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from deploy.demo.provider import DemoProvider
from peers.models import AuditEvent
from portal.models import User
from tests.conftest import WEB
from tests.integration.conftest import free_port
from tests.integration.served import ServedPortal
from tests.integration.sign_in import Browser, authorise, depart, sign_in, way_out

pytestmark = pytest.mark.usefixtures("database")


def user(sub="demo-alice"):
    return User.objects.get(sub=sub)


def is_signed_in(client):
    return client.get("/").status_code == 200


# --- At the demo provider ---


def test_a_person_signs_in_and_lands_where_they_wanted(provider):
    client = Client()
    answer = sign_in(client, "alice", next_url="/?from=mail")
    assert (answer.status_code, answer["Location"]) == (302, "/?from=mail")
    assert is_signed_in(client)


def test_the_person_is_kept_as_the_provider_describes_them(provider):
    before = timezone.now()
    sign_in(Client(), "alice")
    alice = user()
    assert (alice.issuer, alice.name, alice.email) == (provider.issuer, "Alice Demo", "alice@example.com")
    assert alice.groups_claim == ["employees"]
    assert (alice.is_staff, alice.is_superuser, alice.has_usable_password()) == (False, False, False)
    assert before <= alice.signed_in_at <= timezone.now()


def test_a_second_sign_in_finds_the_same_person_and_starts_the_lease_anew(provider):
    sign_in(Client(), "alice")
    User.objects.update(signed_in_at=timezone.now() - timedelta(days=3), name="Old", email="old@example.com")
    sign_in(Client(), "alice")
    assert User.objects.count() == 1
    assert (user().name, user().email) == ("Alice Demo", "alice@example.com")
    assert timezone.now() - user().signed_in_at < timedelta(minutes=1)


def test_an_admin_group_makes_an_administrator_until_the_next_sign_in_without_it(provider):
    sign_in(Client(), "carol")
    assert (user("demo-carol").is_staff, user("demo-carol").is_superuser) == (True, True)
    provider.set_person("carol", groups=("employees",))
    sign_in(Client(), "carol")
    assert (user("demo-carol").is_staff, user("demo-carol").is_superuser) == (False, False)


def test_someone_outside_the_allowed_groups_sees_why_and_gets_no_session(provider):
    provider.set_person("alice", groups=("contractors",))
    client = Client()
    answer = sign_in(client, "alice")
    assert answer.status_code == 403
    assert "may not use this portal" in answer.content.decode()
    assert not is_signed_in(client)
    assert not User.objects.exists()


def test_someone_who_lost_the_allowed_group_loses_rights_but_gains_no_lease(provider):
    sign_in(Client(), "carol")
    lease = user("demo-carol").signed_in_at
    provider.set_person("carol", groups=("contractors",))
    assert sign_in(Client(), "carol").status_code == 403
    carol = user("demo-carol")
    assert (carol.is_superuser, carol.groups_claim, carol.signed_in_at) == (False, ["contractors"], lease)


def test_a_deactivated_person_is_refused_and_gets_no_session(provider):
    sign_in(Client(), "alice")
    User.objects.update(is_active=False)
    client = Client()
    assert sign_in(client, "alice").status_code == 403
    assert not is_signed_in(client)


def test_deactivating_a_person_ends_the_session_that_they_have(provider):
    client = Client()
    sign_in(client, "alice")
    User.objects.update(is_active=False)
    assert not is_signed_in(client)


def test_someone_whom_the_provider_disabled_never_comes_back_to_the_portal(provider):
    provider.set_person("bob", active=False)
    with pytest.raises(AssertionError, match="200"):
        sign_in(Client(), "bob")


def test_a_code_works_once(provider):
    client = Client()
    callback = urlsplit(authorise(depart(client), "alice"))
    assert client.get(f"{callback.path}?{callback.query}").status_code == 302
    assert Client().get(f"{callback.path}?{callback.query}").status_code == 400


def test_a_code_with_another_browsers_state_is_refused(provider):
    thief = Client()
    theirs = parse_qs(urlsplit(authorise(depart(Client()), "alice")).query)
    state = parse_qs(urlsplit(depart(thief)).query)["state"][0]
    answer = thief.get("/accounts/oidc/demo/login/callback/", {"code": theirs["code"][0], "state": state})
    assert answer.status_code in {400, 503}  # PKCE: the code is bound to the other browser's verifier
    assert not is_signed_in(thief)


def test_the_provider_keeps_no_cookie_of_the_portals_name(provider, settings):
    import requests

    names = set(requests.get(f"{provider.issuer}/sign-in/", timeout=5).cookies.keys())
    assert names
    assert not names & {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME}


# --- What is written down ---


def test_a_sign_in_and_a_refused_one_are_on_record_with_their_source(provider):
    sign_in(Client(REMOTE_ADDR="192.0.2.7"), "alice")
    User.objects.update(is_active=False)
    sign_in(Client(REMOTE_ADDR="192.0.2.8"), "alice")
    rows = AuditEvent.objects.order_by("id").values_list("action", "actor", "source", "reason")
    assert list(rows) == [
        ("sign_in", user().pk, "192.0.2.7", ""),
        ("sign_in_refused", user().pk, "192.0.2.8", "deactivated"),
    ]


def test_a_strangers_refusal_is_on_record_with_who_they_said_they_are(provider):
    provider.set_person("bob", groups=())
    sign_in(Client(), "bob")
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.reason) == ("sign_in_refused", None, "not in an allowed group")
    assert event.actor_kind == AuditEvent.ActorKind.PERSON
    del event.new["reference"]
    assert event.new == {"provider": "demo", "issuer": provider.issuer, "sub": "demo-bob"}


# --- The way there ---


def test_the_way_to_the_provider_is_a_page_not_a_redirect(provider):
    answer = Client().post("/accounts/oidc/demo/login/")
    url = answer["Refresh"].removeprefix("0; url=")
    assert answer.status_code == 200
    assert url.startswith(f"{provider.issuer}/identity/o/authorize?")
    assert url.replace("&", "&amp;") in answer.content.decode()


def test_the_request_to_the_provider_has_pkce_state_and_nonce(provider):
    query = parse_qs(urlsplit(depart(Client())).query)
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["code_challenge"][0]) == 43
    assert {"state", "nonce"} <= query.keys()
    assert query["redirect_uri"] == ["http://127.0.0.1:8000/accounts/oidc/demo/login/callback/"]


def test_nothing_of_the_sign_in_addresss_query_reaches_the_provider(provider):
    hostile = (
        "?scope=address&auth_params=prompt%3Dnone%26evil%3D1&process=connect&action=rerequest&next=/evil"
    )
    answer = Client().post("/accounts/oidc/demo/login/" + hostile)
    query = parse_qs(urlsplit(answer["Refresh"]).query)
    assert set(query["scope"][0].split()) == {"openid", "profile", "email", "offline_access"}
    assert query.keys() == {
        "client_id", "redirect_uri", "scope", "response_type", "state", "nonce",
        "code_challenge", "code_challenge_method",
    }  # fmt: skip


@pytest.mark.parametrize(
    "next_url",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "/\t/evil.example",
    ],
)
def test_a_sign_in_never_ends_on_another_site(doubles, next_url):
    assert doubles[0].sign_in(Client(), next_url)["Location"] == "/"


def test_an_unknown_provider_is_not_found(provider):
    assert Client().post("/accounts/oidc/nobody/login/").status_code == 404
    assert Client().get("/accounts/oidc/nobody/login/callback/").status_code == 404


def test_opening_the_sign_in_address_without_a_form_leads_to_the_sign_in_page(provider):
    assert Client().get("/accounts/oidc/demo/login/")["Location"] == "/accounts/login/"


def test_the_sign_in_form_needs_its_csrf_token(provider):
    assert Client(enforce_csrf_checks=True).post("/accounts/oidc/demo/login/").status_code == 403


def test_too_many_sign_ins_from_one_address_answer_429_with_when_to_retry(provider, settings):
    settings.ACCOUNT_RATE_LIMITS = {"login": "2/m/ip"}
    answers = [Client().post("/accounts/oidc/demo/login/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2]["Retry-After"] == "60"
    assert Client(REMOTE_ADDR="192.0.2.9").post("/accounts/oidc/demo/login/").status_code == 200


# --- The sign-in and sign-out pages ---


def test_the_sign_in_page_has_one_form_for_each_provider_and_no_script_is_needed(doubles):
    page = Client().get("/accounts/login/").content.decode()
    for double in doubles:
        assert f'<form method="post" action="/accounts/oidc/{double.name}/login/">' in page
        assert f"Continue with {double.name.title()}" in page
    assert page.count("csrfmiddlewaretoken") == 2


def test_a_signed_in_person_has_no_use_for_the_sign_in_page(doubles):
    client = Client()
    doubles[0].sign_in(client)
    assert client.get("/accounts/login/")["Location"] == "/"


def test_signing_out_asks_first_and_leaves_the_lease(doubles):
    client = Client()
    doubles[0].sign_in(client)
    lease = user("person-1").signed_in_at
    assert client.get("/accounts/logout/").status_code == 200
    assert is_signed_in(client)
    assert client.post("/accounts/logout/")["Location"] == "/accounts/signed-out/"
    assert not is_signed_in(client)
    assert user("person-1").signed_in_at == lease


@pytest.mark.parametrize(
    "path",
    [
        "signup/", "password/change/", "password/set/", "password/reset/", "email/", "confirm-email/", "inactive/",
        "reauthenticate/", "3rdparty/", "3rdparty/signup/", "3rdparty/login/cancelled/", "social/connections/", "",
        "login/code/confirm/",
    ],
)  # fmt: skip
def test_allauths_other_pages_are_not_there(doubles, path):
    client = Client()
    doubles[0].sign_in(client)
    assert client.get(f"/accounts/{path}").status_code == 404


def test_a_browser_signs_in_and_out_at_the_served_portal(database, collected, tmp_path):
    port = free_port()
    environment = {**database.environment(WEB), "LATCHKEY_STATIC_ROOT": str(collected)}
    provider = DemoProvider(tmp_path / "provider", free_port(), f"http://127.0.0.1:{port}")
    provider.setup()
    provider.start()
    try:
        served = ServedPortal(port, {**environment, **provider.environment()}, tmp_path / "log")
        with served as portal, Browser(portal.url) as browser:
            assert "Signed in as" in browser.sign_in("alice").text
            away = way_out(browser.form("/accounts/logout/").text)
            assert not browser.get(away.replace("signed-out", "login")).url.startswith(
                portal.url
            )  # no address but one
            landed = browser.get(away)
            assert landed.url == f"{portal.url}/accounts/signed-out/"
            assert "You are signed out. Your devices stay connected." in landed.text
            assert browser.get(f"{portal.url}/", timeout=15).url.startswith(f"{portal.url}/accounts/login/")
    finally:
        provider.stop()
