"""People in the admin: found, read, suspended and restored, and nothing else."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, Peer
from portal.models import User
from tests import rows
from tests.integration.pages import signed_in

pytestmark = pytest.mark.usefixtures("database")

LIST = "/admin/portal/user/"


@pytest.fixture
def boss():
    return rows.person("boss", is_staff=True, is_superuser=True)


@pytest.fixture
def admin(boss):
    return signed_in(boss, "192.0.2.5")


@pytest.fixture
def alice(boss):
    return rows.person("alice", email="alice@example.com")


def suspend(client, user, **fields):
    return client.post(f"{LIST}{user.pk}/suspend/", {"reason": "left us", **fields})


def restore(client, user, **fields):
    return client.post(f"{LIST}{user.pk}/restore/", fields)


def back_dated(user, days):
    """Let the person have been suspended ``days`` ago."""
    User.objects.filter(pk=user.pk).update(suspended_at=timezone.now() - timedelta(days=days))


def said(answer):
    return [(message.level_tag, str(message)) for message in get_messages(answer.wsgi_request)]


@pytest.mark.parametrize("words", ["Alice", "alice@example", "alice"])
def test_a_person_is_found_by_name_address_or_subject(admin, alice, words):
    page = admin.get(LIST, {"q": words}).content.decode()
    assert "alice@example.com" in page
    assert "Boss" not in page.partition("result_list")[2].partition("</table>")[0]


def test_people_are_narrowed_down_by_when_they_last_signed_in(admin, boss):
    for days, name in ((0, "today"), (6, "lately"), (30, "long-ago")):
        rows.person(name, signed_in_at=timezone.now() - timedelta(days=days))
    rows.person("never", signed_in_at=None)

    def found(**query):
        page = admin.get(LIST, query).content.decode()
        return {name for name in ("Today", "Lately", "Long-Ago", "Never") if f">{name}</a>" in page}

    assert found(signed_in="day") == {"Today"}
    assert found(signed_in="week") == {"Today", "Lately"}
    assert found(signed_in="never") == {"Never"}
    assert found(is_active__exact="0") == set()
    assert admin.get(LIST, {"signed_in": "x"})["Location"] == f"{LIST}?e=1"


# --- Suspending ---


def test_suspending_a_person_is_on_record_and_ends_their_session(admin, alice, boss):
    theirs = signed_in(alice)
    answer = suspend(admin, alice)
    assert (answer.status_code, answer["Location"]) == (302, f"{LIST}{alice.pk}/change/")
    assert said(answer) == [("success", "Suspended: Alice.")]
    alice.refresh_from_db()
    assert (alice.is_active, alice.suspend_reason) == (False, "left us")
    assert theirs.get("/").status_code == 302
    event = AuditEvent.objects.get(person=alice)
    assert (event.action, event.actor, event.source, event.reason) == (
        "suspend",
        boss,
        "192.0.2.5",
        "left us",
    )
    assert "left us" in admin.get(f"{LIST}{alice.pk}/change/").content.decode()


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201, "a\u202eb"])
def test_suspending_takes_a_reason(admin, alice, reason):
    assert suspend(admin, alice, reason=reason).status_code == 400
    assert not AuditEvent.objects.exists()
    assert User.objects.get(pk=alice.pk).is_active


def test_the_page_says_how_many_devices_are_cut(admin, alice):
    wg0 = rows.interface()
    for name in ("laptop", "phone", "gone"):
        peer = rows.peer(alice, wg0, name)
    services.revoke(actor=services.Actor(), peer=peer, at=timezone.now())
    assert "2 devices leave the network at once" in admin.get(f"{LIST}{alice.pk}/suspend/").content.decode()
    assert Peer.objects.entitled(timezone.now()).count() == 2
    suspend(admin, alice)
    assert not Peer.objects.entitled(timezone.now()).exists()


def test_looking_at_either_page_changes_nothing(admin, alice):
    admin.get(f"{LIST}{alice.pk}/suspend/?reason=x")
    admin.get(f"{LIST}{alice.pk}/restore/")
    assert User.objects.get(pk=alice.pk).is_active
    suspend(admin, alice)
    admin.get(f"{LIST}{alice.pk}/restore/")
    assert not User.objects.get(pk=alice.pk).is_active


def test_suspending_or_restoring_twice_is_written_down_once(admin, alice):
    for _ in range(2):
        answer = suspend(admin, alice)
    assert said(answer)[-1] == ("warning", "Alice is suspended already.")
    for _ in range(2):
        answer = restore(admin, alice)
    assert said(answer)[-1] == ("warning", "Alice is not suspended.")
    for act in (services.suspend_person, services.suspend_person):
        act(actor=services.Actor(), person=alice, at=timezone.now(), reason="again")
    actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["suspend", "restore", "suspend"]


def test_no_audit_row_means_no_change(alice, monkeypatch):
    def fails(*_arguments, **_options):
        raise RuntimeError("no audit")

    monkeypatch.setattr("peers.services.people.record", fails)
    with pytest.raises(RuntimeError):
        services.suspend_person(actor=services.Actor(), person=alice, at=timezone.now(), reason="x")
    alice.refresh_from_db()
    assert alice.is_active


def test_nobody_suspends_themselves(admin, boss):
    assert f"{LIST}{boss.pk}/suspend/" not in admin.get(f"{LIST}{boss.pk}/change/").content.decode()
    answer = suspend(admin, boss)
    assert said(answer) == [("error", "You cannot suspend yourself.")]
    boss.refresh_from_db()
    assert boss.is_active


@pytest.mark.parametrize("act", ["suspend", "restore"])
def test_it_takes_the_right_to_change_people(alice, act):
    looker = rows.person(is_staff=True)
    looker.user_permissions.set(
        Permission.objects.filter(codename__in=["view_user", "view_peer", "suspend_peer"])
    )
    browser = signed_in(looker)
    if act == "restore":
        services.suspend_person(actor=services.Actor(), person=alice, at=timezone.now(), reason="x")
    before = User.objects.filter(pk=alice.pk).values().get()
    page = browser.get(f"{LIST}{alice.pk}/change/")
    assert page.status_code == 200
    assert f"/{act}/" not in page.content.decode()
    assert browser.get(f"{LIST}{alice.pk}/{act}/").status_code == 403
    assert browser.post(f"{LIST}{alice.pk}/{act}/", {"reason": "x"}).status_code == 403
    assert User.objects.filter(pk=alice.pk).values().get() == before


# --- Restoring ---


@pytest.mark.parametrize("days", [0, 29, 30, 31, 400, None])
def test_the_page_says_what_restoring_does_and_restoring_does_it(admin, alice, days):
    """Hold the page's word and the rule of ``restore_person`` together."""
    for name in ("laptop", "phone"):
        rows.peer(alice, rows.interface(f"wg-{name}"), name)
    suspend(admin, alice)
    if days is None:
        User.objects.filter(pk=alice.pk).update(suspended_at=None, suspend_reason="")
    else:
        back_dated(alice, days)
    page = admin.get(f"{LIST}{alice.pk}/restore/").content.decode()
    assert ("2 devices will be revoked" in page) is (days in {30, 31, 400, None})
    assert ("2 devices come back with them" in page) is (days in {0, 29})
    assert said(restore(admin, alice))[-1] == ("success", "Restored: Alice.")
    assert User.objects.get(pk=alice.pk).is_active
    back = Peer.objects.entitled(timezone.now()).count()
    assert (back, Peer.objects.filter(revoked_at=None).count()) == ((2, 2) if days in {0, 29} else (0, 0))


