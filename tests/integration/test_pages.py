"""The pages of a person's devices, over HTTP: what they answer, what they refuse, and what they never repeat."""

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

from peers import services
from peers.context import attachment
from peers.models import AuditEvent, Interface, Peer, PeerKey
from peers.wireguard import keys
from tests import rows

JSON = {"Accept": "application/json"}
UTC_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
def wg0(database):
    return rows.interface()


@pytest.fixture
def alice(wg0):
    return rows.person("alice")


@pytest.fixture
def client(alice):
    return signed_in(alice)


@pytest.fixture
def laptop(alice, wg0):
    return rows.peer(alice, wg0, "Alice's laptop")


def signed_in(user):
    browser = Client()
    browser.force_login(user)
    return browser


def enrolment(**fields):
    return {"name": "Laptop", "platform": "linux", "public_key": rows.public_key(), **fields}


def snapshot():
    """Return every row of what a person could have changed, without the status of gateways."""
    return [list(model.objects.order_by("pk").values()) for model in (Interface, Peer, PeerKey, AuditEvent)]


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


# --- Enrolling ---


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


def test_a_chosen_network_is_the_one_that_is_used(client):
    lab = rows.interface("lab")
    client.post("/", enrolment(interface="lab"), headers=JSON)
    assert Peer.objects.get().interface == lab


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
    before = snapshot()
    answer = client.post("/", wanted, headers=JSON)
    page = client.post("/", wanted)
    assert (answer.status_code, page.status_code) == (status, status)
    error = answer.json()["error"]
    assert error["code"] == code
    assert error.get("field") == ("public_key" if code.startswith("key_") else None)
    assert error["message"].partition(".")[0] in page.content.decode()
    assert wanted["public_key"] not in page.content.decode()
    assert snapshot() == before


def test_a_full_pool_says_that_there_is_no_free_address(client, alice, wg0):
    wanted = enrolment(**refuse_full_pool(alice, wg0))
    assert "no free address" in client.post("/", wanted).content.decode()


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
    before = snapshot()
    again = client.post("/", wanted, headers=JSON)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert snapshot() == before


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
    before = snapshot()
    answer = client.post("/", wanted, headers=JSON)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "in_place_of")
    page = client.post("/", wanted)
    assert page.status_code == 400
    assert re.search(r'id="in_place_of-error"[^>]*>[^<]*\w', page.content.decode())
    assert snapshot() == before


def test_a_revoked_device_makes_no_room(client, alice, laptop, full):
    services.revoke(actor=services.Actor(user=alice), peer=laptop, at=timezone.now())
    rows.peer(alice, full.interface, "Third")
    answer = client.post("/", enrolment(in_place_of=laptop.pk), headers=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "peer_limit")


def test_a_form_without_its_csrf_token_is_refused(alice):
    careless = Client(enforce_csrf_checks=True)
    careless.force_login(alice)
    assert careless.post("/", enrolment()).status_code == 403
    assert not Peer.objects.exists()


def test_a_body_that_is_too_long_is_refused(client):
    assert client.post("/", enrolment(name="x" * 3_000_000)).status_code == 413


# --- One device ---


def test_the_page_of_a_device_shows_what_is_known_of_it(client, laptop):
    page = client.get(laptop.get_absolute_url()).content.decode()
    for text in (*(str(address.ip) for address in laptop.addresses), "Last seen", "never", "wg0"):
        assert text in page


def test_status_says_the_seven_things_that_programs_rely_on_and_two_for_the_page(client, laptop, database):
    database.sql(
        "INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at,"
        f" drift_found, left_alone, unexplained, held, problem) VALUES ('gw', {laptop.interface_id}, '', true,"
        " now(), now(), 0, '{}', 0, 0, '');"
        "INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, latest_handshake, endpoint,"
        f" rx_bytes, tx_bytes, held, problem) VALUES ('gw', '{laptop.pk}', '{laptop.key.public_key}', true, now(),"
        " now(), '', 12, 34, false, '');"
        "UPDATE peers_peerstatus SET connected_since = latest_handshake"
    )
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
    before = snapshot()
    address = laptop.get_absolute_url()
    assert client.post(f"{address}rename", {"name": "x"}).status_code == 409
    assert client.post(f"{address}replace-key", {"public_key": rows.public_key()}).status_code == 409
    assert client.post(f"{address}revoke").status_code == 303
    assert client.get(f"{address}revoke").status_code == 303
    assert client.get(f"{address}replace-key").status_code == 303
    assert client.get(f"{address}config").status_code == 404
    assert snapshot() == before


