"""The link that hands an enrolment to a phone, over HTTP: its code, its one use, and how little it tells anybody else."""

import re
from contextlib import closing
from datetime import timedelta
from threading import Thread
from uuid import uuid4

import psycopg2
import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import qr, services
from peers.models import AuditEvent, EnrolLink, Interface, Peer
from tests import rows
from tests.conftest import WEB
from tests.integration.pages import JSON, signed_in
from tests.integration.test_services import wait_for_a_lock

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)"
NO_LONGER = "This link is no longer valid. Make a new one in the portal."


@pytest.fixture
def client(alice):
    return signed_in(alice)


@pytest.fixture
def phone(database):
    cache.clear()  # the rate limit counts in the database, by address
    return Client()


def url_in(page):
    return re.search(r'value="(http://127\.0\.0\.1:8000/enrol/#([A-Za-z0-9_-]+))"', page)


def token_from(client, **fields):
    return url_in(client.post("/devices/link", fields).content.decode())[2]


def redeem(browser, token, headers=JSON, **fields):
    wanted = {"token": token, "name": "Phone", "platform": "ios", "public_key": rows.public_key(), **fields}
    return browser.post("/enrol/", wanted, headers=headers)


def status_of(client):
    return client.get(f"/devices/link/{EnrolLink.objects.get().pk}/status")


def run_out(database):
    """Let the time of every link be over."""
    database.sql(
        "UPDATE peers_enrollink SET made_at = made_at - interval '11 min', expires_at = now() - interval '1 s'"
    )


# --- On the computer ---


def test_the_page_shows_a_link_with_256_random_bits_that_no_cache_keeps(client):
    answer = client.post("/devices/link")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert len(url_in(page)[2]) == 43
    assert url_in(page)[2] not in page.replace(url_in(page)[1], "", 1)
    link = EnrolLink.objects.get()
    assert f"/devices/link/{link.pk}/status" in page
    assert link.expires_at.strftime("%H:%M UTC") in page


def test_the_code_is_black_on_white_in_whole_pixels_and_has_no_style(client):
    page = client.post("/devices/link").content.decode()
    drawn = re.search(r'<svg role="img".*?</svg>', page, re.DOTALL)[0]
    side, modules = (
        int(re.search(r'width="(\d+)"', drawn)[1]),
        int(re.search(r'viewBox="0 0 (\d+)', drawn)[1]),
    )
    assert side % modules == 0
    assert side // modules >= 4
    assert re.findall(r'fill="(#\w+)"', drawn) == ["#fff", "#000"]
    assert "style" not in drawn


def test_the_path_of_a_code_paints_what_the_matrix_says():
    from qrcode import QRCode
    from qrcode.constants import ERROR_CORRECT_M

    code = qr.draw("some text")
    painted = set()
    for x, y, width, start in re.findall(r"M(\d+) (\d+)h(\d+)v1H(\d+)z", code.path):
        assert x == start
        painted |= {(column, int(y)) for column in range(int(x), int(x) + int(width))}
    made = QRCode(error_correction=ERROR_CORRECT_M, border=4)
    made.add_data("some text")
    wanted = made.get_matrix()
    assert painted == {(x, y) for y, row in enumerate(wanted) for x, black in enumerate(row) if black}
    assert code.modules == len(wanted)


def test_a_link_can_only_be_made_by_a_post(client):
    assert client.get("/devices/link").status_code == 405
    assert not EnrolLink.objects.exists()


def test_the_link_is_for_the_chosen_network_else_for_the_first(client, wg0):
    lab = rows.interface("lab")
    token_from(client, interface="lab")
    assert EnrolLink.objects.get().interface == lab
    token_from(client)
    assert EnrolLink.objects.get().interface == wg0


def test_a_network_that_is_closed_to_the_person_gets_no_link(client):
    rows.interface("staff", enrol_groups=["staff"])
    answer = client.post("/devices/link", {"interface": "staff"})
    assert answer.status_code == 400
    assert "No link was made" in answer.content.decode()
    assert not EnrolLink.objects.exists()


