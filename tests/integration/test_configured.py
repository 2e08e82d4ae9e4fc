"""Which settings a device was last given, and that a change of any of them since then is seen."""

from datetime import timedelta

import pytest
from django.utils import timezone

from peers import services
from peers.configuration import given, stale
from peers.models import AuditEvent, Interface, Peer
from tests import rows
from tests.integration.test_services import actor, enrol, everything, expired, replace, revoke


@pytest.fixture
def wg0(database):
    return rows.interface(ipv4_pool="10.0.0.0/24", ipv6_pool="fd00::/64", dns=["10.0.0.53"])


@pytest.fixture
def alice(wg0):
    return rows.person("alice")


@pytest.fixture
def laptop(alice, wg0):
    return rows.peer(alice, wg0)


CHANGES = {
    "endpoint": ("endpoint", "vpn2.example.com:51820"),
    "dns": ("dns", ["10.0.0.54", "fd00::53"]),
    "no dns": ("dns", []),
    "routes": ("client_allowed_ips", ["0.0.0.0/0", "::/0"]),
    "keepalive": ("persistent_keepalive", 0),
    "mtu": ("mtu", 1380),
}
HARMLESS = {"device_limit": 3, "lease": timedelta(days=1), "listen_port": 1, "enrol_groups": ["employees"]}


def change(by, **fields):
    """Change settings as an administrator does."""
    interface = Interface.objects.get()
    for name, value in fields.items():
        setattr(interface, name, value)
    services.save_interface(actor=actor(by), interface=interface)


def fresh(peer):
    return Peer.objects.select_related("interface").get(pk=peer.pk)


def configure(peer, by):
    return services.configure(actor=actor(by), peer=peer)


def test_an_enrolled_device_was_given_the_settings_of_that_moment(laptop):
    assert (
        fresh(laptop).configured
        == given(fresh(laptop))
        == {
            "addresses": ["10.0.0.2/32", "fd00::2/128"],
            "dns": ["10.0.0.53"],
            "mtu": 1420,
            "client_allowed_ips": ["10.0.0.0/24", "fd00::/64"],
            "endpoint": "vpn.example.com:51820",
            "persistent_keepalive": 25,
        }
    )
    assert stale(fresh(laptop)) == []


@pytest.mark.parametrize("case", list(CHANGES))
def test_a_setting_that_an_administrator_changed_since_is_stale_until_the_device_is_given_it(
    alice, laptop, case
):
    name, value = CHANGES[case]
    change(alice, **{name: value})
    assert stale(fresh(laptop)) == [name]
    configure(laptop, alice)
    assert stale(fresh(laptop)) == []


def test_a_setting_that_is_changed_and_changed_back_is_not_stale(alice, laptop):
    change(alice, mtu=1380)
    change(alice, mtu=1420)
    assert stale(fresh(laptop)) == []


def test_what_a_device_is_not_given_makes_it_not_stale(alice, laptop):
    change(alice, **HARMLESS)
    assert stale(fresh(laptop)) == []


def test_all_that_changed_is_named(alice, laptop):
    change(alice, **dict(CHANGES.values()))
    assert set(stale(fresh(laptop))) == {name for name, _ in CHANGES.values()}


def test_a_device_of_which_nobody_knows_what_it_was_given_is_never_stale(alice, laptop):
    Peer.objects.update(configured={})
    change(alice, **dict(CHANGES.values()))
    assert stale(fresh(laptop)) == []


def test_a_replaced_key_comes_with_the_present_settings(alice, laptop):
    change(alice, mtu=1380)
    replace(laptop, rows.public_key(), alice)
    assert stale(fresh(laptop)) == []
    assert fresh(laptop).configured["mtu"] == 1380


def test_a_renewed_address_comes_with_the_present_settings(alice, wg0):
    Interface.objects.update(address_rest=timedelta(0))
    old = expired(alice, wg0)
    rows.peer(rows.person("bob"), Interface.objects.get())
    assert stale(fresh(old)) == ["addresses"]
    change(alice, mtu=1380)
    again = enrol(alice, Interface.objects.get(), old.key.public_key).peer
    assert stale(fresh(again)) == []
    assert fresh(again).configured["addresses"] == [str(address) for address in again.addresses] != []


def test_the_audit_says_what_a_device_was_given_instead_of_what(alice, laptop):
    old = fresh(laptop).configured
    change(alice, mtu=1380)
    configure(laptop, alice)
    event = AuditEvent.objects.get(action="configure")
    assert (event.actor, event.peer, event.old, event.new) == (alice, laptop, old, {**old, "mtu": 1380})


def test_giving_a_device_the_same_settings_again_changes_nothing(alice, laptop):
    before = everything()
    configure(laptop, alice)
    assert everything() == before


def test_a_revoked_device_is_given_nothing(alice, laptop):
    revoke(laptop, alice)
    change(alice, mtu=1380)
    before = everything()
    with pytest.raises(services.NotActive):
        configure(laptop, alice)
    assert everything() == before


def test_nothing_that_is_written_down_of_it_is_a_key(alice):
    peer = rows.peer(alice, rows.interface("wg1", use_preshared_keys=True), at=timezone.now())
    text = str(fresh(peer).configured)
    for key in (peer.preshared_key, peer.key.public_key, peer.interface.public_key):
        assert key not in text
