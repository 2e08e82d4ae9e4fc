"""The portal in another language: whole pages, errors and refusals, and what a hostile wish for a language does."""

import re
from html import escape

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.utils import timezone, translation

from peers import services
from peers.models import Interface, Peer
from portal import errors
from portal.models import Mail
from tests import catalogue, rows
from tests.conftest import ROOT
from tests.integration.conftest import free_port
from tests.integration.pages import enter

TRANSLATED = catalogue.of_source(ROOT / "locale" / "de" / "LC_MESSAGES" / "django.po")
# Sentences, which stand on a page only as they are: a word such as "Name" is in both languages, or in a path.
SENTENCES = {
    text: german
    for text, german in TRANSLATED.items()
    if isinstance(text, str) and "%" not in text and text.count(" ") >= 2
}
DE = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
JSON = {**DE, "Accept": "application/json"}
PERSONS = {
    "/": "Meine Geräte",
    "/devices/{peer}/": "Gerät verloren oder nicht mehr in Gebrauch?",
    "/devices/{peer}/replace-key": "Schlüssel von laptop ersetzen",
    "/devices/{peer}/revoke": "laptop widerrufen?",
    "/devices/{gone}/": "Endgültig aus dem Netz.",
    "/enrol/": "Dieses Telefon einrichten",
    "/accounts/sessions/": "Wo Sie angemeldet sind",
    "/accounts/logout/": "Ihre Geräte bleiben verbunden",
}
STRANGERS = {"/accounts/login/": "Weiter mit Demo", "/break-glass/x": "Anmeldung im Notfall"}
ADMINS = {
    "/admin/": "Latchkey-Verwaltung",
    "/admin/peers/peer/": "Ausgewählte Geräte widerrufen",
    "/admin/peers/peer/{peer}/change/": "Warum ist es nicht verbunden?",
    "/admin/peers/peer/{peer}/revoke/": "Ein widerrufenes Gerät verlässt das Netz sofort",
    "/admin/peers/peer/{peer}/suspend/": "Ein gesperrtes Gerät verlässt das Netz sofort",
    "/admin/peers/peer/{peer}/why/": "Kein Gateway hat sich je für wg0 gemeldet.",
    "/admin/peers/interface/": "Endpunkt",
    "/admin/peers/interface/{wg0}/change/": "Gerätegrenze",
    "/admin/peers/interface/{wg0}/release-brake/": "Die Bremse von wg0 hält nichts zurück.",
    "/admin/peers/gatewaystatus/": "Gateways",
    "/admin/peers/auditevent/": "Gerät eingerichtet",
    "/admin/peers/auditevent/address/?address=10.0.0.2": "Alle, die sie je hatten",
    "/admin/portal/user/": "Nach zuletzt angemeldet",
    "/admin/portal/user/{bob}/change/": "Sperren …",
    "/admin/portal/user/{bob}/suspend/": "Eine gesperrte Person wird überall abgemeldet",
}
HOSTILE = [
    "", "*", "fr", "xx-yy-zz", "de;q=nan", "de;q=1e999", ";;;,,,q=", "../../../etc/passwd", "d\x00e", "<script>",
    "zh-hans-" * 200, ",".join(f"a{number};q=0.1" for number in range(2000)), "ä" * 10, "%(name)s", "en-gb\\u0000",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _language():
    """Leave no language behind, as a worker does for the next request."""
    yield
    translation.deactivate()


@pytest.fixture
def wg0(database):
    return rows.interface()


@pytest.fixture
def alice(wg0):
    return rows.person("alice", email="alice@example.com", is_staff=True, is_superuser=True)


@pytest.fixture
def peer(alice, wg0):
    return rows.peer(alice, wg0)


@pytest.fixture
def gone(alice, wg0):
    made = rows.peer(alice, wg0, "gone")
    services.revoke(actor=services.Actor(user=alice), peer=made, at=timezone.now())
    return made


@pytest.fixture
def client(alice):
    return signed_in(alice)


def signed_in(person):
    return enter(Client(raise_request_exception=False), person, provider="")


def assert_german(answer, sentence):
    page = answer.content.decode()
    assert re.search(r'<html lang="de"(?: dir="ltr")?>', page)
    assert answer["Content-Language"] == "de"
    assert "Accept-Language" in answer["Vary"]
    assert escape(sentence) in page
    left = [text for text, german in SENTENCES.items() if text in page and text not in german]
    assert left == []


# --- Pages ---


@pytest.mark.parametrize(("path", "sentence"), [*PERSONS.items(), *ADMINS.items()])
def test_a_page_is_german_throughout(client, wg0, peer, gone, path, sentence):
    path = path.format(peer=peer.pk, gone=gone.pk, wg0=wg0.pk, bob=rows.person("bob").pk)
    answer = client.get(path, headers=DE)
    assert answer.status_code == 200
    assert_german(answer, sentence)


@pytest.mark.parametrize(("path", "sentence"), STRANGERS.items())
def test_a_page_for_strangers_is_german_throughout(database, path, sentence):
    assert_german(Client().get(path, headers=DE), sentence)


def test_the_first_page_and_the_one_with_a_link_are_german(client, wg0):
    assert_german(client.get("/", headers=DE), "Dieses Gerät einrichten")
    assert_german(client.post("/devices/link", headers=DE), "Mit dem Telefon scannen")


def test_a_device_with_old_settings_says_so_in_german(client, peer):
    Interface.objects.update(mtu=1380)
    page = client.get(peer.get_absolute_url(), headers=DE)
    assert_german(page, "Dieses Gerät hat noch alte Einstellungen")
    assert "die Größe der Pakete (MTU)" in page.content.decode()
    assert re.search(r"\d\. \w+ \d{4}, \d\d:\d\d UTC", page.content.decode())


def test_a_new_device_is_given_a_german_name_to_start_from(client):
    phone = {**DE, "User-Agent": "Mozilla/5.0 (Linux; Android 16; Pixel) Mobile"}
    assert 'value="Android-Telefon"' in client.get("/", headers=phone).content.decode()


@pytest.mark.parametrize("path", ["/", "/admin/"])
def test_english_is_what_others_get(client, peer, path):
    answer = client.get(path, headers={"Accept-Language": "fr,it;q=0.9"})
    assert answer["Content-Language"] == "en-gb"
    assert '<html lang="en-gb"' in answer.content.decode()
    assert "My devices" in answer.content.decode() or "Latchkey administration" in answer.content.decode()


# --- Forms, refusals, letters ---


def enrolment(**fields):
    return {"name": "Laptop", "platform": "linux", "public_key": rows.public_key(), **fields}


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "", "Geben Sie dem Gerät einen Namen."),
        ("name", "x" * 65, "Ein Name hat höchstens 64 Zeichen."),
        ("public_key", "", "Fügen Sie den öffentlichen Schlüssel des Geräts ein."),
        ("public_key", "x", "Ein öffentlicher Schlüssel hat 44 Zeichen"),
        ("public_key", "[Interface]\nPrivateKey = x", "Das sieht nach einer ganzen Konfiguration aus."),
        ("interface", "wg9", "Wählen Sie eines der Netze in der Liste."),
    ],
)
def test_what_is_wrong_with_a_form_is_said_in_german(client, field, value, sentence):
    wanted = enrolment(**{field: value})
    assert sentence in client.post("/", wanted, headers=JSON).json()["error"]["message"]
    if field != "interface":
        assert_german(client.post("/", wanted, headers=DE), sentence)


