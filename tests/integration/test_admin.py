"""What administrators see and may do, over HTTP; a peer changes there in one way only."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers.models import AuditEvent, GatewayStatus, Interface, Peer, PeerKey
from portal.models import User
from tests import rows

PEERS = "/admin/peers/peer/"
AUDIT = "/admin/peers/auditevent/"


@pytest.fixture
def wg0(database):
    return rows.interface(ipv4_pool="10.0.0.0/24", ipv6_pool="fd00::/64", dns=["10.0.0.53"])


@pytest.fixture
def alice(wg0):
    return rows.person("alice", email="alice@example.com")


@pytest.fixture
def laptop(alice, wg0):
    return rows.peer(alice, wg0, "Alice's laptop")


@pytest.fixture
def phone(wg0, laptop):
    return rows.peer(rows.person("bob"), wg0, "Bob's phone")


@pytest.fixture
def root(wg0):
    return rows.person("root", is_staff=True, is_superuser=True)


@pytest.fixture
def admin(root):
    return signed_in(root)


def signed_in(user):
    browser = Client(REMOTE_ADDR="203.0.113.9")
    browser.force_login(user)
    return browser


def staff(*rights):
    """Return the browser of one who may enter the admin and has only ``rights`` there."""
    user = rows.person(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return signed_in(user)


def names(answer):
    """Return the names of the devices that a list shows."""
    assert answer.status_code == 200
    return re.findall(r'field-name"><a [^>]*>([^<]+)</a>', answer.content.decode().replace("&#x27;", "'"))


def kept():
    """Return every row that the admin could touch, but for status and sessions."""
    return [
        list(model.objects.order_by("pk").values()) for model in (Peer, PeerKey, Interface, User, AuditEvent)
    ]


# --- Who may enter ---


def test_a_person_who_is_no_staff_is_refused(alice, laptop):
    for path in ("/admin/", PEERS, f"{PEERS}{laptop.pk}/change/", f"{PEERS}{laptop.pk}/revoke/", AUDIT):
        assert signed_in(alice).get(path).status_code in (302, 403), path
    before = kept()
    assert signed_in(alice).post(f"{PEERS}{laptop.pk}/revoke/", {"reason": "x"}).status_code in (302, 403)
    assert [rows_of[:3] for rows_of in kept()[:2]] == [rows_of[:3] for rows_of in before[:2]]


def test_staff_without_the_right_sees_no_device_and_revokes_none(laptop):
    browser = staff()
    for path in (
        PEERS,
        f"{PEERS}{laptop.pk}/change/",
        f"{PEERS}{laptop.pk}/revoke/",
        AUDIT,
        "/admin/peers/interface/",
    ):
        assert browser.get(path).status_code == 403, path
    assert browser.post(f"{PEERS}{laptop.pk}/revoke/", {"reason": "x"}).status_code == 403
    assert not Peer.objects.exclude(revoked_at=None).exists()


def test_staff_who_may_look_may_not_revoke(laptop):
    browser = staff("view_peer")
    assert names(browser.get(PEERS)) == ["Alice's laptop"]
    assert "revoke_selected" not in browser.get(PEERS).content.decode()
    assert browser.get(f"{PEERS}{laptop.pk}/revoke/").status_code == 403
    assert browser.post(f"{PEERS}{laptop.pk}/revoke/", {"reason": "x"}).status_code == 403
    selected = {"action": "revoke_selected", "_selected_action": [laptop.pk], "apply": "1", "reason": "x"}
    browser.post(PEERS, selected)
    assert not Peer.objects.exclude(revoked_at=None).exists()


def test_staff_with_the_right_may_revoke(laptop):
    browser = staff("view_peer", "revoke_peer")
    assert browser.post(f"{PEERS}{laptop.pk}/revoke/", {"reason": "lost"}).status_code == 302
    assert Peer.objects.get().revoked_at is not None


# --- The list ---


def test_devices_are_found_by_name_owner_address_and_key(admin, laptop, phone, subtests):
    both = {"Alice's laptop", "Bob's phone"}
    for term, expected in {
        "": both,
        "laptop": {"Alice's laptop"},
        "ALICE": {"Alice's laptop"},
        "alice@example.com": {"Alice's laptop"},
        "bob": {"Bob's phone"},
        str(laptop.addresses[0].ip): {"Alice's laptop"},
        str(phone.addresses[1].ip): {"Bob's phone"},
        str(phone.addresses[1].ip.exploded).upper(): {"Bob's phone"},
        f"  {phone.addresses[0].ip} ": {"Bob's phone"},
        laptop.key.public_key: {"Alice's laptop"},
        "10.0.0.99": set(),
        "192.168.1.1": set(),
        "fd00::ffff:ffff:ffff:ffff": set(),
        "2001:db8::1": set(),
        laptop.key.public_key[:20]: set(),
        rows.public_key(): set(),
        "nobody": set(),
        "%": set(),
    }.items():
        with subtests.test(term):
            assert set(names(admin.get(PEERS, {"q": term}))) == expected


def test_a_device_is_found_by_a_key_that_it_had(admin, alice, laptop, phone):
    old = laptop.key.public_key
    PeerKey.objects.filter(public_key=old).update(retired_at=timezone.now())
    PeerKey.objects.create(peer=laptop, public_key=rows.public_key(), enrolled_at=timezone.now())
    assert names(admin.get(PEERS, {"q": old})) == ["Alice's laptop"]


def test_the_list_and_the_page_show_what_stands_behind_a_device(admin, laptop):
    page = admin.get(PEERS).content.decode()
    assert str(laptop.addresses[0].ip) in page
    assert "Unknown" in page
    page = admin.get(f"{PEERS}{laptop.pk}/change/").content.decode()
    assert laptop.key.public_key in page.replace("&#x2B;", "+")
    assert str(laptop.addresses[1]) in page
    assert f"{PEERS}{laptop.pk}/revoke/" in page


def test_the_list_costs_as_many_queries_for_sixty_devices_as_for_ten(admin, wg0):
    for number in range(10):
        rows.peer(rows.person(), wg0, f"device {number}")
    admin.get(PEERS)
    with CaptureQueriesContext(connection) as ten:
        assert len(names(admin.get(PEERS))) == 10
    for number in range(50):
        rows.peer(rows.person(), wg0, f"another {number}")
    with CaptureQueriesContext(connection) as sixty:
        assert len(names(admin.get(PEERS))) == 60
    assert len(sixty) == len(ten)


# --- Revoking ---


def test_revoking_needs_a_reason_and_writes_it_down(admin, root, laptop):
    path = f"{PEERS}{laptop.pk}/revoke/"
    page = admin.get(path)
    assert page.status_code == 200
    assert "Alice&#x27;s laptop" in page.content.decode()
    before = kept()
    for reason in ({}, {"reason": ""}, {"reason": "   "}, {"reason": "x" * 201}):
        assert admin.post(path, reason).status_code == 400
    assert kept() == before
    assert admin.post(path, {"reason": "stolen"}).status_code == 302
    laptop.refresh_from_db()
    assert (laptop.revoked_by, laptop.revoke_reason) == (root, "stolen")
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor, event.source, event.reason) == (
        "revoke",
        root,
        "203.0.113.9",
        "stolen",
    )
    assert (event.peer, event.person) == (laptop, laptop.owner)


def test_looking_at_the_page_or_asking_with_get_revokes_nothing(admin, laptop):
    before = kept()
    assert admin.get(f"{PEERS}{laptop.pk}/revoke/?reason=x&apply=1").status_code == 200
    assert kept() == before


def test_several_devices_are_revoked_at_once_each_with_its_audit_row(admin, laptop, phone):
    other = rows.peer(phone.owner, phone.interface, "tablet")
    selected = {"action": "revoke_selected", "_selected_action": [laptop.pk, phone.pk]}
    page = admin.post(PEERS, selected)
    assert page.status_code == 200
    assert page.content.decode().count('name="_selected_action"') == 2
    assert admin.post(PEERS, {**selected, "apply": "1"}).status_code == 400
    assert not Peer.objects.exclude(revoked_at=None).exists()
    assert admin.post(PEERS, {**selected, "apply": "1", "reason": "sold"}).status_code == 302
    assert set(Peer.objects.exclude(revoked_at=None)) == {laptop, phone}
    assert set(AuditEvent.objects.filter(action="revoke", reason="sold").values_list("peer", flat=True)) == {
        laptop.pk,
        phone.pk,
    }
    assert Peer.objects.get(pk=other.pk).revoked_at is None


def test_a_device_that_is_revoked_already_stays_as_it_was(admin, laptop):
    admin.post(f"{PEERS}{laptop.pk}/revoke/", {"reason": "first"})
    before = kept()
    admin.post(f"{PEERS}{laptop.pk}/revoke/", {"reason": "second"})
    assert kept() == before


def test_a_device_that_does_not_exist_is_not_found(admin, wg0):
    for text, status in (("00000000-0000-0000-0000-000000000000", 404), ("nonsense", 302)):
        assert admin.get(f"{PEERS}{text}/revoke/").status_code in (status, 404)


# --- What cannot be done ---


def test_nothing_is_added_or_deleted_and_no_device_is_edited(admin, laptop, subtests):
    event = AuditEvent.objects.latest("pk").pk
    before = kept()
    for path in (
        f"{PEERS}add/",
        f"{PEERS}{laptop.pk}/delete/",
        f"{PEERS}{laptop.pk}/change/",
        f"{AUDIT}add/",
        f"{AUDIT}{event}/change/",
        f"{AUDIT}{event}/delete/",
        "/admin/peers/interface/add/",
        f"/admin/peers/interface/{laptop.interface_id}/delete/",
        "/admin/peers/gatewaystatus/add/",
        "/admin/portal/user/add/",
        f"/admin/portal/user/{laptop.owner_id}/delete/",
    ):
        with subtests.test(path):
            assert (
                admin.post(path, {"name": "x", "host": "9", "post": "yes", "reason": "x"}).status_code == 403
            )
    for path, pk in ((PEERS, laptop.pk), (AUDIT, event), ("/admin/peers/interface/", laptop.interface_id)):
        with subtests.test(f"delete selected {path}"):
            admin.post(path, {"action": "delete_selected", "_selected_action": [pk], "post": "yes"})
    assert kept() == before


def test_the_audit_can_be_read_and_searched(admin, laptop, phone):
    page = admin.get(AUDIT, {"q": "Alice's laptop"})
    assert page.status_code == 200
    assert page.content.decode().count("field-action") == 1
    event = AuditEvent.objects.earliest("pk")
    assert laptop.key.public_key in admin.get(f"{AUDIT}{event.pk}/change/").content.decode().replace(
        "&#x2B;", "+"
    )


def test_the_audit_list_costs_the_same_for_sixty_rows_as_for_ten(admin, wg0):
    for _ in range(10):
        rows.peer(rows.person(), wg0)
    admin.get(AUDIT)
    with CaptureQueriesContext(connection) as ten:
        admin.get(AUDIT)
    for _ in range(50):
        rows.peer(rows.person(), wg0)
    with CaptureQueriesContext(connection) as sixty:
        admin.get(AUDIT)
    assert len(sixty) == len(ten)


def test_the_gateways_are_shown(admin, wg0, database):
    database.sql(
        "INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at, drift_found,"
        f" left_alone, unexplained, held, problem) VALUES ('gw.example', {wg0.pk}, '1', true, now(), now(), 0, '{{}}', 0, 0, '')"
    )
    assert "gw.example" in admin.get("/admin/peers/gatewaystatus/").content.decode()
    row = GatewayStatus.objects.get()
    assert admin.post(f"/admin/peers/gatewaystatus/{row.pk}/change/", {"held": "9"}).status_code == 403


# --- An interface's settings ---


def settings_form(**fields):
    return {
        "endpoint": "vpn.example.com:51820", "listen_port": "51820", "dns": "10.0.0.53", "client_allowed_ips": "",
        "mtu": "1420", "persistent_keepalive": "25", "lease": "7 00:00:00", "address_rest": "1 00:00:00",
        "device_limit": "10", "enrol_groups": "", **fields,
    }  # fmt: skip


def test_an_interfaces_settings_are_changed_with_what_changed_in_the_audit(admin, root, wg0):
    path = f"/admin/peers/interface/{wg0.pk}/change/"
    assert admin.get(path).status_code == 200
    form = settings_form(
        mtu="1380", dns="10.0.0.54,fd00::54", client_allowed_ips="10.0.0.0/8", enrol_groups="staff", lease=""
    )
    assert admin.post(path, form).status_code == 302
    wg0.refresh_from_db()
    assert (wg0.mtu, wg0.lease, wg0.enrol_groups) == (1380, None, ["staff"])
    event = AuditEvent.objects.get(action="change_interface")
    assert (event.actor, event.source, event.interface) == (root, "203.0.113.9", wg0)
    assert event.new == {
        "mtu": "1380", "dns": "10.0.0.54, fd00::54", "client_allowed_ips": "10.0.0.0/8", "enrol_groups": "staff",
        "lease": "None",
    }  # fmt: skip
    assert event.old == {
        "mtu": "1420", "dns": "10.0.0.53", "client_allowed_ips": "", "enrol_groups": "", "lease": "7 days, 0:00:00",
    }  # fmt: skip


def test_what_every_client_believes_cannot_be_posted(admin, wg0):
    before = Interface.objects.values().get()
    page = admin.get(f"/admin/peers/interface/{wg0.pk}/change/").content.decode()
    assert 'name="endpoint"' in page
    assert not [
        name for name in ("name", "public_key", "ipv4_pool", "ipv6_pool", "host") if f'name="{name}"' in page
    ]
    forged = settings_form(
        name="wg9", public_key=rows.public_key(), ipv4_pool="10.9.0.0/24", ipv6_pool="fd09::/64", host="9",
        next_host="99", mode="on_demand", brake_released_at="2026-01-01", id="77",
    )  # fmt: skip
    assert admin.post(f"/admin/peers/interface/{wg0.pk}/change/", forged).status_code == 302
    assert Interface.objects.values().get() == before
    assert not AuditEvent.objects.exists()


def test_settings_that_cannot_work_are_refused_on_the_form(admin, wg0, subtests):
    before = kept()
    for field, value in {
        "endpoint": "no port", "listen_port": "0", "mtu": "100", "persistent_keepalive": "99999", "dns": "x",
        "client_allowed_ips": "10.0.0.1/8", "lease": "-1 00:00:00", "address_rest": "-1 00:00:00", "device_limit": "-1",
    }.items():  # fmt: skip
        with subtests.test(field):
            answer = admin.post(f"/admin/peers/interface/{wg0.pk}/change/", settings_form(**{field: value}))
            assert answer.status_code == 200
            assert "errorlist" in answer.content.decode()
    assert kept() == before


# --- People ---


def test_deactivating_a_person_cuts_every_device_of_theirs_and_no_other(admin, root, laptop, phone):
    path = f"/admin/portal/user/{laptop.owner_id}/change/"
    assert admin.post(path, {}).status_code == 302  # the box unticked
    assert list(Peer.objects.entitled(timezone.now())) == [phone]
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor, event.person) == ("deactivate", root, laptop.owner)
    assert admin.post(path, {"is_active": "on"}).status_code == 302
    assert set(Peer.objects.entitled(timezone.now())) == {laptop, phone}


def test_nothing_else_of_a_person_can_be_posted(admin, alice):
    before = User.objects.filter(pk=alice.pk).values().get()
    forged = {
        "is_active": "on", "is_superuser": "on", "is_staff": "on", "sub": "root", "issuer": "x", "name": "x",
        "signed_in_at_0": "2099-01-01", "signed_in_at_1": "00:00", "groups_claim": "staff", "email": "x@example.com",
    }  # fmt: skip
    admin.post(f"/admin/portal/user/{alice.pk}/change/", forged)
    assert User.objects.filter(pk=alice.pk).values().get() == before
    assert timezone.now() - alice.signed_in_at < timedelta(minutes=5)