def test_a_person_without_any_network_gets_no_link(client):
    Interface.objects.update(enrol_groups=["staff"])
    answer = client.post("/devices/link")
    assert answer.status_code == 403
    assert not EnrolLink.objects.exists()


def test_who_is_signed_out_while_a_link_is_made_signs_in_again(client, database):
    answers = []
    with closing(psycopg2.connect(database.url(WEB))) as leaving, leaving.cursor() as cursor:
        cursor.execute("DELETE FROM django_session WHERE session_key = %s", [client.session.session_key])
        maker = Thread(target=lambda: answers.append(client.post("/devices/link")))
        maker.start()
        wait_for_a_lock(database)
        leaving.commit()
        maker.join(10)
    assert (answers[0].status_code, answers[0]["Location"]) == (303, "/accounts/login/")
    assert not EnrolLink.objects.exists()


def test_the_status_says_waiting_then_used_with_the_device(client, phone):
    token = token_from(client)
    assert status_of(client).json() == {"state": "waiting", "url": None}
    redeem(phone, token)
    assert status_of(client).json() == {"state": "used", "url": Peer.objects.get().get_absolute_url()}


def test_the_status_says_ended_once_the_time_is_over(client, database):
    token_from(client)
    run_out(database)
    assert status_of(client).json() == {"state": "ended", "url": None}


def test_the_status_of_somebody_elses_link_is_that_of_none(client):
    token_from(client)
    link = EnrolLink.objects.get()
    bob = signed_in(rows.person("bob"))
    theirs, none = bob.get(f"/devices/link/{link.pk}/status"), bob.get(f"/devices/link/{uuid4()}/status")
    assert (theirs.status_code, theirs.content) == (none.status_code, none.content)
    assert theirs.status_code == 404
    assert theirs.json()["error"]["code"] == "not_found"


def test_the_status_answers_401_in_json_without_a_sign_in(client):
    token_from(client)
    answer = Client().get(f"/devices/link/{EnrolLink.objects.get().pk}/status")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthenticated"


# --- On the phone ---


def test_the_page_on_the_phone_needs_no_sign_in_and_guesses_a_name(phone):
    answer = phone.get("/enrol/", headers={"User-Agent": PHONE})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert 'value="iPhone"' in page
    assert '<option value="ios" selected>' in page
    assert "<noscript>" in page


def test_opening_the_link_uses_nothing(client, phone):
    token = token_from(client)
    for _ in range(3):
        phone.get(f"/enrol/?token={token}")  # as a preview might
        phone.head("/enrol/")
    assert EnrolLink.objects.get().used_at is None
    assert redeem(phone, token).status_code == 201


def test_using_the_link_enrols_a_device_of_its_maker_and_starts_no_session(client, alice, phone):
    token = token_from(client)
    before = set(Session.objects.values_list("pk", flat=True))
    key = rows.public_key()
    phone.get("/enrol/")
    answer = redeem(phone, token, public_key=key)
    made = Peer.objects.get()
    assert answer.status_code == 201
    assert (made.owner, made.name, made.platform, made.key.public_key) == (alice, "Phone", "ios", key)
    assert set(answer.json()) == {"id", "url", "file_name", "config"}
    assert answer.json()["file_name"] == "Phone.conf"
    assert "PrivateKey = REPLACE_WITH_YOUR_PRIVATE_KEY\n" in answer.json()["config"]
    assert set(Session.objects.values_list("pk", flat=True)) == before
    assert set(phone.cookies) == {"latchkey-csrf"}
    assert phone.get("/").status_code == 302


def test_the_audit_says_who_made_the_link_and_what_used_it(client, alice, phone):
    redeem(phone, token_from(client))
    link = EnrolLink.objects.get()
    events = list(AuditEvent.objects.filter(action__in=["make_link", "use_link", "enrol"]).order_by("pk"))
    assert [event.action for event in events] == ["make_link", "enrol", "use_link"]
    assert {event.actor for event in events} == {alice}
    assert events[0].new == events[2].new == {"link": str(link.pk)}
    assert {event.source for event in events} == {"127.0.0.1"}