def test_an_endpoint_that_is_none_is_refused_in_german(client, wg0):
    answer = client.post(f"/admin/peers/interface/{wg0.pk}/change/", {"endpoint": "nowhere"}, headers=DE)
    assert "Ein Endpunkt ist host:port" in answer.content.decode()


def test_a_refusal_is_german(client, wg0):
    taken = rows.public_key()
    rows.peer(rows.person("bob"), wg0, public_key=taken)
    answer = client.post("/", enrolment(public_key=taken), headers=JSON)
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert error["code"] == "key_in_use"
    assert error["message"] == "Dieser Schlüssel wird bereits verwendet. Erzeugen Sie einen neuen."


def test_a_program_that_is_not_signed_in_is_told_so_in_german(peer):
    answer = Client().get(f"{peer.get_absolute_url()}status", headers=DE)
    assert answer.json()["error"]["message"] == "Melden Sie sich an, um dieses Gerät zu sehen."


def test_the_letter_about_a_new_device_is_in_the_language_of_whoever_enrolled_it(client):
    client.post("/", enrolment(), headers=JSON)
    letter = Mail.objects.get()
    assert letter.subject == "Ihrem Konto wurde ein Gerät hinzugefügt: Laptop"
    assert "Waren Sie es nicht?" in letter.body
    made = Peer.objects.get().enrolled_at
    with translation.override("de"):
        assert f"{made.day}. {translation.gettext(f'{made:%B}')} {made.year}" in letter.body


