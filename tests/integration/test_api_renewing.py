"""How long a machine stays: renewing, not renewing, and coming back after the end."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from peers.models import AuditEvent, Peer, ServiceAccount
from tests import rows
from tests.integration.programs import Program, told


def end_of(answer):
    assert answer.status_code == 200, answer.content
    text = answer.json()["expires_at"]
    return datetime.fromisoformat(text) if text else None


def is_in(answer, seconds):
    """Return whether the answer's peer ends in so many seconds from now, give or take a few."""
    return abs(end_of(answer) - timezone.now() - timedelta(seconds=seconds)) < timedelta(seconds=20)


@pytest.fixture
def pk(builder):
    return builder.enrol(ttl=600).json()["id"]


def over(pk):
    Peer.objects.filter(pk=pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def test_a_renewed_peer_ends_that_long_from_now_on_be_it_sooner_or_later(builder, pk):
    assert is_in(builder.renew(pk, ttl=7200), 7200)
    assert is_in(builder.renew(pk, ttl=60), 60)


def test_without_a_ttl_it_is_what_the_account_says(builder, pk):
    assert is_in(builder.renew(pk), 3600)


def test_a_renewal_needs_no_body(builder, pk):
    assert is_in(builder.send(b"", f"/api/v1/peers/{pk}/renew"), 3600)


def test_a_ttl_beyond_the_longest_is_refused_and_nothing_changes(builder, pk):
    before = list(Peer.objects.values())
    assert told(builder.renew(pk, ttl=86401)) == (400, "ttl_too_long", "ttl")
    assert list(Peer.objects.values()) == before


def test_after_its_end_a_peer_is_enrolled_again_and_not_renewed(builder, pk):
    over(pk)
    assert told(builder.renew(pk, ttl=600)) == (409, "expired", None)
    key = Peer.objects.get().key.public_key
    assert builder.enrol(key, ttl=600).json()["id"] == pk
    assert builder.renew(pk, ttl=600).status_code == 200


def test_a_peer_whose_number_was_given_to_another_just_now_is_over_and_gets_a_new_one_by_enrolling(
    builder, wg0, pk
):
    """Its end came between the clocks: the database's had given the number away before ours said that it was over."""
    old = Peer.objects.get().host
    Peer.objects.update(host=None)
    assert told(builder.renew(pk, ttl=600)) == (409, "expired", None)
    again = builder.enrol(Peer.objects.get().key.public_key, ttl=600)
    assert (again.status_code, again.json()["id"]) == (200, pk)
    assert Peer.objects.get().host not in (None, old)


def test_what_was_to_end_does_not_stay_for_ever_because_nobody_said_when(builder, pk):
    ServiceAccount.objects.update(default_ttl=None, max_ttl=None)
    assert told(builder.renew(pk)) == (400, "ttl_missing", "ttl")
    assert is_in(builder.renew(pk, ttl=600), 600)


def test_what_never_ends_stays_so_unless_an_end_is_asked_for(builder):
    ServiceAccount.objects.update(default_ttl=None, max_ttl=None)
    pk = builder.enrol().json()["id"]
    events = AuditEvent.objects.count()
    assert end_of(builder.renew(pk)) is None
    assert AuditEvent.objects.count() == events
    assert is_in(builder.renew(pk, ttl=60), 60)


def test_a_person_may_let_a_device_of_theirs_end_and_prolong_it(alice, laptop):
    caller = Program(rows.token(alice)[1])
    assert end_of(caller.renew(laptop.pk)) is None
    assert is_in(caller.renew(laptop.pk, ttl=60), 60)
    assert told(caller.renew(laptop.pk)) == (400, "ttl_missing", "ttl")
    assert is_in(caller.renew(laptop.pk, ttl=600), 600)


def test_a_renewal_says_on_record_from_when_to_when_and_with_which_token(builder, builders, pk):
    before = Peer.objects.get().expires_at
    builder.renew(pk, ttl=7200)
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.old) == ("renew", {"expires_at": before.isoformat()})
    assert event.new == {"expires_at": Peer.objects.get().expires_at.isoformat()}
    assert (event.actor_kind, event.token, event.service_account) == (
        "machine",
        builders.tokens.get(),
        builders,
    )


def test_the_longest_time_that_was_lowered_since_holds_for_the_next_renewal(builder, pk):
    builder.renew(pk, ttl=7200)
    ServiceAccount.objects.update(max_ttl=timedelta(hours=1))
    assert told(builder.renew(pk, ttl=7200)) == (400, "ttl_too_long", "ttl")
    assert Peer.objects.entitled(timezone.now()).exists()