def test_how_long_devices_wait_is_a_setting(admin, alice, settings):
    settings.LATCHKEY_RESTORE_DEVICES_WITHIN = 2
    rows.peer(alice, rows.interface())
    suspend(admin, alice)
    back_dated(alice, 3)
    page = admin.get(f"{LIST}{alice.pk}/restore/").content.decode()
    assert "longer than 2 days" in page
    assert "1 device will be revoked" in page
    token, _ = rows.token(alice)
    restore(admin, alice)
    assert not Peer.objects.filter(revoked_at=None).exists()
    token.refresh_from_db()
    assert token.revoked_at


def test_a_device_that_was_suspended_itself_stays_so(admin, alice):
    laptop = rows.peer(alice, rows.interface())
    services.suspend(actor=services.Actor(), peer=laptop, at=timezone.now(), reason="lost?")
    suspend(admin, alice)
    restore(admin, alice)
    assert not Peer.objects.entitled(timezone.now()).exists()


# --- Their page ---


def test_a_persons_page_lists_their_devices_with_their_states_and_leads_to_their_audit(admin, alice):
    wg0 = rows.interface()
    laptop, phone = rows.peer(alice, wg0, "laptop"), rows.peer(alice, wg0, "phone")
    rows.peer(rows.person("bob"), wg0, "tablet")
    services.revoke(actor=services.Actor(), peer=phone, at=timezone.now())
    page = admin.get(f"{LIST}{alice.pk}/change/").content.decode()
    assert f'/admin/peers/peer/{laptop.pk}/change/">laptop</a>' in page
    assert "tablet" not in page
    assert {"Unknown", "Revoked"} <= set(re.findall(r"<td[^>]*>(\w+)</td>", page))
    links = re.findall(r'href="(/admin/peers/[^"]*\?[^"]*)"', page)
    assert len(links) == 3  # the audit, the tokens, the devices
    for link in links:
        shown = admin.get(unescape(link))
        assert shown.status_code == 200
        assert "tablet" not in shown.content.decode().partition("result_list")[2].partition("</table>")[0]


