"""What administrators see and may do, over HTTP; a peer changes there in one way only."""

import re
from urllib.parse import urlencode

import pytest
from django.contrib.admin import ShowFacets, site
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import services
from peers.admin.peer import PeerAdmin
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
        laptop.key.public_key[:20]: {"Alice's laptop"},
        laptop.key.public_key[:8]: {"Alice's laptop"},
        f" {laptop.key.public_key} ": {"Alice's laptop"},
        laptop.key.public_key[:7]: set(),
        laptop.key.public_key[8:]: set(),
        "alice laptop": {"Alice's laptop"},
        "alice phone": set(),
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
    for act in ("revoke", "suspend", "why"):
        assert f"{PEERS}{laptop.pk}/{act}/" in page


def test_a_page_shows_the_acts_that_one_may_do_and_that_would_change_something(admin, laptop):
    def acts(browser):
        return re.findall(
            rf'"{PEERS}{laptop.pk}/(\w+)/"', browser.get(f"{PEERS}{laptop.pk}/change/").content.decode()
        )

    assert acts(staff("view_peer")) == ["why"]
    assert acts(staff("view_peer", "suspend_peer")) == ["why", "suspend"]
    assert acts(staff("view_peer", "revoke_peer")) == ["why", "revoke"]
    services.suspend(actor=services.Actor(), peer=laptop, at=timezone.now(), reason="lost?")
    assert acts(admin) == ["why", "restore", "revoke"]
    services.revoke(actor=services.Actor(), peer=laptop, at=timezone.now())
    assert acts(admin) == ["why"]


# --- Narrowing the list down ---


def test_devices_are_narrowed_down_by_interface_platform_and_owner(
    admin, alice, wg0, laptop, phone, subtests
):
    wg1 = rows.interface("wg1")
    rows.peer(alice, wg1, "tablet", platform="ios")
    for query, expected in {
        f"interface__id__exact={wg1.pk}": ["tablet"],
        "platform__exact=ios": ["tablet"],
        f"owner__id__exact={alice.pk}": ["tablet", "Alice's laptop"],
        f"owner__id__exact={alice.pk}&platform__exact=other": ["Alice's laptop"],
        f"owner__id__exact={phone.owner_id}": ["Bob's phone"],
        "state=unknown": ["tablet", "Bob's phone", "Alice's laptop"],
        "state=connected": [],
    }.items():
        with subtests.test(query):
            assert names(admin.get(f"{PEERS}?{query}")) == expected
    assert "By owner" not in admin.get(PEERS).content.decode()
    page = admin.get(f"{PEERS}?owner__id__exact={alice.pk}").content.decode()
    assert "By owner" in page
    assert set(re.findall(r"owner__id__exact=(\d+)", page)) == {str(alice.pk)}


def test_a_filters_value_that_nobody_offers_is_refused_not_ignored(admin, laptop, subtests):
    for query in (
        "state=x",
        "handshake=year",
        "owner__id__exact=99999999",
        "owner__id__exact=x",
        f"owner__id__exact={'9' * 40}",
    ):
        with subtests.test(query):
            answer = admin.get(f"{PEERS}?{query}")
            assert (answer.status_code, answer["Location"]) == (302, f"{PEERS}?e=1")


def test_devices_are_narrowed_down_by_their_latest_handshake(admin, database, wg0, laptop, phone):
    tablet, old = (rows.peer(rows.person(), wg0, name) for name in ("tablet", "old"))
    for peer, ago in ((laptop, "59 minutes"), (phone, "23 hours"), (tablet, "6 days"), (old, "8 days")):
        status(database, peer, f"now() - interval '{ago}'")
    never, unheard = (rows.peer(rows.person(), wg0, name) for name in ("never", "unheard"))
    status(database, unheard, "NULL")
    found = {
        chosen: set(names(admin.get(PEERS, {"handshake": chosen})))
        for chosen in ("hour", "day", "week", "never")
    }
    assert found == {
        "hour": {"Alice's laptop"}, "day": {"Alice's laptop", "Bob's phone"},
        "week": {"Alice's laptop", "Bob's phone", "tablet"}, "never": {"never", "unheard"},
    }  # fmt: skip
    assert never.name == "never"


def status(database, peer, handshake):
    database.sql(
        "INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, latest_handshake, endpoint, rx_bytes, tx_bytes,"
        f" held, problem) VALUES ('gw', '{peer.pk}', '{peer.key.public_key}', true, now(), {handshake}, '', 0, 0, false, '')"
    )


