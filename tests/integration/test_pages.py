"""The pages of a person's devices, over HTTP: the list, and each device with its acts."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from peers.context import attachment
from peers.models import Peer, PeerKey
from tests import rows
from tests.integration.pages import JSON, enrolment, kept, signed_in

UTC_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
def client(alice):
    return signed_in(alice)


# --- My devices ---


def test_a_person_without_devices_is_shown_the_enrolment_form(client):
    page = client.get(
        "/", headers={"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"}
    ).content.decode()
    assert "<h1>Enrol this device</h1>" in page
    assert "Add a device" not in page
    assert 'value="Windows laptop"' in page
    assert '<option value="windows" selected>' in page


def test_the_list_shows_state_address_and_the_form_behind_add_a_device(client, laptop):
    page = client.get("/").content.decode()
    assert "Alice&#x27;s laptop" in page
    assert str(laptop.addresses[0].ip) in page
    assert "Unknown" in page  # no gateway has ever reported: nothing is claimed
    assert "Add a device" in page
    assert laptop.get_absolute_url() in page


def test_somebody_elses_devices_are_not_listed(wg0, laptop):
    page = signed_in(rows.person("bob")).get("/").content.decode()
    assert "laptop" not in page.replace("Linux laptop", "")


def test_the_list_asks_the_database_as_often_for_ten_devices_as_for_one(client, alice, wg0, laptop):
    client.get("/")
    with CaptureQueriesContext(connection) as one:
        client.get("/")
    for number in range(9):
        rows.peer(alice, wg0, f"device {number}")
    with CaptureQueriesContext(connection) as ten:
        client.get("/")
    assert len(ten) == len(one)


def test_a_network_is_asked_for_only_when_there_is_a_choice(client, wg0):
    assert 'name="interface"' not in client.get("/").content.decode()
    rows.interface("lab")
    rows.interface("staff", enrol_groups=["staff"])
    page = client.get("/").content.decode()
    form = page.partition("data-enrol")[2].partition("</form>")[0]
    assert re.findall(r'<option value="(wg0|lab|staff)"', form) == ["wg0", "lab"]


# --- One device ---


def test_the_page_of_a_device_shows_what_is_known_of_it(client, laptop):
    page = client.get(laptop.get_absolute_url()).content.decode()
    for text in (*(str(address.ip) for address in laptop.addresses), "Last seen", "never", "wg0"):
        assert text in page


def test_status_says_the_seven_things_that_programs_rely_on_and_three_for_the_page(
    client, laptop, gateway, status
):
    gateway()
    status(laptop, handshake="now()", connected_since="now()", rx_bytes=12, tx_bytes=34)
    answer = client.get(f"{laptop.get_absolute_url()}status").json()
    assert UTC_TEXT.fullmatch(answer.pop("latest_handshake"))
    assert UTC_TEXT.fullmatch(answer.pop("connected_since"))
    assert answer == {
        "state": "connected",
        "explanation": "On the network and in use.",
        "addresses": [str(address) for address in laptop.addresses],
        "rx_bytes": 12,
        "tx_bytes": 34,
        "revoked_at": None,
        "removed_at": None,
        "receipt": "",
    }
    assert answer["addresses"][0].endswith("/32")


def test_status_without_a_sign_in_is_a_401_that_a_program_can_read(laptop):
    answer = Client().get(f"{laptop.get_absolute_url()}status")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthenticated"


def test_a_rename_changes_the_name_and_nothing_else(client, laptop):
    answer = client.post(f"{laptop.get_absolute_url()}rename", {"name": " Work laptop "})
    assert (answer.status_code, answer["Location"]) == (303, laptop.get_absolute_url())
    assert Peer.objects.get().name == "Work laptop"


def test_a_bad_new_name_is_said_beside_the_field(client, laptop):
    answer = client.post(f"{laptop.get_absolute_url()}rename", {"name": "a/b"})
    assert answer.status_code == 400
    assert "A name is made of" in answer.content.decode()
    assert Peer.objects.get().name == laptop.name


def test_replacing_a_key_keeps_the_address_and_retires_the_old_key(client, laptop):
    old, new = laptop.key.public_key, rows.public_key()
    answer = client.post(f"{laptop.get_absolute_url()}replace-key", {"public_key": new}, headers=JSON)
    assert answer.status_code == 200
    assert f"Address = {laptop.addresses[0]}" in answer.json()["config"]
    assert laptop.key.public_key == new
    assert PeerKey.objects.get(public_key=old).retired_at


def test_replacing_a_key_works_without_javascript(client, laptop):
    new = rows.public_key()
    assert new not in client.get(f"{laptop.get_absolute_url()}replace-key").content.decode()
    answer = client.post(f"{laptop.get_absolute_url()}replace-key", {"public_key": new})
    assert (answer.status_code, answer["Location"]) == (303, laptop.get_absolute_url())
    assert laptop.key.public_key == new
    page = client.get(answer["Location"]).content.decode()
    download = f'<a href="{laptop.get_absolute_url()}config" download>Download configuration</a>'
    assert f"The key is replaced. {download}" in page


def test_a_replaced_key_can_never_be_used_again(client, laptop):
    old = laptop.key.public_key
    address = f"{laptop.get_absolute_url()}replace-key"
    client.post(address, {"public_key": rows.public_key()})
    assert client.post(address, {"public_key": old}).status_code == 409
    assert client.post("/", enrolment(public_key=old), headers=JSON).json()["error"]["code"] == "key_revoked"


def test_looking_at_the_revoke_page_revokes_nothing_and_its_form_does(client, laptop, alice):
    address = f"{laptop.get_absolute_url()}revoke"
    assert "Revoke Alice&#x27;s laptop?" in client.get(address).content.decode()
    assert Peer.objects.get().revoked_at is None
    answer = client.post(address)
    assert (answer.status_code, answer["Location"]) == (303, laptop.get_absolute_url())
    assert Peer.objects.get().revoked_by == alice


def test_a_revoked_device_is_still_shown_and_offers_nothing_to_do(client, laptop):
    client.post(f"{laptop.get_absolute_url()}revoke")
    answer = client.get(laptop.get_absolute_url())
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Revoked" in page
    for action in ("rename", "replace-key", "revoke", "config"):
        assert f"{laptop.get_absolute_url()}{action}" not in page
    assert "Revoked devices (1)" in client.get("/").content.decode()


def test_a_device_whose_address_went_to_another_has_no_configuration_to_give(client, laptop):
    Peer.objects.update(host=None, expires_at=timezone.now() - timedelta(days=2))
    address = laptop.get_absolute_url()
    page = client.get(address).content.decode()
    assert "it was given to another device" in page
    assert "replace-key" not in page
    assert client.get(f"{address}config").status_code == 404
    assert client.post(f"{address}replace-key", {"public_key": rows.public_key()}).status_code == 404
    assert client.get(f"{address}status").json()["addresses"] == []


def test_a_revoked_device_can_be_changed_by_nothing(client, laptop):
    client.post(f"{laptop.get_absolute_url()}revoke")
    before = kept()
    address = laptop.get_absolute_url()
    assert client.post(f"{address}rename", {"name": "x"}).status_code == 409
    assert client.post(f"{address}replace-key", {"public_key": rows.public_key()}).status_code == 409
    assert client.post(f"{address}revoke").status_code == 303
    assert client.get(f"{address}revoke").status_code == 303
    assert client.get(f"{address}replace-key").status_code == 303
    assert client.get(f"{address}config").status_code == 404
    assert kept() == before


# --- Every page ---


def test_every_page_says_so_when_no_interface_is_attached(client, gateway, database):
    banner = "No WireGuard interface is attached"
    gateway()
    assert banner not in client.get("/").content.decode()
    database.sql("UPDATE peers_gatewaystatus SET attached = false")
    assert banner in client.get("/").content.decode()


def test_the_banner_breaks_no_page_while_the_database_is_away(database):
    connection.close()
    connection.settings_dict.update(HOST="127.0.0.1", PORT="1")
    assert attachment(HttpRequest())["unattached"]() is False


def test_addresses_in_the_pages_are_the_contract():
    pk = uuid4()
    assert reverse("devices") == "/"
    assert [reverse(name, args=[pk]) for name in ("config", "status", "rename", "replace-key", "revoke")] == [
        f"/devices/{pk}/{name}" for name in ("config", "status", "rename", "replace-key", "revoke")
    ]
