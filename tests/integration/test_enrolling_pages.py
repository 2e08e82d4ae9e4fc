"""Enrolling over HTTP: what is answered, what is refused beside which field, and what happens at the device limit."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, Interface, Peer
from peers.wireguard import keys
from tests import rows
from tests.integration.pages import JSON, enrolment, kept, signed_in


@pytest.fixture
def client(alice):
    return signed_in(alice)


def test_enrolling_answers_json_with_a_configuration_that_has_no_private_key(client, alice, wg0):
    wanted = enrolment()
    answer = client.post("/", wanted, headers=JSON)
    made = Peer.objects.get()
    assert answer.status_code == 201
    assert answer.json() == {
        "id": str(made.pk),
        "url": f"/devices/{made.pk}/",
        "status_url": f"/devices/{made.pk}/status",
        "file_name": "Laptop.conf",
        "config": (
            "[Interface]\nPrivateKey = REPLACE_WITH_YOUR_PRIVATE_KEY\n"
            f"Address = {made.addresses[0]}, {made.addresses[1]}\nMTU = 1420\n\n"
            f"[Peer]\nPublicKey = {wg0.public_key}\nAllowedIPs = {wg0.ipv4_pool}, {wg0.ipv6_pool}\n"
            "Endpoint = vpn.example.com:51820\nPersistentKeepalive = 25\n"
        ),
    }
    assert (made.owner, made.name, made.platform, made.interface) == (alice, "Laptop", "linux", wg0)
    assert made.key.public_key == wanted["public_key"]


def test_an_enrolment_is_audited_with_where_it_came_from(client, alice):
    client.post("/", enrolment(), headers=JSON, REMOTE_ADDR="198.51.100.7")
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.source) == ("enrol", alice, "198.51.100.7")


def test_the_same_key_sent_again_is_the_same_peer(client):
    wanted = enrolment()
    first = client.post("/", wanted, headers=JSON)
    again = client.post("/", wanted, headers=JSON)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert Peer.objects.count() == 1


def test_a_device_whose_platform_is_not_said_is_something_else(client):
    wanted = enrolment()
    del wanted["platform"]
    assert client.post("/", wanted, headers=JSON).status_code == 201
    assert Peer.objects.get().platform == "other"


def test_without_javascript_a_pasted_key_leads_to_the_device_and_its_configuration(client):
    answer = client.post("/", enrolment(name="Büro-PC"))
    made = Peer.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, made.get_absolute_url())
    page = client.get(answer["Location"]).content.decode()
    assert f'Enrolled. <a href="/devices/{made.pk}/config" download>Download configuration</a>' in page
    download = client.get(f"/devices/{made.pk}/config")
    assert download["Content-Type"].startswith("text/plain")
    assert download["Content-Disposition"] == 'attachment; filename="Buro-PC.conf"'
    assert "PrivateKey = REPLACE_WITH_YOUR_PRIVATE_KEY\n" in download.content.decode()
    assert "#" not in download.content.decode()
    assert "no-store" in download["Cache-Control"]


def test_a_preshared_key_stands_in_the_configuration(wg0, client):
    Interface.objects.update(use_preshared_keys=True)
    config = client.post("/", enrolment(), headers=JSON).json()["config"]
    assert f"PresharedKey = {Peer.objects.get().preshared_key}\n" in config


def test_a_chosen_network_is_the_one_that_is_used(client):
    lab = rows.interface("lab")
    client.post("/", enrolment(interface="lab"), headers=JSON)
    assert Peer.objects.get().interface == lab


# --- What is refused ---


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("name", "", "required"),
        ("name", "x" * 65, "too_long"),
        ("name", "a\u202eb", "characters"),
        ("platform", "amiga", "invalid_choice"),
        ("interface", "wg9", "invalid_choice"),
        ("public_key", "", "required"),
        ("public_key", "not a key", "invalid_key"),
        ("public_key", "A" * 43 + "=", "invalid_key"),
        ("public_key", "[Interface]\nPrivateKey = x", "invalid_key"),
    ],
)
def test_what_is_wrong_with_a_field_is_said_beside_it(client, field, value, code):
    wanted = enrolment(**{field: value})
    answer = client.post("/", wanted, headers=JSON)
    error = answer.json()["error"]
    assert (answer.status_code, error["field"], error["code"]) == (400, field, code)
    page = client.post("/", wanted)
    assert page.status_code == 400
    if field in {"name", "public_key"}:
        assert re.search(rf'id="{field}-error"[^>]*>[^<]*\w', page.content.decode())
    assert not Peer.objects.exists()


def test_a_refused_key_comes_back_in_no_answer_and_no_log(client, caplog):
    secret = keys.generate_private_key()
    for text in (f"PrivateKey = {secret}", f"[Interface]\nPrivateKey={secret}", secret[:-1]):
        for headers in ({}, JSON):
            answer = client.post("/", enrolment(public_key=text), headers=headers)
            assert answer.status_code == 400
            assert secret[:20] not in answer.content.decode()
    assert secret[:20] not in caplog.text


def test_a_name_that_was_refused_can_be_corrected_in_the_form(client):
    page = client.post("/", enrolment(name="<u>")).content.decode()
    assert 'value="&lt;u&gt;"' in page
    assert "<u>" not in page


def test_a_network_of_another_group_is_refused_like_one_that_does_not_exist(client):
    rows.interface("staff", enrol_groups=["staff"])
    there = client.post("/", enrolment(interface="staff"), headers=JSON)
    nowhere = client.post("/", enrolment(interface="nowhere"), headers=JSON)
    assert (
        (there.status_code, there.content) == (nowhere.status_code, nowhere.content) == (400, there.content)
    )


def refuse_other_owner(alice, wg0):
    return {"public_key": rows.peer(rows.person("bob"), wg0).key.public_key}


def refuse_revoked(alice, wg0):
    peer = rows.peer(alice, wg0)
    key = peer.key.public_key
    services.revoke(actor=services.Actor(user=alice), peer=peer, at=timezone.now())
    return {"public_key": key}


def refuse_interface_key(alice, wg0):
    return {"public_key": wg0.public_key}


def refuse_full_pool(alice, wg0):
    Interface.objects.update(ipv4_pool="10.99.0.0/30", ipv6_pool=None, next_host=1)
    rows.peer(rows.person("bob"), Interface.objects.get())
    return {}


def refuse_limit(alice, wg0):
    Interface.objects.update(device_limit=0)
    return {}


def refuse_signed_out(alice, wg0):
    alice.signed_in_at = timezone.now() - timedelta(days=8)
    alice.save()
    return {}


def refuse_every_network(alice, wg0):
    Interface.objects.update(enrol_groups=["staff"])
    return {}


def refuse_no_gateway(alice, wg0):
    rows.interface("new", public_key=None)
    return {"interface": "new"}


@pytest.mark.parametrize(
    ("arrange", "status", "code"),
    [
        (refuse_other_owner, 409, "key_in_use"),
        (refuse_revoked, 409, "key_revoked"),
        (refuse_interface_key, 409, "key_in_use"),
        (refuse_full_pool, 409, "pool_exhausted"),
        (refuse_limit, 409, "peer_limit"),
        (refuse_signed_out, 403, "not_entitled"),
        (refuse_every_network, 403, "not_entitled"),
        (refuse_no_gateway, 503, "interface_not_ready"),
    ],
)
def test_a_refusal_has_its_status_and_its_sentence(*, client, alice, wg0, arrange, status, code):
    wanted = enrolment(**arrange(alice, wg0))
    before = kept()
    answer = client.post("/", wanted, headers=JSON)
    page = client.post("/", wanted)
    assert (answer.status_code, page.status_code) == (status, status)
    error = answer.json()["error"]
    assert error["code"] == code
    assert error.get("field") == ("public_key" if code.startswith("key_") else None)
    assert error["message"].partition(".")[0] in page.content.decode()
    assert wanted["public_key"] not in page.content.decode()
    assert kept() == before


def test_a_full_pool_says_that_there_is_no_free_address(client, alice, wg0):
    wanted = enrolment(**refuse_full_pool(alice, wg0))
    assert "no free address" in client.post("/", wanted).content.decode()


def test_a_form_without_its_csrf_token_is_refused(alice):
    careless = Client(enforce_csrf_checks=True)
    careless.force_login(alice)
    assert careless.post("/", enrolment()).status_code == 403
    assert not Peer.objects.exists()


def test_a_body_that_is_too_long_is_refused(client):
    assert client.post("/", enrolment(name="x" * 3_000_000)).status_code == 413


# --- At the device limit ---


@pytest.fixture
def full(wg0, alice, laptop):
    """Let alice have two devices, and give her both: the laptop and this one."""
    Interface.objects.update(device_limit=2)
    return rows.peer(alice, wg0, "Tablet")


def chosen_from(page):
    """Return the ids of the devices that the page offers to replace, in their order."""
    return re.findall(r'name="in_place_of" value="([^"]+)"', page)


def test_the_page_says_that_the_limit_is_reached_and_offers_what_counts_towards_it(
    client, alice, wg0, laptop, full
):
    lab = rows.interface("lab", device_limit=2)
    elsewhere, gone = rows.peer(alice, lab, "Elsewhere"), rows.peer(alice, lab, "Gone")
    services.revoke(actor=services.Actor(user=alice), peer=gone, at=timezone.now())
    bob = rows.person("bob")
    for interface in (wg0, lab):
        rows.peer(bob, interface, "Bob's")
    page = client.get("/").content.decode()
    assert "You have reached the limit: 2 devices." in page
    assert "Replace it with this device" in page
    assert chosen_from(page) == [str(laptop.pk), str(full.pk)]
    assert elsewhere.pk not in chosen_from(page)
    roomy = client.get("/?interface=lab").content.decode()
    assert '<details class="add" open>' in roomy
    assert "You have reached the limit" not in roomy
    assert chosen_from(roomy) == []


def test_an_expired_device_makes_room_by_itself_and_is_not_offered(client, laptop, full):
    Peer.objects.filter(pk=full.pk).update(expires_at=timezone.now() - timedelta(minutes=1))
    page = client.get("/").content.decode()
    assert "You have reached the limit" not in page
    assert chosen_from(page) == []


def test_a_device_may_take_the_place_of_another_one_of_the_same_person(client, laptop, full):
    answer = client.post("/", enrolment(name="New", in_place_of=laptop.pk), headers=JSON)
    assert answer.status_code == 201
    laptop.refresh_from_db()
    assert laptop.revoke_reason == "Replaced by New."
    assert {peer.name for peer in Peer.objects.filter(revoked_at=None)} == {"New", "Tablet"}


def test_a_lost_answer_to_a_replacement_is_given_again_and_nothing_else_is_replaced(client, laptop, full):
    wanted = enrolment(name="New", in_place_of=laptop.pk)
    first = client.post("/", wanted, headers=JSON)
    before = kept()
    again = client.post("/", wanted, headers=JSON)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert kept() == before


def somebody_elses(alice, wg0):
    return rows.peer(rows.person("bob"), wg0, "Bob's").pk


def on_another_interface(alice, wg0):
    return rows.peer(alice, rows.interface("lab"), "Elsewhere").pk


@pytest.mark.parametrize(
    "arrange", [somebody_elses, on_another_interface, lambda *_: uuid4(), lambda *_: "wg0", lambda *_: "\0"]
)
def test_what_cannot_be_replaced_is_refused_beside_the_list_and_nothing_is_changed(
    client, alice, wg0, full, arrange
):
    wanted = enrolment(in_place_of=arrange(alice, wg0))
    before = kept()
    answer = client.post("/", wanted, headers=JSON)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "in_place_of")
    page = client.post("/", wanted)
    assert page.status_code == 400
    assert re.search(r'id="in_place_of-error"[^>]*>[^<]*\w', page.content.decode())
    assert kept() == before


def test_a_revoked_device_makes_no_room(client, alice, laptop, full):
    services.revoke(actor=services.Actor(user=alice), peer=laptop, at=timezone.now())
    rows.peer(alice, full.interface, "Third")
    answer = client.post("/", enrolment(in_place_of=laptop.pk), headers=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "peer_limit")