def test_a_persons_page_shows_no_devices_to_one_who_may_see_none(alice):
    rows.peer(alice, rows.interface(), "laptop")
    looker = rows.person(is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename="view_user"))
    browser = signed_in(looker)
    assert "laptop" not in browser.get(f"{LIST}{alice.pk}/change/").content.decode()


def test_a_persons_page_costs_the_same_for_sixty_devices_as_for_one(admin, alice):
    wg0 = rows.interface(device_limit=100)
    rows.peer(alice, wg0)
    admin.get(f"{LIST}{alice.pk}/change/")
    with CaptureQueriesContext(connection) as one:
        admin.get(f"{LIST}{alice.pk}/change/")
    for _ in range(60):
        rows.peer(alice, wg0)
    with CaptureQueriesContext(connection) as many:
        page = admin.get(f"{LIST}{alice.pk}/change/").content.decode()
    assert len(many) == len(one)
    assert "11 more" in page


def test_the_list_of_people_costs_the_same_for_sixty_as_for_ten(admin):
    for _ in range(10):
        rows.person()
    admin.get(LIST, {"q": "person"})
    with CaptureQueriesContext(connection) as ten:
        admin.get(LIST, {"q": "person"})
    for _ in range(50):
        rows.person()
    with CaptureQueriesContext(connection) as sixty:
        admin.get(LIST, {"q": "person"})
    assert len(sixty) == len(ten)


def test_what_the_provider_says_cannot_be_edited(admin, alice):
    before = User.objects.filter(pk=alice.pk).values().get()
    forged = {
        "is_active": "", "name": "X", "email": "x@example.com", "issuer": "x", "sub": "x", "is_superuser": "on",
        "is_staff": "on", "groups_claim": "admins", "signed_in_at_0": "2030-01-01", "signed_in_at_1": "00:00", "password": "x",
    }  # fmt: skip
    assert admin.post(f"{LIST}{alice.pk}/change/", forged).status_code == 403
    assert User.objects.filter(pk=alice.pk).values().get() == before
    suspend(admin, alice, **forged)
    restore(admin, alice, **forged)
    after = User.objects.get(pk=alice.pk)
    assert not after.has_usable_password()  # another one, which ends their sessions
    assert User.objects.filter(pk=alice.pk).values().get() == before | {"password": after.password}


@pytest.mark.parametrize("path", [f"{LIST}add/", "{user}/delete/", "{user}/password/"])
def test_people_are_neither_added_nor_deleted_nor_given_passwords(admin, alice, path):
    assert admin.get(path.replace("{user}", f"{LIST}{alice.pk}")).status_code in {403, 404, 302}
    assert User.objects.filter(pk=alice.pk).exists()


@pytest.mark.parametrize("path", ["password_change/", "password_change/done/", "r/1/1/"])
def test_the_admin_has_no_password_pages_and_no_redirect_to_an_objects_page(admin, path):
    assert admin.get(f"/admin/{path}").status_code == 404


def test_only_the_portals_own_models_are_in_the_admin(admin):
    page = admin.get("/admin/").content.decode()
    assert "/admin/portal/user/" in page
    for other in ("/admin/auth/", "/admin/socialaccount/", "/admin/account/", "/admin/sites/"):
        assert other not in page


# --- The front door ---


def test_the_admin_sends_an_anonymous_visitor_to_the_sign_in():
    assert Client().get("/admin/", follow=True).redirect_chain[-1] == ("/accounts/login/?next=/admin/", 302)
    assert Client().get("/admin/login/?next=/admin/portal/user/")["Location"] == (
        "/accounts/login/?next=/admin/portal/user/"
    )


def test_the_admin_refuses_a_signed_in_person_without_a_login_loop(alice):
    client = signed_in(alice)
    assert client.get("/admin/", follow=True).status_code == 403


def test_a_forged_password_post_to_the_admin_signs_nobody_in():
    answer = Client().post("/admin/login/", {"username": "1", "password": "x"})
    assert answer["Location"].startswith("/accounts/login/")


def test_an_administrator_at_the_admins_old_sign_in_page_is_let_in(admin):
    assert admin.get("/admin/login/?next=https://evil.example/")["Location"] == "/admin/"