def test_the_same_key_again_is_the_same_device(client, phone):
    token, key = token_from(client), rows.public_key()
    first, second = redeem(phone, token, public_key=key), redeem(phone, token, public_key=key)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert Peer.objects.count() == 1


def test_using_a_link_takes_the_forgery_token(client, database):
    token = token_from(client)
    careful = Client(enforce_csrf_checks=True)
    assert redeem(careful, token).status_code == 403
    field = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', careful.get("/enrol/").content.decode())[1]
    assert redeem(careful, token, csrfmiddlewaretoken=field).status_code == 201


def test_guessing_is_slowed_down_for_each_address(client, phone):
    token = token_from(client)
    answers = [redeem(phone, "guessed").status_code for _ in range(21)]
    assert answers == [410] * 20 + [429]
    limited = redeem(phone, token)
    assert limited["Retry-After"] == "60"
    assert limited.json()["error"]["code"] == "too_many_requests"
    assert redeem(phone, token, headers={}).status_code == 429
    assert not Peer.objects.exists()
    cache.clear()
    assert redeem(phone, token).status_code == 201


# --- What the link refuses ---


def use(client, phone, database, alice):
    token = token_from(client)
    redeem(phone, token)
    return token


def let_run_out(client, phone, database, alice):
    token = token_from(client)
    run_out(database)
    return token


def sign_out(client, phone, database, alice):
    token = token_from(client)
    client.post("/accounts/logout/")
    return token


def let_the_session_run_out(client, phone, database, alice):
    token = token_from(client)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    return token


def suspend_the_owner(client, phone, database, alice):
    token = token_from(client)
    services.suspend_person(actor=services.Actor(), person=alice, at=timezone.now(), reason="gone")
    return token


def make_another(client, phone, database, alice):
    token = token_from(client)
    token_from(client)
    return token


def guess(client, phone, database, alice):
    return "A" * 43


def leave_out(client, phone, database, alice):
    return ""


def send_a_nul(client, phone, database, alice):
    return "\0"


WAYS_TO_END = [
    use, let_run_out, sign_out, let_the_session_run_out, suspend_the_owner, make_another, guess, leave_out, send_a_nul,
]  # fmt: skip


@pytest.mark.parametrize("end", WAYS_TO_END)
def test_a_link_that_is_no_longer_valid_gets_one_answer_whatever_the_reason(
    client, phone, database, alice, end
):
    token = end(client, phone, database, alice)
    before = Peer.objects.count()
    answer = redeem(phone, token)
    assert answer.status_code == 410
    assert answer.json() == {"error": {"code": "link_invalid", "message": NO_LONGER}}
    assert Peer.objects.count() == before
    page = redeem(phone, token, headers={})
    assert page.status_code == 410
    assert page.content == redeem(phone, "never made", headers={}).content
    assert "This link is no longer valid" in page.content.decode()


def test_a_refused_name_or_key_leaves_the_link_as_it_was(client, phone):
    token = token_from(client)
    assert redeem(phone, token, name="<b>").json()["error"]["field"] == "name"
    assert redeem(phone, token, public_key="no key").json()["error"]["field"] == "public_key"
    assert redeem(phone, token).status_code == 201


def test_at_the_device_limit_the_phone_is_told_so_and_the_link_stands(client, phone, alice, wg0):
    Interface.objects.update(device_limit=1)
    old = rows.peer(alice, wg0)
    token = token_from(client)
    answer = redeem(phone, token)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "peer_limit"
    services.revoke(actor=services.Actor(user=alice), peer=old, at=timezone.now())
    assert redeem(phone, token).status_code == 201


# --- What is kept ---


def test_the_token_is_in_no_row(client, phone, database):
    token = token_from(client)
    redeem(phone, token)
    for model in (EnrolLink, AuditEvent, Session, Peer):
        assert token not in str(list(model.objects.values()))
    assert token not in str(Session.objects.get().get_decoded())


def test_the_status_takes_the_same_few_queries_for_every_link(client, phone):
    token = token_from(client)
    with CaptureQueriesContext(connection) as waiting:
        status_of(client)
    redeem(phone, token)
    with CaptureQueriesContext(connection) as used:
        status_of(client)
    assert len(used) == len(waiting)
