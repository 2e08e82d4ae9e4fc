"""Letters: written with what they tell of or not at all, and delivered once, over a real connection."""

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from django.core import mail as outbox
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone, translation

from peers import services
from peers.models import Peer
from portal import mail
from portal.models import Mail
from tests import rows
from tests.conftest import ROOT, WEB
from tests.integration.smtp_server import MailServer

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def alice():
    return rows.person("alice", email="alice@example.com")


@pytest.fixture
def server(settings):
    """Run a mail server, and let Django send to it."""
    with MailServer() as running:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "127.0.0.1", running.port, False
        yield running


@pytest.fixture
def no_server(server, settings):
    """Let Django send to where nobody listens."""
    with MailServer() as gone:
        settings.EMAIL_PORT = gone.port


@pytest.fixture
def locmem(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    outbox.outbox = []
    return outbox.outbox


def letter(to="alice@example.com", subject="Hello"):
    mail.queue(to=to, subject=subject, body="A line.\n")
    return Mail.objects.latest("pk")


def later(**by):
    return timezone.now() + timedelta(**by)


# --- What is written, and when ---


def test_enrolling_in_the_browser_writes_the_owner_a_letter(alice):
    rows.interface()
    browser = Client(REMOTE_ADDR="192.0.2.7")
    browser.force_login(alice)
    form = {"public_key": rows.public_key(), "name": "Laptop", "platform": "linux"}
    assert browser.post("/", form).status_code in {201, 302, 303}
    peer, written = Peer.objects.get(), Mail.objects.get()
    assert (written.to, written.subject) == (
        "alice@example.com",
        "A device was added to your account: Laptop",
    )
    for fact in (
        "Hello Alice,", "Name: Laptop", "Kind: Linux", "Network: wg0", "From the address: 192.0.2.7",
        f"Added: {peer.enrolled_at.day} {peer.enrolled_at:%B %Y, %H:%M} UTC",
        f"\nhttp://127.0.0.1:8000/devices/{peer.pk}/\n", "tell your administrator at once",
    ):  # fmt: skip
        assert fact in written.body


def test_what_is_not_known_has_no_line(alice):
    rows.peer(alice, rows.interface())
    body = Mail.objects.get().body
    assert "Kind:" not in body
    assert "From the address:" not in body


@pytest.mark.parametrize(
    ("routes", "full"),
    [
        ([], False),
        (["10.0.0.0/8"], False),
        (["0.0.0.0/0"], True),
        (["10.0.0.0/8", "::/0"], True),
    ],
)
def test_a_full_tunnels_letter_says_how_to_sign_in_again(alice, routes, full):
    wg0 = rows.interface(client_allowed_ips=routes)
    assert wg0.full_tunnel == full
    rows.peer(alice, wg0)
    assert ("switch the tunnel off" in " ".join(Mail.objects.get().body.split())) == full


def test_no_line_is_longer_than_a_terminal_but_one_that_is_an_address(alice):
    alice.name = "Anna " * 50
    alice.save()
    rows.peer(alice, rows.interface(client_allowed_ips=["0.0.0.0/0"]), name="n" * 64)
    lines = Mail.objects.get().body.splitlines()
    assert max(len(line) for line in lines if not line.startswith("http")) < 78
    assert sum(line.startswith("http") for line in lines) == 2


def test_a_person_without_an_address_gets_no_letter():
    rows.peer(rows.person("bob", email=""), rows.interface())
    assert not Mail.objects.exists()


def test_enrolling_the_same_key_again_writes_no_second_letter(alice):
    wg0, key = rows.interface(), rows.public_key()
    assert rows.peer(alice, wg0, public_key=key) == rows.peer(alice, wg0, public_key=key)
    assert Mail.objects.count() == 1


def test_a_device_in_place_of_another_is_told_of_too(alice):
    wg0 = rows.interface(device_limit=1)
    old = rows.peer(alice, wg0)
    rows.peer(alice, wg0, name="new one", in_place_of=old)
    assert [written.subject.rpartition(": ")[2] for written in Mail.objects.order_by("pk")] == [
        "laptop",
        "new one",
    ]


def test_a_replaced_key_is_told_of_once(alice):
    peer = rows.peer(alice, rows.interface(), name="Laptop")
    at, key = peer.enrolled_at + timedelta(days=3), rows.public_key()
    Mail.objects.all().delete()
    for _ in range(2):  # the second is the same key again, after a lost answer
        services.replace_key(actor=services.Actor(source="192.0.2.9"), peer=peer, public_key=key, at=at)
    written = Mail.objects.get()
    assert (written.to, written.subject) == ("alice@example.com", "Your device has a new key: Laptop")
    for fact in (
        "Hello Alice,", "a device of yours was given a new key", "Name: Laptop", "From the address: 192.0.2.9",
        f"Replaced: {at.day} {at:%B %Y, %H:%M} UTC", "give the device its new configuration",
        "tell your administrator at once",
    ):  # fmt: skip
        assert fact in " ".join(written.body.split())
    assert key not in written.body


def test_a_refused_enrolment_writes_no_letter(alice):
    wg0 = rows.interface(device_limit=1)
    rows.peer(alice, wg0)
    with pytest.raises(services.PeerLimit):
        rows.peer(alice, wg0)
    assert Mail.objects.count() == 1


def test_a_device_and_its_letter_are_there_together_or_not_at_all(alice, database):
    wg0 = rows.interface()
    database.sql("ALTER TABLE portal_mail ADD CONSTRAINT nothing_goes CHECK (false)")
    with pytest.raises(Exception, match="nothing_goes"):
        rows.peer(alice, wg0)
    assert not Peer.objects.exists()
    database.sql("ALTER TABLE portal_mail DROP CONSTRAINT nothing_goes")

    def enrol_and_fail():
        with transaction.atomic():
            rows.peer(alice, wg0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        enrol_and_fail()
    assert not Mail.objects.exists()


HOSTILE = "A\r\nBcc: evil@example.com\u2028\u202e<b>&\x85"


def test_a_hostile_name_adds_no_header_and_no_line(alice, server):
    alice.name = HOSTILE
    alice.save()
    rows.peer(alice, rows.interface(), name="&<b>\u202ex")
    assert mail.deliver(later()) == 1
    (got,) = server.letters
    assert got["Bcc"] is None
    assert got["Subject"] == "A device was added to your account: &<b> x"
    assert got.get_content_type() == "text/plain"
    assert got.get_content().startswith("Hello A  Bcc: evil@example.com  <b>& ,\r\n")


def test_a_translated_subject_is_one_line_of_200_characters_at_most(alice):
    def long(text):
        return f"{'Ü' * 300}%(name)s" if "added" in text else text

    with translation.override("de"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("peers.letters._", long)
        rows.peer(alice, rows.interface())
    assert Mail.objects.get().subject == "Ü" * 200


# --- How it is delivered ---


def test_a_letter_goes_over_the_wire_and_its_row_is_gone(server, settings):
    settings.DEFAULT_FROM_EMAIL = "Latchkey <vpn@example.com>"
    letter()
    assert mail.deliver(later()) == 1
    assert server.envelopes == [("vpn@example.com", "alice@example.com")]
    (got,) = server.letters
    assert (got["To"], got["Subject"], got["Auto-Submitted"]) == (
        "alice@example.com",
        "Hello",
        "auto-generated",
    )
    assert got.get_content().strip() == "A line."
    assert not Mail.objects.exists()
    assert mail.deliver(later()) == 0
    assert len(server.letters) == 1


def test_the_oldest_goes_first_and_one_that_is_not_due_waits(locmem):
    second, first, future = (letter(subject=subject) for subject in ("second", "first", "future"))
    Mail.objects.filter(pk=first.pk).update(due_at=first.due_at - timedelta(hours=1))
    Mail.objects.filter(pk=future.pk).update(due_at=second.due_at + timedelta(hours=1))
    assert mail.deliver(later(minutes=1)) == 2
    assert [sent.subject for sent in locmem] == ["first", "second"]
    assert Mail.objects.get().subject == "future"


def test_with_the_mail_server_down_a_device_is_enrolled_and_its_letter_stays(alice, no_server):
    peer = rows.peer(alice, rows.interface())
    at = later()
    assert mail.deliver(at) == 0
    waiting = Mail.objects.get()
    assert peer.name in waiting.subject
    assert (waiting.tries, waiting.due_at) == (1, at + timedelta(minutes=1))


def test_nobody_who_enrols_waits_for_the_mail_server(alice, settings):
    settings.EMAIL_BACKEND = "no.such.backend"  # using it in the request would fail
    rows.peer(alice, rows.interface())
    assert Mail.objects.count() == 1


def test_each_failure_doubles_the_pause_up_to_an_hour(no_server):
    written, at = letter(), later()
    pauses = []
    for _ in range(9):
        assert mail.deliver(at) == 0
        written.refresh_from_db()
        pauses.append((written.due_at - at).total_seconds() // 60)
        at = written.due_at
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert written.tries == 9


def test_it_is_given_up_after_three_days_and_not_before(no_server, caplog):
    written = letter()
    mail.deliver(written.queued_at + timedelta(days=3, seconds=-1))
    Mail.objects.update(due_at=written.queued_at)
    assert Mail.objects.exists()
    mail.deliver(written.queued_at + timedelta(days=3))
    assert not Mail.objects.exists()
    assert [(line.levelname, line.message) for line in caplog.records] == [
        ("WARNING", "mail_put_off"),
        ("ERROR", "mail_given_up"),
    ]


def test_no_log_has_the_address_or_the_text(server, caplog):
    server.refuse = "550 no alice@example.com here"
    written = letter()
    mail.deliver(later())
    (line,) = caplog.records
    assert (line.message, line.mail, line.tries, line.failure) == (
        "mail_put_off",
        written.pk,
        1,
        "SMTPRecipientsRefused",
    )
    assert "alice" not in repr(line.__dict__)
    assert "Hello" not in repr(line.__dict__)


@pytest.mark.parametrize("address", ["a@example.com, b@example.com", "a@example.com\nBcc: b@example.com"])
def test_an_address_that_no_message_can_carry_does_not_hold_up_the_others(server, address):
    letter(to=address)
    letter(to="bob@example.com")
    assert mail.deliver(later()) == 1
    assert [recipient for _, recipient in server.envelopes] == ["bob@example.com"]
    assert Mail.objects.get().tries == 1


def test_a_letter_that_another_process_is_sending_is_left_to_it(database, server):
    letter()
    barrier, found = threading.Barrier(4), []

    def send():
        barrier.wait()
        found.append(mail.deliver(later()))
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(found) == [0, 0, 0, 1]
    assert len(server.letters) == 1


def test_many_letters_and_four_senders_and_each_goes_once(database, server):
    for number in range(30):
        letter(subject=str(number))
    threads = [threading.Thread(target=lambda: (mail.deliver(later()), connection.close())) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(int(got["Subject"]) for got in server.letters) == list(range(30))


def test_a_sender_that_is_told_to_stop_leaves_the_rest(locmem):
    letter(), letter()
    assert mail.deliver(later(), stopped=lambda: bool(locmem)) == 1
    assert Mail.objects.count() == 1


# --- The command ---


def test_the_command_delivers_what_is_due_and_ends(locmem):
    letter(), letter()
    call_command("send_mail")
    assert len(locmem) == 2
    assert not Mail.objects.exists()


def test_the_command_goes_on_as_the_web_role_until_it_is_told_to_stop(database, server, tmp_path):
    environment = database.environment(WEB) | {
        "LATCHKEY_SMTP_HOST": "127.0.0.1", "LATCHKEY_SMTP_PORT": str(server.port), "LATCHKEY_SMTP_TLS": "none",
    }  # fmt: skip
    sender = loop(environment, tmp_path / "log")
    try:
        for count in (1, 2):
            letter()
            eventually(lambda count=count: len(server.letters) == count)
        sender.send_signal(signal.SIGTERM)
        assert sender.wait(30) == 0
    finally:
        sender.kill()
        sender.wait()
    assert (tmp_path / "log").read_text() == ""


def test_without_a_mail_server_the_command_prints_the_letter(database):
    letter()
    done = database.manage("send_mail", role=WEB)
    assert (done.returncode, done.stderr) == (0, "")
    assert "To: alice@example.com" in done.stdout
    assert "From: Latchkey <latchkey@127.0.0.1>" in done.stdout
    assert not Mail.objects.exists()


def test_the_command_outlives_the_databases_absence(database, server, tmp_path):
    environment = database.environment(WEB) | {
        "LATCHKEY_SMTP_HOST": "127.0.0.1", "LATCHKEY_SMTP_PORT": str(server.port), "LATCHKEY_SMTP_TLS": "none",
    }  # fmt: skip
    sender = loop(environment, tmp_path / "log")
    try:
        letter()
        eventually(lambda: len(server.letters) == 1)
        connection.close()
        database.cluster.sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        database.cluster.sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
        )
        eventually(lambda: "database_away" in (tmp_path / "log").read_text())
        database.cluster.sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
        letter()
        eventually(lambda: len(server.letters) == 2)
    finally:
        sender.terminate()
        sender.wait(30)
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    assert set(events) == {"database_away"}


def loop(environment, log):
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "manage.py", "send_mail", "--loop"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )


def eventually(condition, within=40):
    give_up = time.monotonic() + within
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)
