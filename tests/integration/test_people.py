"""People in the admin: found, read, deactivated and reactivated, and nothing else."""

import pytest
from django.test import Client
from django.utils import timezone

from peers.models import AuditEvent, Peer
from portal import people
from portal.models import User
from tests import rows

pytestmark = pytest.mark.usefixtures("database")

LIST = "/admin/portal/user/"


@pytest.fixture
def boss():
    return rows.person("boss", is_staff=True, is_superuser=True)


@pytest.fixture
def admin(boss):
    client = Client(REMOTE_ADDR="192.0.2.5")
    client.force_login(boss)
    return client


@pytest.fixture
def alice(boss):
    return rows.person("alice", email="alice@example.com")


def change(client, user, **fields):
    return client.post(f"{LIST}{user.pk}/change/", fields)


@pytest.mark.parametrize("words", ["Alice", "alice@example", "alice"])
def test_a_person_is_found_by_name_address_or_subject(admin, alice, words):
    page = admin.get(LIST, {"q": words}).content.decode()
    assert "alice@example.com" in page
    assert "Boss" not in page.partition("result_list")[2].partition("</table>")[0]


def test_deactivating_a_person_is_on_record_and_ends_their_session(admin, alice, boss):
    theirs = Client()
    theirs.force_login(alice)
    assert change(admin, alice).status_code == 302
    alice.refresh_from_db()
    assert not alice.is_active
    assert theirs.get("/").status_code == 302
    event = AuditEvent.objects.get(person=alice)
    assert (event.action, event.actor, event.source) == ("deactivate", boss, "192.0.2.5")
    assert (event.old, event.new) == ({"is_active": True}, {"is_active": False})


def test_reactivating_a_person_is_on_record(admin, alice):
    change(admin, alice)
    change(admin, alice, is_active="on")
    assert list(AuditEvent.objects.order_by("id").values_list("action", flat=True)) == [
        "deactivate",
        "activate",
    ]
    alice.refresh_from_db()
    assert alice.is_active


def test_saving_without_a_change_writes_nothing_down(admin, alice):
    change(admin, alice, is_active="on")
    assert not AuditEvent.objects.exists()


def test_deactivating_twice_is_written_down_once(alice):
    for _ in range(2):
        people.set_active(alice, active=False, actor=None, source=None)
    assert AuditEvent.objects.count() == 1


def test_no_audit_row_means_no_change(alice, monkeypatch):
    def fails(*_arguments, **_options):
        raise RuntimeError("no audit")

    monkeypatch.setattr("portal.people.audit.record", fails)
    with pytest.raises(RuntimeError):
        people.set_active(alice, active=False, actor=None, source=None)
    alice.refresh_from_db()
    assert alice.is_active


def test_what_the_provider_says_cannot_be_edited(admin, alice):
    change(
        admin, alice, is_active="on", name="X", email="x@example.com", issuer="x", sub="x", is_superuser="on",
        is_staff="on", groups_claim="admins", signed_in_at_0="2030-01-01", signed_in_at_1="00:00", password="x",
    )  # fmt: skip
    before = vars(alice)
    after = vars(User.objects.get(pk=alice.pk))
    assert {name for name in before if not name.startswith("_") and before[name] != after[name]} == set()


def test_an_administrator_cannot_lock_themselves_out(admin, boss):
    change(admin, boss)
    boss.refresh_from_db()
    assert boss.is_active


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


def test_deactivating_a_person_takes_their_peers_rights(admin, alice):
    peer = rows.peer(alice, rows.interface())
    assert peer in Peer.objects.entitled(timezone.now())
    change(admin, alice)
    assert peer not in Peer.objects.entitled(timezone.now())


# --- The front door ---


def test_the_admin_sends_an_anonymous_visitor_to_the_sign_in():
    assert Client().get("/admin/", follow=True).redirect_chain[-1] == ("/accounts/login/?next=/admin/", 302)
    assert Client().get("/admin/login/?next=/admin/portal/user/")["Location"] == (
        "/accounts/login/?next=/admin/portal/user/"
    )


def test_the_admin_refuses_a_signed_in_person_without_a_login_loop(alice):
    client = Client()
    client.force_login(alice)
    assert client.get("/admin/", follow=True).status_code == 403


def test_a_forged_password_post_to_the_admin_signs_nobody_in():
    answer = Client().post("/admin/login/", {"username": "1", "password": "x"})
    assert answer["Location"].startswith("/accounts/login/")


def test_an_administrator_at_the_admins_old_sign_in_page_is_let_in(admin):
    assert admin.get("/admin/login/?next=https://evil.example/")["Location"] == "/admin/"
