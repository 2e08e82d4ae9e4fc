"""Who may enter the admin, what nobody can do there, and the settings of an interface."""

import pytest

from peers.models import AuditEvent, GatewayStatus, Interface, Peer
from tests import rows
from tests.integration.overview import fact
from tests.integration.pages import AUDIT, PEERS, kept, names, signed_in, staff


@pytest.fixture
def wg0(database):
    return rows.interface(ipv4_pool="10.0.0.0/24", ipv6_pool="fd00::/64", dns=["10.0.0.53"])


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


def test_the_gateways_are_shown(admin, gateway):
    gateway("gw.example")
    assert "gw.example" in admin.get("/admin/peers/gatewaystatus/").content.decode()
    row = GatewayStatus.objects.get()
    assert admin.post(f"/admin/peers/gatewaystatus/{row.pk}/change/", {"held": "9"}).status_code == 403


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


# --- An interface's settings ---


def settings_form(**fields):
    return {
        "endpoint": "vpn.example.com:51820", "listen_port": "51820", "dns": "10.0.0.53", "client_allowed_ips": "",
        "mtu": "1420", "persistent_keepalive": "25", "mode": "push", "idle_minutes": "15", "lease": "7 00:00:00", "address_rest": "1 00:00:00",
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
        next_host="99", brake_released_at="2026-01-01", id="77",
    )  # fmt: skip
    assert admin.post(f"/admin/peers/interface/{wg0.pk}/change/", forged).status_code == 302
    assert Interface.objects.values().get() == before
    assert not AuditEvent.objects.exists()


def test_an_interface_is_put_on_demand_with_that_in_the_audit(admin, root, wg0):
    form = settings_form(mode="on_demand", idle_minutes="4")
    assert admin.post(f"/admin/peers/interface/{wg0.pk}/change/", form).status_code == 302
    wg0.refresh_from_db()
    assert (wg0.mode, wg0.idle_minutes) == ("on_demand", 4)
    event = AuditEvent.objects.get(action="change_interface")
    assert (event.actor, event.old) == (root, {"mode": "push", "idle_minutes": "15"})
    assert event.new == {"mode": "on_demand", "idle_minutes": "4"}


@pytest.mark.parametrize("minutes", ["3", "525601"])
def test_idle_minutes_out_of_bounds_are_refused_in_words(admin, wg0, minutes):
    before = kept()
    answer = admin.post(f"/admin/peers/interface/{wg0.pk}/change/", settings_form(idle_minutes=minutes))
    assert "Idle minutes are a number from 4 to 525600, which is a year." in answer.content.decode()
    assert kept() == before


def test_an_interface_on_demand_shows_what_handshakes_came_to_each_of_its_gateways(admin, wg0, gateway):
    other = rows.interface("wg1", mode="on_demand")
    path = f"/admin/peers/interface/{wg0.pk}/change/"
    gateway("gw1", handshakes_admitted=41, flood_at="now()")
    gateway("gw2", handshakes_refused=7)
    gateway("elsewhere", on=other, handshakes_invalid=99)
    assert "Handshakes" not in admin.get(path).content.decode()
    Interface.objects.update(mode="on_demand")
    page = admin.get(path).content.decode()
    assert fact(page, "Handshakes admitted") == ["41", "0"]
    assert fact(page, "Refused: not entitled, or unknown") == ["0", "7"]
    assert page.count("A flood of handshakes that lead to nothing comes in, since") == 1
    assert "elsewhere" not in page
    assert "Handshakes" not in staff("view_interface").get(path).content.decode()


def test_settings_that_cannot_work_are_refused_on_the_form(admin, wg0, subtests):
    before = kept()
    for field, value in {
        "endpoint": "no port", "listen_port": "0", "mtu": "100", "persistent_keepalive": "99999", "dns": "x",
        "client_allowed_ips": "10.0.0.1/8", "lease": "-1 00:00:00", "address_rest": "-1 00:00:00", "device_limit": "-1",
        "mode": "pull", "idle_minutes": "99999999999",
    }.items():  # fmt: skip
        with subtests.test(field):
            answer = admin.post(f"/admin/peers/interface/{wg0.pk}/change/", settings_form(**{field: value}))
            assert answer.status_code == 200
            assert "errorlist" in answer.content.decode()
    assert kept() == before
