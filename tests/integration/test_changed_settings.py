"""A device's page when settings have changed since: what it flags, and what takes the flag away."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from peers import services, stale
from peers.models import AuditEvent
from tests import rows
from tests.integration.pages import JSON, signed_in


@pytest.fixture
def client(alice):
    return signed_in(alice)


def change(wg0, **settings):
    """Change settings as an administrator does."""
    for name, value in settings.items():
        setattr(wg0, name, value)
    services.save_interface(actor=services.Actor(), interface=wg0)


def flag(client, laptop):
    page = client.get(laptop.get_absolute_url()).content.decode()
    return re.search(r'<section class="card stale".*?</section>', page, re.DOTALL)


def fingerprint_in(flagged):
    return re.search(r'name="settings" value="([0-9a-f]{64})"', flagged[0])[1]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("endpoint", "vpn2.example.com:51820", "the server&#x27;s address"),
        ("dns", ["10.0.0.53"], "the name servers (DNS)"),
        ("client_allowed_ips", ["192.168.7.0/24"], "the networks that the tunnel leads to"),
        ("persistent_keepalive", 0, "how often the device says that it is there"),
        ("mtu", 1380, "the size of packets (MTU)"),
    ],
)
def test_a_changed_setting_is_flagged_in_words(client, wg0, laptop, setting, value, words):
    assert flag(client, laptop) is None
    change(wg0, **{setting: value})
    assert words in flag(client, laptop)[0].replace("&#39;", "&#x27;")


@pytest.mark.parametrize(
    ("setting", "value"), [("lease", timedelta(days=3)), ("device_limit", 3), ("listen_port", 4)]
)
def test_a_setting_that_devices_do_not_have_flags_nothing(client, wg0, laptop, setting, value):
    change(wg0, **{setting: value})
    assert flag(client, laptop) is None


def test_a_revoked_device_is_never_flagged(client, wg0, laptop, alice):
    change(wg0, mtu=1300)
    assert stale.changed(laptop)
    revoked = services.revoke(actor=services.Actor(user=alice), peer=laptop, at=timezone.now())
    assert stale.changed(revoked) == []
    assert flag(client, laptop) is None


def test_saying_that_the_device_has_the_new_settings_takes_the_flag_away_with_an_audit_row(
    client, wg0, laptop
):
    change(wg0, mtu=1300)
    answer = client.post(
        f"{laptop.get_absolute_url()}configured", {"settings": fingerprint_in(flag(client, laptop))}
    )
    assert (answer.status_code, answer["Location"]) == (303, laptop.get_absolute_url())
    assert flag(client, laptop) is None
    assert AuditEvent.objects.filter(action="configure", peer=laptop).count() == 1


def test_a_program_is_answered_without_a_page(client, wg0, laptop):
    change(wg0, mtu=1300)
    given = {"settings": fingerprint_in(flag(client, laptop))}
    assert client.post(f"{laptop.get_absolute_url()}configured", given, headers=JSON).status_code == 204
    assert flag(client, laptop) is None


@pytest.mark.parametrize("headers", [{}, JSON])
def test_settings_that_changed_once_more_meanwhile_stay_flagged(client, wg0, laptop, headers):
    change(wg0, mtu=1300)
    given = {"settings": fingerprint_in(flag(client, laptop))}
    change(wg0, mtu=1310)
    answer = client.post(f"{laptop.get_absolute_url()}configured", given, headers=headers)
    assert answer.status_code == (409 if headers else 303)
    assert flag(client, laptop) is not None
    assert not AuditEvent.objects.filter(action="configure").exists()


def test_a_revoked_device_takes_no_settings(client, wg0, laptop, alice):
    change(wg0, mtu=1300)
    given = {"settings": fingerprint_in(flag(client, laptop))}
    services.revoke(actor=services.Actor(user=alice), peer=laptop, at=timezone.now())
    answer = client.post(f"{laptop.get_absolute_url()}configured", given, headers=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_active")


def test_somebody_elses_device_takes_no_settings(client, wg0, laptop):
    change(wg0, mtu=1300)
    given = {"settings": fingerprint_in(flag(client, laptop))}
    bob = signed_in(rows.person("bob"))
    assert bob.post(f"{laptop.get_absolute_url()}configured", given).status_code == 404
    assert flag(client, laptop) is not None


def test_without_javascript_the_flag_offers_the_new_configuration(client, wg0, laptop):
    change(wg0, mtu=1300)
    flagged = flag(client, laptop)[0]
    assert f'href="{laptop.get_absolute_url()}config" download' in flagged
    assert re.search(r'data-slot="stale-drop" hidden', flagged)
