"""The brake on the overview and the page that releases it: what is held is seen first, and no more is released."""

import html

import pytest

from peers.models import AuditEvent, Interface
from tests import rows
from tests.integration.overview import INDEX, page, release, text
from tests.integration.pages import staff, title


def test_the_brake_is_told_with_a_way_to_release_it(admin, wg0, gateway):
    gateway(held=12, brake_at="now() - interval '1 hour'")
    found = page(admin)
    assert title(found).startswith("12 removals held · ")
    assert "The brake holds 12 removals that nothing in this database explains, since" in text(found)
    assert f'href="/admin/peers/interface/{wg0.pk}/release-brake/"' in found


def test_a_released_brake_waits_for_its_gateway(admin, wg0, gateway, database):
    gateway(held=12)
    database.sql("UPDATE peers_interface SET brake_released_at = now()")
    found = page(admin)
    assert "It was released; the gateway has not acted on that yet." in text(found)
    assert "release-brake" not in found


def test_a_brake_that_engages_again_can_be_released_again(admin, wg0, gateway, database):
    database.sql("UPDATE peers_interface SET brake_released_at = now() - interval '1 day'")
    gateway(held=12, released_at="now() - interval '1 day'")
    database.sql("UPDATE peers_gatewaystatus SET released_at = brake_released_at FROM peers_interface")
    assert "release-brake" in page(admin)


def test_releasing_shows_what_is_held_first(admin, wg0, gateway, status):
    gateway("gw1", held=3)
    gateway("gw2", held=1)
    status(rows.peer(rows.person("alice"), wg0, "Alice's laptop"), held="true")
    status(rows.peer(rows.person("bob"), wg0, "Bob's phone"))
    found = html.unescape(page(admin, release(wg0)))
    assert "The gateways of wg0 hold back 4 removals that nothing in this database explains." in found
    assert "Alice's laptop" in found and "Bob's phone" not in found
    assert "3 of them are keys that this database has no device for." in found
    assert Interface.objects.get().brake_released_at is None


def test_releasing_is_one_audited_word_of_the_operator(admin, wg0, gateway):
    gateway(held=3)
    answer = admin.post(release(wg0), {"held": "3"}, follow=True)
    assert answer.redirect_chain == [(INDEX, 302)]
    assert "Released: 3 removals were held." in answer.content.decode()
    assert Interface.objects.get().brake_released_at is not None
    event = AuditEvent.objects.get(action="release_brake")
    assert (event.actor.sub, event.interface, event.source) == ("root", wg0, "203.0.113.9")


def test_more_than_was_shown_is_not_released(admin, wg0, gateway, database):
    gateway(held=3)
    database.sql("UPDATE peers_gatewaystatus SET held = 3000")
    answer = admin.post(release(wg0), {"held": "3"})
    assert answer.status_code == 409
    assert "More is held by now than this page had shown." in answer.content.decode()
    assert 'name="held" value="3000"' in answer.content.decode()
    assert Interface.objects.get().brake_released_at is None


@pytest.mark.parametrize("sent", [{}, {"held": ""}, {"held": "0"}, {"held": "x"}, {"held": "9" * 5000}])
def test_nothing_is_released_without_the_number_that_was_shown(admin, wg0, gateway, sent):
    gateway(held=3)
    assert admin.post(release(wg0), sent).status_code == 400
    assert Interface.objects.get().brake_released_at is None


def test_a_brake_that_holds_nothing_offers_nothing_to_release(admin, wg0, gateway):
    gateway()
    found = page(admin, release(wg0))
    assert "The brake of wg0 holds nothing." in found
    assert 'name="held"' not in found


def test_only_who_may_change_an_interface_releases_its_brake(wg0, gateway, status):
    gateway(held=3)
    status(rows.peer(rows.person(), wg0, "Alice's laptop"), held="true")
    looks = staff("view_interface", "view_gatewaystatus")
    assert "release-brake" not in page(looks)
    assert looks.get(release(wg0)).status_code == 403
    assert looks.post(release(wg0), {"held": "3"}).status_code == 403
    assert Interface.objects.get().brake_released_at is None
    assert "laptop" not in page(staff("change_interface"), release(wg0))  # devices are another right


def test_there_is_no_brake_of_an_interface_that_does_not_exist(admin, wg0):
    assert admin.get(f"/admin/peers/interface/{wg0.pk + 1}/release-brake/").status_code == 404