ENDPOINTS = ("", "config", "status", "rename", "replace-key", "revoke")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("method", ["get", "post"])
def test_somebody_elses_device_is_one_that_does_not_exist(laptop, endpoint, method):
    bob = signed_in(rows.person("bob", is_staff=True, is_superuser=True))
    data = {"name": "mine", "public_key": rows.public_key()} if method == "post" else None
    before = snapshot()
    theirs = getattr(bob, method)(f"/devices/{laptop.pk}/{endpoint}", data)
    nobodys = getattr(bob, method)(f"/devices/{uuid4()}/{endpoint}", data)
    assert theirs.status_code in {404, 405}
    assert (theirs.status_code, masked(theirs.content)) == (nobodys.status_code, masked(nobodys.content))
    assert snapshot() == before


def masked(content):
    return re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", content.decode())


@pytest.mark.parametrize(
    ("endpoint", "refused"),
    [
        ("", "post put patch delete"),
        ("config", "post put patch delete"),
        ("status", "post put patch delete"),
        ("rename", "get put patch delete"),
        ("replace-key", "put patch delete"),
        ("revoke", "put patch delete"),
    ],
)
def test_each_address_takes_its_methods_only(client, laptop, endpoint, refused):
    for method in refused.split():
        answer = getattr(client, method)(f"{laptop.get_absolute_url()}{endpoint}")
        assert (answer.status_code, method.upper() in answer["Allow"]) == (405, False)
        says = "method_not_allowed" if endpoint == "status" else "<h1>Nothing happens at this address</h1>"
        assert says in answer.content.decode()
    assert client.put("/").status_code == 405


# --- Nothing else can be set ---


def every_field(alice):
    """Return a value for each column of the models, under its name and its attribute's."""
    names = {
        field.name for model in (Interface, Peer, PeerKey, type(alice)) for field in model._meta.get_fields()
    }
    stranger = rows.person("mallory")
    given = dict.fromkeys(names | {f"{name}_id" for name in names}, "1")
    return given | {
        "owner": stranger.pk, "owner_id": stranger.pk, "host": 9, "expires_at": "2000-01-01T00:00:00Z",
        "revoked_at": "2000-01-01T00:00:00Z", "suspended_at": "2000-01-01T00:00:00Z", "id": str(uuid4()),
        "preshared_key": keys.generate_preshared_key(), "is_superuser": "on", "is_staff": "on",
        "interface": "wg0", "platform": "macos", "name": "New name", "public_key": rows.public_key(),
    }  # fmt: skip


def owned(peer):
    """Return what no form may change."""
    fixed = Peer.objects.filter(pk=peer.pk).values(
        "id", "interface", "owner", "host", "enrolled_at", "expires_at", "suspended_at", "preshared_key"
    )
    return (
        list(fixed),
        list(Interface.objects.values()),
        list(type(peer.owner).objects.order_by("pk").values()),
    )


@pytest.mark.parametrize(
    ("endpoint", "changes"),
    [
        ("rename", {"name"}),
        ("replace-key", {"key"}),
        ("revoke", {"key", "revoked_at"}),
        ("", set()),
        ("config", set()),
        ("status", set()),
    ],
)
def test_posting_every_field_of_every_model_changes_only_what_the_form_is_for(
    client, alice, laptop, endpoint, changes
):
    given = every_field(alice)
    fixed, before = owned(laptop), changeable(laptop)
    client.post(f"{laptop.get_absolute_url()}{endpoint}", given)
    assert owned(laptop) == fixed
    after = changeable(laptop)
    assert {name for name in before if before[name] != after[name]} == changes
    assert not after["revoked_at"] or after["revoked_at"] > laptop.enrolled_at


def changeable(peer):
    row = Peer.objects.get(pk=peer.pk)
    key = row.key.public_key if row.key else None
    return {"name": row.name, "platform": row.platform, "key": key, "revoked_at": row.revoked_at,
            "revoke_reason": row.revoke_reason}  # fmt: skip


def test_posting_every_field_while_enrolling_sets_name_platform_and_key_only(client, alice, wg0):
    given = every_field(alice)
    people = list(type(alice).objects.order_by("pk").values())
    assert client.post("/", given).status_code == 303
    made = Peer.objects.get()
    assert (made.name, made.platform, made.owner) == ("New name", "macos", alice)
    assert (made.expires_at, made.revoked_at, made.suspended_at, made.preshared_key) == (None, None, None, "")
    assert made.host != 9
    assert str(made.pk) != given["id"]
    assert list(type(alice).objects.order_by("pk").values()) == people


# --- The banner ---


def test_every_page_says_so_when_no_interface_is_attached(client, wg0, database):
    banner = "No WireGuard interface is attached"
    database.sql(
        "INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at,"
        f" drift_found, left_alone, unexplained, held, problem) VALUES ('gw', {wg0.pk}, '', true, now(), now(),"
        " 0, '{}', 0, 0, '')"
    )
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