# --- Errors ---


@pytest.mark.parametrize("before", ["de", "en-gb"])
@pytest.mark.parametrize(
    ("wish", "lang", "sentence"), [("de", "de", "Das ist zu viel"), ("en", "en-gb", "That is too much")]
)
def test_an_error_page_is_in_the_requests_language_whatever_the_worker_did_before(
    client, before, wish, lang, sentence
):
    translation.activate(before)
    answer = client.post("/", {"name": "x" * 70_000}, headers={"Accept-Language": wish})
    assert answer.status_code == 413
    assert answer["Content-Language"] == lang
    assert "Accept-Language" in answer["Vary"]
    page = answer.content.decode()
    assert f'<html lang="{lang}">' in page
    assert f"<h1>{sentence}</h1>" in page


@pytest.mark.parametrize("status", sorted(errors.CODES))
def test_every_error_page_is_german(status):
    request = RequestFactory().get("/", headers=DE)
    answer = errors.page(request, status)
    assert_german(answer, "Latchkey")


def test_errors_on_the_way_are_german(client):
    assert_german(client.get("/nothing", headers=DE), "Hier ist nichts")
    assert_german(client.put("/accounts/logout/", headers=DE), "An dieser Adresse geschieht nichts")
    strict = Client(enforce_csrf_checks=True)
    assert_german(strict.post("/accounts/oidc/demo/login/", headers=DE), "Dieses Formular ist veraltet")
    assert_german(client.post("/break-glass/x", headers=DE), "Dieser Link wurde schon verwendet")


def test_without_its_database_the_portal_still_speaks_german(client):
    client.get("/")
    connection.close()
    connection.settings_dict.update(HOST="127.0.0.1", PORT=str(free_port()))
    answer = client.get("/", headers=DE)
    assert answer.status_code == 503
    assert_german(answer, "Die Datenbank ist nicht zu erreichen.")


# --- What a browser may wish for ---


@pytest.mark.parametrize("wish", HOSTILE, ids=range(len(HOSTILE)))
def test_a_strange_wish_gets_english_and_harms_nothing(client, wish):
    for path in ("/", "/nothing"):
        answer = client.get(path, headers={"Accept-Language": wish})
        assert answer.status_code == (200 if path == "/" else 404)
        assert answer["Content-Language"] == "en-gb"
        assert '<html lang="en-gb">' in answer.content.decode()
        if len(wish) > 3:
            assert wish not in answer.content.decode()


@pytest.mark.parametrize("template", ["base.html", "errors/404.html"])
def test_a_language_from_right_to_left_turns_the_page_around(template):
    with translation.override("ar"):
        assert '<html lang="ar" dir="rtl">' in render_to_string(template)
    with translation.override("de"):
        assert '<html lang="de">' in render_to_string(template)
