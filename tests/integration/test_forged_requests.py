"""What no request does to a device: reach somebody else's, use another method, set what its form is not for."""

import re
from uuid import uuid4

import pytest

from peers.models import Interface, Peer, PeerKey
from peers.wireguard import keys
from tests import rows
from tests.integration.pages import kept, signed_in

ENDPOINTS = ("", "config", "status", "rename", "replace-key", "revoke")


@pytest.fixture
def client(alice):
    return signed_in(alice)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("method", ["get", "post"])
def test_somebody_elses_device_is_one_that_does_not_exist(laptop, endpoint, method):
    bob = signed_in(rows.person("bob", is_staff=True, is_superuser=True))
    data = {"name": "mine", "public_key": rows.public_key()} if method == "post" else None
    before = kept()
    theirs = getattr(bob, method)(f"/devices/{laptop.pk}/{endpoint}", data)
    nobodys = getattr(bob, method)(f"/devices/{uuid4()}/{endpoint}", data)
    assert theirs.status_code in {404, 405}
    assert (theirs.status_code, masked(theirs.content)) == (nobodys.status_code, masked(nobodys.content))
    assert kept() == before


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
