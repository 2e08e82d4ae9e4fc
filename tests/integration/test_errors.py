"""What people and programs see when something goes wrong, the database's absence above all."""

import json
import logging
import socket
import time
from io import BytesIO
from wsgiref.util import setup_testing_defaults

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client, RequestFactory

from portal import errors, logs
from portal.models import User
from tests.integration.conftest import free_port

DEVICE = "/devices/6f2a8f9e-3b7e-4b53-9df7-0d6f3c2b1a00/"
JSON_PATHS = ["/api/v1/peers", "/api", DEVICE + "status"]
PAGE_PATHS = ["/", DEVICE, "/admin/", "/accounts/login/", "/apiary", "/registered", "/nothing"]


@pytest.fixture
def client(database):
    """Return a signed-in client, so that every request needs its session."""
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_user(issuer="https://idp.example", sub="p", is_staff=True))
    return client


@pytest.fixture
def away(client):
    """Take the database away: nothing listens where it was."""
    connection.close()
    connection.settings_dict.update(HOST="127.0.0.1", PORT=str(free_port()))
    return client


@pytest.fixture
def silent(client):
    """Let the database accept and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection.close()
        connection.settings_dict.update(HOST="127.0.0.1", PORT=str(server.getsockname()[1]))
        yield client


def assert_page(answer, status):
    assert answer.status_code == status
    assert answer["Content-Type"].startswith("text/html")
    page = answer.content.decode()
    assert "<h1>" in page
    assert "Traceback" not in page


@pytest.mark.parametrize("path", ["/", DEVICE, "/admin/"])
def test_a_page_without_its_database_is_a_503_with_when_to_retry(away, path):
    answer = away.get(path)
    assert_page(answer, 503)
    assert answer["Retry-After"] == "10"


def test_a_form_without_its_database_is_a_503(away):
    assert_page(away.post("/accounts/oidc/demo/login/"), 503)
    assert_page(away.post("/break-glass/x"), 503)


def test_a_programs_request_without_its_database_is_a_503_in_json(away):
    answer = away.get(DEVICE + "status")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "10"
    assert answer.json()["error"]["code"] == "unavailable"


@pytest.mark.parametrize("path", ["/", DEVICE + "status"])
def test_a_database_that_never_answers_is_given_up_within_three_seconds(silent, path):
    started = time.monotonic()
    assert silent.get(path).status_code == 503
    assert time.monotonic() - started < 3


def test_a_database_that_is_away_is_one_line_in_the_log_without_a_trace(away, caplog):
    away.get("/")
    (record,) = [record for record in caplog.records if record.name == "django.request"]
    line = json.loads(logs.Formatter().format(record))
    assert line["exc_info"].startswith("OperationalError: ")
    assert "Traceback" not in line["exc_info"]


def test_the_database_is_used_again_once_it_is_back(away, database):
    assert away.get("/").status_code == 503
    connection.settings_dict.update(HOST=str(database.cluster.socket), PORT="")
    assert away.get("/").status_code == 200


def test_a_fault_of_ours_is_a_500_that_tells_nothing(client, monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL)

    def breaks(*_arguments, **_options):
        raise RuntimeError("a secret detail")

    monkeypatch.setattr("portal.accounts.render", breaks)
    answer = client.get("/accounts/logout/")
    assert_page(answer, 500)
    assert "a secret detail" not in answer.content.decode()


@pytest.mark.parametrize("path", JSON_PATHS)
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_a_program_gets_its_errors_as_json(path, status):
    answer = errors.page(RequestFactory().get(path), status, "Why.")
    assert json.loads(answer.content) == {"error": {"code": errors.CODES[status], "message": "Why."}}


@pytest.mark.parametrize("path", ["/register", "/register/"])
def test_a_script_gets_the_sentence_alone(path):
    assert json.loads(errors.page(RequestFactory().get(path), 503, "Why.").content) == {"error": "Why."}


@pytest.mark.parametrize("path", PAGE_PATHS)
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_a_person_gets_a_page_that_needs_neither_database_nor_session(path, status):
    assert_page(errors.page(RequestFactory().get(path), status), status)


def test_a_page_that_is_not_there_says_so(client):
    assert_page(client.get("/nothing"), 404)


def test_a_host_that_is_not_ours_is_refused(client):
    assert_page(client.get("/", headers={"host": "evil.example"}), 400)


def test_a_stale_form_says_what_to_do(client):
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post("/accounts/oidc/demo/login/")
    assert_page(answer, 403)
    assert "reload" in answer.content.decode()


def test_too_many_tries_say_when_to_come_back():
    answer = errors.too_many_requests(RequestFactory().get("/"), retry_after=7)
    assert_page(answer, 429)
    assert answer["Retry-After"] == "7"


def test_a_body_larger_than_any_form_is_refused_before_it_is_read(client):
    upload = SimpleUploadedFile("large", b"x" * 70_000)
    answer = client.post("/", {"name": upload})
    assert answer.status_code == 413
    assert "too much" in answer.content.decode()
    assert "Content-Security-Policy" in answer.headers


# --- What a request says to be written in ---

CSRF = "a" * 32


def served(path, query="", *, method="GET", content_type="", body=b""):
    """Return status, headers and body of the whole portal's answer, as its server calls it."""
    from portal.wsgi import application  # which looks for the static files that it serves

    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": content_type, "wsgi.input": BytesIO(body),
        "HTTP_HOST": "127.0.0.1:8000", "HTTP_COOKIE": f"latchkey-csrf={CSRF}", "REMOTE_ADDR": "127.0.0.1",
    }  # fmt: skip
    setup_testing_defaults(environ)
    told = {}
    answer = application(
        environ, lambda status, headers, *_: told.update(status=int(status[:3]), headers=dict(headers))
    )
    return told["status"], told["headers"], b"".join(answer).decode()


STRANGE = [
    *(
        f"text/plain; charset={name}"
        for name in ("rot13", "hex", "unicode_escape", "raw_unicode_escape", "utf-16")
    ),
    "text/plain; charset=x\0y",
    "text/plain; charset=nothing",
    "text/plain; a*=nothing''x",
    "text/plain; charset*=idna''%ff",
    "text/plain; b*=x; b*0=y",
    f"text/plain; a*{'9' * 4400}=x",
]


@pytest.mark.parametrize("content_type", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.usefixtures("database")
def test_an_address_is_read_as_utf_8_whatever_a_request_says(content_type):
    status, headers, body = served("/accounts/login/", "next=/a%5Cud800", content_type=content_type)
    assert status == 200
    assert "Content-Security-Policy" in headers
    assert 'name="next" value="/a\\ud800"' in body


@pytest.mark.parametrize(("charset", "status"), [("utf-8", 404), ("latin-1", 403), ("rot13", 403)])
@pytest.mark.usefixtures("database")
def test_a_form_that_is_not_in_utf_8_is_not_read(charset, status):
    form = {
        "content_type": f"application/x-www-form-urlencoded; charset={charset}",
        "body": f"csrfmiddlewaretoken={CSRF}".encode(),
    }
    assert served("/accounts/oidc/nobody/login/", method="POST", **form)[0] == status
