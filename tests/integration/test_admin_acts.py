"""Revoking, suspending and restoring in the admin: one device or several, with a reason, on record."""

from urllib.parse import urlencode

import pytest
from django.utils import timezone

from peers import services
from peers.admin.peer import PeerAdmin
from peers.models import AuditEvent, Peer
from tests import rows
from tests.integration.pages import PEERS, kept, said, staff

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


# --- Several at once ---


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


@pytest.mark.parametrize("selected", ["", "x", "\0", "-1"])
def test_a_selection_of_what_is_no_id_is_refused(admin, laptop, selected):
    sent = {"action": "suspend_selected", "_selected_action": [selected, str(laptop.pk)], "index": "0"}
    assert admin.post(PEERS, {**sent, "apply": "1", "reason": "by mistake"}).status_code == 400
    assert not Peer.objects.exclude(suspended_at=None).exists()


# --- Where it leads ---


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