SECRETS = (
    "preshared_key__startswith=g", "owner__password__startswith=x", "owner__sub__startswith=a", "configured__x=1",
    "revoke_reason__contains=x", "owner__name=Alice", "keys__public_key__startswith=A", "statuses__endpoint=x",
    "owner__is_superuser__exact=1", "revoked_by__id__exact=1", "id__startswith=0",
)  # fmt: skip


@pytest.mark.parametrize("query", SECRETS)
def test_a_device_cannot_be_looked_up_by_what_no_filter_offers(admin, laptop, query):
    assert admin.get(f"{PEERS}?{query}").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "password__startswith=x",
        "groups__name=x",
        "email__contains=a",
        "peers__preshared_key__startswith=g",
        "last_login__gt=2020-01-01",
    ],
)
def test_a_person_cannot_be_looked_up_by_what_no_filter_offers(admin, query):
    assert admin.get(f"/admin/portal/user/?{query}").status_code == 400


def test_nothing_is_edited_in_a_list_and_no_list_counts_its_facets():
    mine = list(site._registry.values())
    assert len(mine) >= 5
    for each in mine:
        assert list(each.list_editable) == []
    assert {type(each).__name__ for each in mine if each.show_facets != ShowFacets.NEVER} <= {
        "InterfaceAdmin"
    }


@pytest.mark.parametrize(
    "query",
    [
        "",
        "q=device",
        "q=fd00::5",
        "state=unknown",
        "state=connected",
        "handshake=never",
        "platform__exact=other",
    ],
)
def test_every_way_to_the_list_costs_as_many_queries_for_sixty_devices_as_for_ten(admin, wg0, query):
    for number in range(10):
        rows.peer(rows.person(), wg0, f"device {number}")
    admin.get(f"{PEERS}?{query}")
    with CaptureQueriesContext(connection) as ten:
        admin.get(f"{PEERS}?{query}")
    for number in range(50):
        rows.peer(rows.person(), wg0, f"device {number} more")
    with CaptureQueriesContext(connection) as sixty:
        admin.get(f"{PEERS}?{query}")
    assert len(sixty) == len(ten)


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


# --- Suspending and restoring ---


def said(answer):
    """Return the messages that the next page shows, each with its level."""
    return [(message.level_tag, str(message)) for message in get_messages(answer.wsgi_request)]


def test_suspending_needs_a_reason_and_restoring_gives_the_device_back(admin, root, laptop):
    path = f"{PEERS}{laptop.pk}/suspend/"
    assert "Alice&#x27;s laptop" in admin.get(path).content.decode()
    before = kept()
    for form in ({}, {"reason": " "}, {"reason": "x" * 201}, {"reason": "a\u202eb"}, {"reason": "a\nb"}):
        assert admin.post(path, form).status_code == 400
    assert kept() == before
    answer = admin.post(path, {"reason": "lost?"})
    assert (answer.status_code, answer["Location"]) == (302, f"{PEERS}{laptop.pk}/change/")
    assert said(answer) == [("success", "Suspended: Alice's laptop.")]
    laptop.refresh_from_db()
    assert laptop.suspend_reason == "lost?"
    assert laptop not in Peer.objects.entitled(timezone.now())
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor, event.source, event.reason) == (
        "suspend",
        root,
        "203.0.113.9",
        "lost?",
    )
    answer = admin.post(f"{PEERS}{laptop.pk}/restore/", {"reason": ""})
    assert said(answer)[-1] == ("success", "Restored: Alice's laptop.")
    assert laptop in Peer.objects.entitled(timezone.now())
    assert AuditEvent.objects.latest("pk").action == "restore"


@pytest.mark.parametrize("act", ["suspend", "restore"])
def test_a_revoked_device_is_neither_suspended_nor_restored(admin, laptop, act):
    services.revoke(actor=services.Actor(), peer=laptop, at=timezone.now())
    before = kept()
    assert "(revoked)" in admin.get(f"{PEERS}{laptop.pk}/{act}/").content.decode()
    answer = admin.post(f"{PEERS}{laptop.pk}/{act}/", {"reason": "x"})
    ((level, sentence),) = said(answer)
    assert level == "error"
    assert sentence.startswith("Revoked, and so it cannot be")
    assert kept() == before


@pytest.mark.parametrize("act", ["suspend", "restore"])
def test_suspending_takes_the_right_to_suspend(laptop, act):
    before = kept()[:2]
    browser = staff("view_peer", "revoke_peer")
    assert browser.get(f"{PEERS}{laptop.pk}/{act}/").status_code == 403
    assert browser.post(f"{PEERS}{laptop.pk}/{act}/", {"reason": "x"}).status_code == 403
    selected = {"action": f"{act}_selected", "_selected_action": [laptop.pk], "apply": "1", "reason": "x"}
    browser.post(PEERS, selected)
    assert kept()[:2] == before
    assert staff("suspend_peer").post(f"{PEERS}{laptop.pk}/suspend/", {"reason": "x"}).status_code == 302


