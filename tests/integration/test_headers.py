"""The headers that keep a browser on our side, on every kind of answer."""

import pytest
from django.contrib.staticfiles.storage import staticfiles_storage
from django.test import Client

from portal.models import User

pytestmark = pytest.mark.usefixtures("database")

CSP = {
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "font-src 'self'",
    "connect-src 'self'", "manifest-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
}  # fmt: skip
NOTHING = {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"}
TRUSTED_TYPES = {"require-trusted-types-for 'script'", "trusted-types 'none'"}
DEVICE = "/devices/6f2a8f9e-3b7e-4b53-9df7-0d6f3c2b1a00/status"


def administrator():
    return User.objects.create_user(
        issuer="https://idp.example", sub="boss", is_staff=True, is_superuser=True
    )


def breaks(*_arguments, **_options):
    raise RuntimeError("a fault of ours")


# What is asked for, and the status that it answers.
ANSWERS = {
    "the sign-in page": (lambda client: client.get("/accounts/login/"), 200),
    "a redirect to it": (lambda client: client.get("/"), 302),
    "a page that is not there": (lambda client: client.get("/nothing/here"), 404),
    "a static file": (lambda client: client.get(staticfiles_storage.url("css/latchkey.css")), 200),
    "a static file by its plain name": (lambda client: client.get("/static/css/latchkey.css"), 200),
    "a static file that is not there": (lambda client: client.get("/static/none.css"), 404),
    "a host that is not ours": (lambda client: client.get("/", headers={"host": "evil.example"}), 400),
    "a form without its token": (lambda client: client.post("/accounts/oidc/demo/login/"), 403),
    "a method that is not allowed": (lambda client: client.options("/accounts/login/"), 405),
    "a stale return": (lambda client: client.get("/accounts/oidc/demo/login/callback/"), 400),
    "an anonymous status": (lambda client: client.get(DEVICE), None),
    "the health of the process": (lambda client: client.get("/healthz"), 200),
    "the health of the whole": (lambda client: client.get("/readyz"), 200),
    "figures without a token": (lambda client: client.get("/metrics"), 404),
    "the file of the API": (lambda client: client.get("/api/v1/openapi.json"), 200),
    "the break-glass page": (lambda client: client.get("/break-glass/x"), 200),
}


# Of those, what programs are answered, which no browser shows.
TO_PROGRAMS = {
    "an answer of the API": (lambda client: client.get("/api/v1/peers"), 401),
    "what the API has not": (lambda client: client.get("/api/v1/nothing"), 404),
    "a method that the API has not": (lambda client: client.put("/api/v1/peers"), 405),
    "a body that is too long for any": (
        lambda client: client.post("/register", "x" * 99_999, "text/plain"),
        413,
    ),
    "a script's answer": (lambda client: client.post("/register"), 401),
}


def assert_headers(answer, policy=CSP | TRUSTED_TYPES):
    assert set(answer["Content-Security-Policy"].split("; ")) == policy
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in answer["Permissions-Policy"]
    assert "Strict-Transport-Security" not in answer  # plain http
    assert "Access-Control-Allow-Origin" not in answer


@pytest.mark.parametrize("what", ANSWERS)
def test_every_kind_of_answer_carries_the_headers(what):
    ask, status = ANSWERS[what]
    answer = ask(Client(enforce_csrf_checks=True))
    assert status in {None, answer.status_code}
    assert_headers(answer)
    answer.close()  # a static file is open until then


@pytest.mark.parametrize("what", TO_PROGRAMS)
def test_an_answer_for_programs_lets_a_browser_do_nothing_and_sets_no_cookie(what):
    ask, status = TO_PROGRAMS[what]
    answer = ask(Client(enforce_csrf_checks=True))
    assert answer.status_code == status
    assert_headers(answer, NOTHING)
    assert int(answer["Content-Length"]) == len(answer.content)
    assert not answer.cookies


def test_an_answer_for_programs_is_in_the_language_that_is_asked_for():
    for language, said in (("de", "Senden"), ("en-gb", "Send ")):
        answer = Client().get("/api/v1/peers", headers={"accept-language": language})
        assert said in answer.json()["error"]["message"]
        assert answer["Content-Language"] == language
        assert "Accept-Language" in answer["Vary"]


def test_a_host_that_is_not_ours_is_answered_no_program():
    assert Client().get("/api/v1/peers", headers={"host": "evil.example"}).status_code == 400


def test_a_fault_of_ours_carries_the_headers(monkeypatch):
    monkeypatch.setattr("portal.accounts.render", breaks)
    answer = Client(raise_request_exception=False).get("/accounts/login/")
    assert answer.status_code == 500
    assert_headers(answer)


@pytest.mark.parametrize("path", ["/admin/", "/admin/portal/user/", "/admin/nothing/"])
def test_the_admin_has_the_same_policy_without_trusted_types(path):
    client = Client()
    client.force_login(administrator())
    assert_headers(client.get(path), CSP)


def test_the_pages_that_show_the_api_have_the_same_policy_without_trusted_types():
    assert_headers(Client().get("/api/v1/docs"), CSP)


def test_a_page_about_a_person_is_kept_by_no_cache():
    client = Client()
    client.force_login(administrator())
    for path in ("/", "/accounts/logout/", "/admin/"):
        assert "no-store" in client.get(path)["Cache-Control"]
    assert client.get("/accounts/login/")["Cache-Control"] == "no-store"


def test_a_hashed_static_file_is_kept_for_ever():
    answer = Client().get(staticfiles_storage.url("css/latchkey.css"))
    assert "immutable" in answer["Cache-Control"]
    answer.close()


def test_no_page_of_ours_has_an_inline_script_or_style():
    for path in ("/accounts/login/", "/nothing", "/break-glass/x"):
        page = Client().get(path).content.decode()
        assert "<style" not in page
        assert " style=" not in page
        assert "<script>" not in page


def test_over_https_cookies_are_host_only_and_the_browser_is_told_to_stay(database):
    code = (
        "from portal import settings as s; print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.SESSION_COOKIE_SECURE, "
        "s.CSRF_COOKIE_SECURE, s.CSRF_COOKIE_HTTPONLY, s.SECURE_HSTS_SECONDS)"
    )
    import subprocess
    import sys

    from tests.conftest import ROOT, WEB

    environment = {**database.environment(WEB), "LATCHKEY_URL": "https://portal.example"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "__Host-latchkey __Host-latchkey-csrf True True True 31536000\n"
