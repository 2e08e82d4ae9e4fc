"""The end of a lease is told of in good time: one letter, and the person's own pages."""

import importlib
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import services
from peers.diagnosis import diagnose
from peers.facts import gather
from peers.models import AuditEvent, Interface, Peer
from peers.services import leases
from portal.models import Mail, User
from tests import rows
from tests.conftest import ROOT, WEB
from tests.integration.pages import signed_in

AT = timezone.now()
A_MOMENT = timedelta(microseconds=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def wg0(database):
    return rows.interface()


@pytest.fixture
def alice(wg0):
    return rows.person("alice", email="alice@example.com", signed_in_at=AT)


@pytest.fixture
def laptop(alice, wg0):
    made = rows.peer(alice, wg0, at=AT)
    Mail.objects.all().delete()
    return made


def warn(at):
    """Return how many people are written to at ``at``."""
    return services.warn_of_leases(actor=services.Actor(), at=at)


def body():
    """Return the one letter's text, as one line."""
    return " ".join(Mail.objects.get().body.split())


def both(*changes):
    return lambda: [change() for change in changes]


def owner(**fields):
    return lambda: User.objects.update(**fields)


def interface(**fields):
    return lambda: Interface.objects.update(**fields)


def peer(**fields):
    return lambda: Peer.objects.update(**fields)


# What is changed, when they are first told (after the sign-in), and when their sign-in ends. None: never.
CASES = {
    "a week": (lambda: None, 6 * DAY, 7 * DAY),
    "a day": (interface(lease=DAY), 18 * HOUR, DAY),
    "a week that counts for a day": (owner(lease_limit=DAY), 18 * HOUR, DAY),
    "a week that would count for two": (owner(lease_limit=14 * DAY), 6 * DAY, 7 * DAY),
    "no lease that counts for two days": (both(interface(lease=None), owner(lease_limit=2 * DAY)), 36 * HOUR, 2 * DAY),
    "no lease": (interface(lease=None), None, None),
    "no address to write to": (owner(email=""), None, None),
    "suspended": (owner(is_active=False), None, None),
    "access ended": (owner(access_ended_at=AT, access_end_reason="refused"), None, None),
    "not in the group": (interface(enrol_groups=["staff"]), None, None),
    "a device that is revoked": (peer(revoked_at=AT), None, None),
    "a device that is suspended": (peer(suspended_at=AT), None, None),
    "a device whose own time ends before": (peer(expires_at=AT + 7 * DAY - A_MOMENT), None, None),
    "a device whose own time ends after": (peer(expires_at=AT + 8 * DAY), 6 * DAY, 7 * DAY),
}  # fmt: skip


def test_each_is_told_once_a_day_or_a_quarter_of_the_lease_before_its_end(laptop, subtests):
    for case, (change, told_after, ends_after) in CASES.items():
        with subtests.test(case), transaction.atomic():
            change()
            if told_after is None:
                assert [warn(AT + after) for after in (6 * DAY, 7 * DAY - A_MOMENT)] == [0, 0]
            else:
                moments = (told_after - A_MOMENT, told_after, told_after + A_MOMENT, ends_after - A_MOMENT)
                assert [warn(AT + after) for after in moments] == [0, 1, 0, 0]
                assert f"ends on {AT + ends_after:%-d %B %Y, %H:%M} UTC" in body()
            transaction.set_rollback(True)


def test_who_was_not_told_in_time_is_not_told_when_it_is_over(laptop):
    assert warn(AT + 7 * DAY) == 0
    assert warn(AT + 7 * DAY - A_MOMENT) == 1


def test_the_setting_says_how_long_before(laptop, settings):
    settings.LATCHKEY_LEASE_WARNING = HOUR
    assert [warn(AT + 7 * DAY - before) for before in (HOUR + A_MOMENT, HOUR)] == [0, 1]


def test_after_signing_in_again_the_next_end_is_told_of(laptop, alice):
    assert warn(AT + 6 * DAY) == 1
    User.objects.update(signed_in_at=AT + 6 * DAY + HOUR)
    assert [warn(AT + after) for after in (7 * DAY, 12 * DAY, 12 * DAY + HOUR, 13 * DAY)] == [0, 0, 1, 0]


def test_where_networks_have_leases_of_their_own_each_end_is_told_of(laptop, alice):
    rows.peer(alice, rows.interface("wg1", lease=2 * DAY), "phone", at=AT)
    Mail.objects.all().delete()
    assert warn(AT + 36 * HOUR) == 1
    assert "phone" in body() and "laptop" not in body()
    Mail.objects.all().delete()
    assert warn(AT + 6 * DAY) == 1
    assert "laptop" in body() and "phone" not in body()


def test_the_letter_says_when_which_and_what_to_do(laptop, alice, settings):
    assert warn(AT + 6 * DAY) == 1
    written = Mail.objects.get()
    assert (written.to, written.subject) == (
        "alice@example.com", "Sign in again, or your devices go off the network",
    )  # fmt: skip
    for fact in ("Hello Alice,", "\n  laptop\n", "\n\nhttp://127.0.0.1:8000\n\n"):
        assert fact in written.body
    for fact in (
        f"your sign-in ends on {AT + 7 * DAY:%-d %B %Y, %H:%M} UTC", "there is nothing to change on the devices",
        "as they were",
    ):  # fmt: skip
        assert fact in body()
    assert "switch the tunnel off" not in body()
    assert "\n\n\n" not in written.body


def test_a_full_tunnel_is_told_how_to_sign_in_when_it_is_too_late(laptop):
    Interface.objects.update(client_allowed_ips=["0.0.0.0/0"])
    warn(AT + 6 * DAY)
    assert "switch the tunnel off, sign in at the portal" in body()


def test_ten_devices_are_named_the_first_to_go_first_and_the_rest_are_counted(laptop, alice, wg0):
    soon = rows.interface("wg1", lease=7 * DAY - HOUR)
    for number in range(9):
        rows.peer(alice, wg0, f"device {number}", at=AT)
    for number in range(3):
        rows.peer(alice, soon, f"\u202ezz{number}", at=AT)
    Mail.objects.all().delete()
    assert warn(AT + 7 * DAY - 2 * HOUR) == 1
    assert f"ends on {AT + 7 * DAY - HOUR:%-d %B %Y, %H:%M} UTC" in body()
    own = f"({AT + 7 * DAY:%-d %B %Y, %H:%M} UTC)"
    names = [line for line in Mail.objects.get().body.splitlines() if line.startswith("  ")]
    assert names == [
        *(f"   zz{number}" for number in range(3)), *(f"  device {number} {own}" for number in range(7)), "  and 3 more",
    ]  # fmt: skip


def test_who_is_told_their_letter_and_the_audit_are_there_together_or_not_at_all(laptop, alice, database):
    database.sql("ALTER TABLE portal_mail ADD CONSTRAINT nothing_goes CHECK (false)")
    with pytest.raises(Exception, match="nothing_goes"):
        warn(AT + 6 * DAY)
    assert not AuditEvent.objects.filter(action="lease_warned").exists()
    database.sql("ALTER TABLE portal_mail DROP CONSTRAINT nothing_goes")
    assert warn(AT + 6 * DAY) == 1
    alice.refresh_from_db()
    assert alice.lease_warned_at == AT + 6 * DAY
    event = AuditEvent.objects.get(action="lease_warned")
    assert (event.actor_kind, event.person, event.new) == (
        "command", alice, {"ends_at": (AT + 7 * DAY).isoformat(), "devices": 1},
    )  # fmt: skip


def test_a_letter_wakes_no_gateway(laptop, database):
    listener = listening(database)
    assert warn(AT + 6 * DAY) == 1
    assert heard(listener) == []


def listening(database):
    """Return a connection of its own that hears what gateways are told."""
    listener = psycopg2.connect(database.url(WEB))
    listener.autocommit = True
    listener.cursor().execute("LISTEN latchkey")
    return listener


def heard(listener):
    """Return what was told by now, and end the connection."""
    listener.cursor().execute("SELECT 1")  # a commit's notifications are sent before any later answer
    listener.poll()
    told = [notify.payload for notify in listener.notifies]
    listener.close()
    return told


def test_four_at_once_and_each_of_many_people_gets_one_letter(wg0, monkeypatch):
    monkeypatch.setattr("peers.services.leases.AT_ONCE", 3)
    for number in range(20):
        rows.peer(rows.person(email=f"p{number}@example.com", signed_in_at=AT), wg0, at=AT)
    Mail.objects.all().delete()
    barrier, told = threading.Barrier(4), []

    def run():
        barrier.wait()
        told.append(warn(AT + 6 * DAY))
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sum(told) == 20
    assert Mail.objects.values("to").distinct().count() == Mail.objects.count() == 20


def test_whom_another_tells_while_this_one_looks_gets_no_second_letter(laptop, database, monkeypatch):
    untold, told = leases._untold, []

    def wait_in_the_look(at):
        monkeypatch.setattr(leases, "_untold", untold)
        return untold(at).extra(where=["pg_advisory_lock(1) IS NOT NULL"])

    def run():
        told.append(warn(AT + 6 * DAY))
        connection.close()

    monkeypatch.setattr(leases, "_untold", wait_in_the_look)
    other = threading.Thread(target=run)
    with closing(psycopg2.connect(database.url(WEB))) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(1)")
        other.start()
        eventually(lambda: database.sql("SELECT count(*) FROM pg_locks WHERE NOT granted") == "1")
        assert warn(AT + 6 * DAY) == 1
    other.join(20)
    assert (told, Mail.objects.count()) == ([0], 1)


def eventually(holds, within=40):
    give_up = time.monotonic() + within
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_who_is_signing_in_at_this_moment_is_left_out(laptop, alice):
    found = []

    def run():
        found.append(warn(AT + 6 * DAY))
        connection.close()

    with transaction.atomic():
        User.objects.select_for_update().get(pk=alice.pk)
        other = threading.Thread(target=run)
        other.start()
        other.join(10)
    other.join()
    assert found == [0]
    assert warn(AT + 6 * DAY) == 1


def test_told_to_stop_it_leaves_the_rest(laptop):
    assert services.warn_of_leases(actor=services.Actor(), at=AT + 6 * DAY, stopped=lambda: True) == 0


# --- The command ---


def test_the_command_says_how_many_it_wrote_to(laptop, capsys):
    User.objects.update(signed_in_at=timezone.now() - 6 * DAY - HOUR)
    call_command("warn_of_leases")
    assert capsys.readouterr().out == "1 people were written to.\n"
    call_command("warn_of_leases")
    assert capsys.readouterr().out == "0 people were written to.\n"


def test_the_loop_works_as_the_web_role_until_it_is_told_to_stop(laptop, database, tmp_path):
    User.objects.update(signed_in_at=timezone.now() - 6 * DAY - HOUR)
    with (tmp_path / "log").open("wb") as log:
        loop = subprocess.Popen(
            [sys.executable, "manage.py", "warn_of_leases", "--loop"],
            cwd=ROOT, env=database.environment(WEB), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        eventually(Mail.objects.exists)
        loop.send_signal(signal.SIGTERM)
        assert loop.wait(30) == 0
    finally:
        loop.kill()
        loop.wait()
    assert (tmp_path / "log").read_text() == ""


# --- The pages ---


def pages(browser, made):
    """Return the list's and the device's page."""
    return [browser.get(address).content.decode() for address in ("/", made.get_absolute_url())]


def ends(after):
    """Return how a page writes the end of a lease that ends ``after`` from now, and move the sign-in there."""
    wg0 = Interface.objects.get(name="wg0")
    owner = User.objects.get(sub="alice")
    until = timezone.now() + after
    User.objects.filter(pk=owner.pk).update(signed_in_at=until - (owner.lease_limit or wg0.lease))
    return f"{until:%-d %B %Y, %H:%M} UTC</time>"


# What stands on the page of a device whose lease ends: in two days, in an hour, a minute ago.
LATER, SOON, OVER = 2 * DAY, HOUR, -timedelta(minutes=1)
WARNING = "there is nothing to change on "


def test_the_pages_say_when_the_sign_in_ends_warn_in_good_time_and_say_when_it_is_over(
    laptop, alice, gateway, subtests
):
    gateway()
    browser = signed_in(alice)
    for after, warned in ((LATER, False), (SOON, True), (OVER, False)):
        with subtests.test(after=after):
            text = ends(after)
            listed, own = pages(browser, laptop)
            assert text in listed and text in own
            assert [WARNING in listed, WARNING in own] == [warned, warned]
            assert ('action="/accounts/oidc/demo/login/"' in listed) is warned
            assert ('"signed_out">Your sign-in ended' in own) is (after == OVER)
            assert ('"signed_out">Your sign-in lasts until' in own) is (after != OVER)


def test_the_pages_promise_no_more_than_the_sign_in_counts_for(laptop, alice):
    User.objects.update(lease_limit=DAY)
    text = ends(20 * HOUR)
    for page in pages(signed_in(alice), laptop):
        assert text in page
        assert WARNING not in page
    text = ends(5 * HOUR)  # within a quarter of the day
    for page in pages(signed_in(alice), laptop):
        assert "Your sign-in ends on <time" in page
        assert text in page


def test_without_a_lease_or_once_access_has_ended_no_page_names_an_end(laptop, alice):
    text = ends(SOON)
    for change in (
        interface(lease=None),
        both(interface(lease=7 * DAY), owner(access_ended_at=AT, access_end_reason="refused")),
    ):
        change()
        for page in pages(signed_in(alice), laptop):
            assert text not in page
            assert WARNING not in page
            assert "igned in until" not in page


def test_a_device_that_the_end_does_not_take_off_is_not_warned_of(laptop, alice, subtests):
    ends(SOON)
    for name, value in {
        "revoked_at": AT,
        "suspended_at": AT,
        "expires_at": AT + timedelta(minutes=5),
    }.items():
        with subtests.test(name), transaction.atomic():
            Peer.objects.update(**{name: value})
            assert [WARNING in page for page in pages(signed_in(alice), laptop)] == [False, False]
            transaction.set_rollback(True)


def test_the_warning_of_another_persons_device_is_theirs(laptop, alice, wg0):
    ends(SOON)
    bob = rows.person("bob")
    rows.peer(bob, wg0, "phone")
    page = signed_in(bob).get("/").content.decode()
    assert "phone" in page and WARNING not in page


def test_with_a_full_tunnel_the_warning_says_how_to_sign_in(laptop, alice):
    ends(SOON)
    assert not any("off, sign in" in page for page in pages(signed_in(alice), laptop))
    Interface.objects.update(client_allowed_ips=["0.0.0.0/0"])
    assert all("switch the tunnel off, sign in" in page for page in pages(signed_in(alice), laptop))


def test_the_warning_costs_the_list_no_query_a_device(laptop, alice, wg0):
    ends(SOON)
    browser = signed_in(alice)
    browser.get("/")
    with CaptureQueriesContext(connection) as one:
        browser.get("/")
    for number in range(4):
        rows.peer(alice, wg0, f"device {number}")
    with CaptureQueriesContext(connection) as five:
        browser.get("/")
    assert len(five) == len(one)


def test_the_reason_why_it_is_not_connected_knows_the_shorter_count(laptop, alice):
    User.objects.update(lease_limit=DAY)
    found = diagnose(gather(Peer.objects.select_related("owner", "interface").get(), AT + DAY - A_MOMENT))
    assert f"signed in until {AT + DAY:%Y-%m-%d %H:%M:%S} UTC" in found.steps[1].sentence
    found = diagnose(gather(Peer.objects.select_related("owner", "interface").get(), AT + DAY))
    assert f"ran out at {AT + DAY:%Y-%m-%d %H:%M:%S} UTC" in found.answer


def test_who_signed_in_before_there_was_anything_to_ask_with_has_a_week_whatever_the_interface_says(
    alice, wg0
):
    Interface.objects.update(lease=None)
    rows.peer(alice, wg0)
    User.objects.update(signed_in_at=timezone.now() - timedelta(days=4000))
    migration = importlib.import_module("portal.migrations.0004_access_and_refresh_tokens")
    with connection.cursor() as cursor:
        cursor.execute(migration.LIMIT_EARLIER_SIGN_INS)
    assert not Peer.objects.entitled(timezone.now()).exists()
    User.objects.update(signed_in_at=timezone.now() - timedelta(days=30), lease_limit=None)
    with connection.cursor() as cursor:
        cursor.execute(migration.LIMIT_EARLIER_SIGN_INS)
    assert Peer.objects.entitled(timezone.now() + timedelta(days=6)).exists()
    assert not Peer.objects.entitled(timezone.now() + timedelta(days=8)).exists()