def test_what_became_of_each_selected_device_is_said(admin, wg0, laptop, phone):
    paused, gone = (rows.peer(phone.owner, wg0, name) for name in ("paused", "gone"))
    services.suspend(actor=services.Actor(), peer=paused, at=timezone.now(), reason="before")
    services.revoke(actor=services.Actor(), peer=gone, at=timezone.now())
    selected = {"action": "suspend_selected", "_selected_action": [laptop.pk, phone.pk, paused.pk, gone.pk]}
    assert admin.post(PEERS, selected).content.decode().count('name="_selected_action"') == 4
    answer = admin.post(f"{PEERS}?platform__exact=other", {**selected, "apply": "1", "reason": "audit"})
    assert answer["Location"] == f"{PEERS}?platform__exact=other"
    assert sorted(said(answer)) == [
        ("error", "Revoked, and so it cannot be suspended any more: gone."),
        ("success", "Suspended: Bob's phone, Alice's laptop."),
        ("warning", "Suspended already: paused."),
    ]
    assert set(Peer.objects.filter(suspend_reason="audit")) == {laptop, phone}
    answer = admin.post(PEERS, {**selected, "action": "restore_selected", "apply": "1"})
    assert sorted(said(answer)[3:]) == [  # no page has shown the first three yet
        ("error", "Revoked, and so it cannot be restored: gone."),
        ("success", "Restored: paused, Bob's phone, Alice's laptop."),
    ]


def test_a_whole_table_is_not_revoked_by_one_press(admin, wg0, laptop, monkeypatch):
    monkeypatch.setattr(PeerAdmin, "list_max_show_all", 2)
    for _ in range(2):
        rows.peer(laptop.owner, wg0)
    form = {
        "action": "revoke_selected",
        "_selected_action": [laptop.pk],
        "select_across": "1",
        "apply": "1",
        "reason": "x",
    }
    answer = admin.post(PEERS, form)
    assert said(answer) == [("error", "Select at most 2 devices at a time.")]
    assert not Peer.objects.exclude(revoked_at=None).exists()


@pytest.mark.parametrize("act", ["revoke", "suspend", "restore"])
def test_after_an_act_one_is_back_where_one_came_from_if_that_is_here(admin, laptop, act, subtests):
    person = f"/admin/portal/user/{laptop.owner_id}/change/"
    for wanted, expected in {
        "": f"{PEERS}{laptop.pk}/change/",
        person: person,
        "https://evil.example/": f"{PEERS}{laptop.pk}/change/",
        "//evil.example/": f"{PEERS}{laptop.pk}/change/",
        "javascript:alert(1)": f"{PEERS}{laptop.pk}/change/",
    }.items():
        with subtests.test(wanted):
            path = f"{PEERS}{laptop.pk}/{act}/?{urlencode({'next': wanted})}"
            assert f'href="{expected}"' in admin.get(path).content.decode()
            assert admin.post(path, {"reason": "x"})["Location"] == expected


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
    assert len(re.findall(r"field-act\b", page.content.decode())) == 1
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


# --- What no page of ours sends ---


@pytest.mark.parametrize(
    "query",
    [
        "name__regex=(",
        "name=wg0",
        "enrol_groups=x",
        "lease=x",
        "dns=(",
        "public_key__startswith=A",
        "peers__owner__password=!",
    ],
)
def test_no_column_of_interfaces_is_looked_up_by_an_address(admin, query):
    assert admin.get(f"/admin/peers/interface/?{query}").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "peer/?platform__exact=%00",
        "auditevent/?actor_kind__exact=%00",
        "auditevent/?actor_kind__exact=person&actor_kind__exact=%00",
    ],
)
def test_a_sign_that_no_text_holds_is_refused(admin, laptop, query):
    assert admin.get(f"/admin/peers/{query}").status_code == 400


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_export_by_such_a_filter_is_refused_and_not_on_record(admin, kind):
    for query in ("q=%00", "from=%00", "action=%00", "p=%00"):
        assert admin.post(f"{AUDIT}export.{kind}?{query}").status_code == 400
    assert not AuditEvent.objects.filter(action="export_audit").exists()


@pytest.mark.parametrize("selected", ["", "x", "\0", "-1"])
def test_a_selection_of_what_is_no_id_is_refused(admin, laptop, selected):
    sent = {"action": "suspend_selected", "_selected_action": [selected, str(laptop.pk)], "index": "0"}
    assert admin.post(PEERS, {**sent, "apply": "1", "reason": "by mistake"}).status_code == 400
    assert not Peer.objects.exclude(suspended_at=None).exists()
