"""When a provider's word would cut too many off at once it is held, until an administrator decides or the provider thinks better."""

import threading
from contextlib import closing
from datetime import timedelta
from functools import partial

import pytest
from django.db import connections, transaction
from django.test import Client
from django.utils import timezone

from peers import services
from peers.audit import Actor
from peers.models import AuditEvent, Interface, Peer
from portal.access import brake, changes, decision
from portal.access.revalidation import revalidate
from portal.models import HeldLoss, LossReason, RefreshToken, User
from tests import rows
from tests.integration.refreshing import BEYOND, entitled, now
from tests.integration.test_services import wait_for_a_lock

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def wg0(database):
    return rows.interface(device_limit=1000)


def live(database, on):
    """Have a gateway say that every peer is on the interface."""
    database.sql(
        "INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, endpoint, rx_bytes, tx_bytes, held, problem)"
        " SELECT 'gw1', peer_id, public_key, true, now(), '', 0, 0, false, '' FROM peers_peerkey"
    )


@pytest.mark.parametrize(("people", "cut"), [(20, 5), pytest.param(200, 20, marks=pytest.mark.long)])
def test_a_night_in_which_the_provider_refuses_everybody(idp, hire, wg0, database, people, cut, caplog):
    for number in range(people):
        hire(f"p{number}")
    live(database, wg0)
    idp.out = {f"p{number}" for number in range(people)}
    assert revalidate(now()) == {"gone": cut, "held": people - cut}
    assert len(entitled()) == people - cut
    later = timezone.now() + timedelta(minutes=30)
    assert revalidate(later) == {"held": people - cut}  # it does not let go by itself
    assert [record.msg for record in caplog.records if record.levelname == "ERROR"].count(
        "identity_brake_engaged"
    ) == 1
    root = rows.person("root", is_superuser=True)
    assert decision.release(seen=now(), actor=Actor(user=root, source="192.0.2.1"), at=now()) == people - cut
    assert revalidate(now()) == {"released": people - cut}
    assert entitled() == set()
    assert not HeldLoss.objects.exists()
    released = AuditEvent.objects.filter(action="access_ended", actor=root)
    assert released.count() == people - cut
    assert AuditEvent.objects.get(action="release_access").new == {"people": people - cut}


def test_the_only_loss_that_is_held_stays_held_when_those_before_it_count_no_more(idp, hire, wg0, database):
    for number in range(6):
        hire(f"p{number}")
    live(database, wg0)
    idp.out = {f"p{number}" for number in range(6)}
    assert revalidate(now()) == {"gone": 5, "held": 1}
    database.sql(
        "SET session_replication_role = replica; UPDATE peers_auditevent SET at = at - interval '11 minutes'"
    )
    assert revalidate(now(BEYOND)) == {"held": 1}
    assert len(entitled()) == 1


def test_what_the_brake_holds_goes_when_the_provider_recovers(idp, hire, wg0, database):
    for number in range(8):
        hire(f"p{number}")
    live(database, wg0)
    idp.out = {f"p{number}" for number in range(8)}
    assert revalidate(now()) == {"gone": 5, "held": 3}
    idp.out = set()
    assert revalidate(now(BEYOND)) == {"fine": 3}
    assert not HeldLoss.objects.exists()
    assert AuditEvent.objects.filter(action="loss_withdrawn").count() == 3


def test_what_is_discarded_stays_and_is_asked_about_again(idp, hire, wg0, database):
    for number in range(7):
        hire(f"p{number}")
    live(database, wg0)
    idp.out = {f"p{number}" for number in range(7)}
    revalidate(now())
    assert decision.discard(seen=now(), actor=Actor(user=rows.person("root", is_superuser=True))) == 2
    assert len(entitled()) == 2
    assert revalidate(now(BEYOND)) == {"held": 2}


def test_a_lost_group_is_held_as_a_refusal_is_and_only_where_it_counts(idp, hire, wg0, database):
    Interface.objects.update(enrol_groups=["vpn"])
    elsewhere = rows.interface("wg1")
    for number in range(7):
        rows.peer(hire(f"p{number}", groups_claim=["employees", "vpn"]), elsewhere)
    live(database, wg0)
    assert revalidate(now()) == {"fine": 5, "held": 2}
    assert Peer.objects.entitled(now()).filter(interface=wg0).count() == 2
    assert list(HeldLoss.objects.values_list("reason", "groups")) == [("group_lost", ["employees"])] * 2
    assert decision.release(seen=now(), actor=Actor(user=rows.person("root")), at=now()) == 2
    assert revalidate(now()) == {"released": 2}
    assert Peer.objects.entitled(now()).filter(interface=wg0).count() == 0
    assert Peer.objects.entitled(now()).filter(interface=elsewhere).count() == 7


def test_an_administrators_rights_go_with_the_group_whatever_is_held(idp, hire, wg0, database):
    Interface.objects.update(enrol_groups=["vpn-admins"])
    for number in range(6):
        hire(f"p{number}", groups_claim=["employees", "vpn-admins"], is_staff=True, is_superuser=True)
    live(database, wg0)
    assert revalidate(now()) == {"fine": 5, "held": 1}
    assert not User.objects.filter(is_superuser=True).exists()
    assert len(entitled()) == 1


def test_an_administrators_act_and_a_lease_are_never_held(idp, hire, wg0, database):
    for number in range(9):
        hire(f"p{number}")
    live(database, wg0)
    idp.out = {f"p{number}" for number in range(9)}
    revalidate(now())
    held = list(User.objects.filter(held_loss__isnull=False))
    services.suspend_person(actor=Actor(), person=held[0], at=now(), reason="why")
    User.objects.filter(pk=held[1].pk).update(signed_in_at=now() - timedelta(days=8))
    assert entitled() == {person.sub for person in held[2:]}


def test_signing_in_takes_a_person_out_of_what_is_held(idp, hire, wg0, database):
    for number in range(6):
        hire(f"p{number}")
    live(database, wg0)
    idp.out = {f"p{number}" for number in range(6)}
    revalidate(now())
    [held] = User.objects.filter(held_loss__isnull=False)
    idp.is_person(held.sub, groups=["employees"])
    idp.tokens["refresh_token"] = f"{held.sub}.9"
    idp.sign_in(Client())
    assert not HeldLoss.objects.exists()
    assert entitled() == {held.sub}


def end(person):
    with transaction.atomic():
        brake.lock()
        return changes.end(person, LossReason.REFUSED, actor=Actor(), at=now())


def test_who_has_no_entitled_device_loses_access_without_counting_or_being_held(idp, hire, wg0, database):
    for number in range(9):
        hire(f"p{number}")
    live(database, wg0)
    Peer.objects.filter(owner__sub__in=["p0", "p1", "p7", "p8"]).update(suspended_at=now())
    people = User.objects.filter(peers__isnull=False).order_by("sub")
    assert [end(person) for person in people] == [True] * 9
    last = User.objects.get(sub="p8")
    assert end(last) is True  # twice
    assert AuditEvent.objects.filter(action="access_ended", person=last).count() == 1


def test_after_an_administrators_word_losses_are_counted_afresh(idp, hire, wg0, database):
    for number in range(9):
        hire(f"p{number}")
    live(database, wg0)
    people = list(User.objects.filter(peers__isnull=False).order_by("sub"))
    assert [end(person) for person in people[:7]] == [True] * 5 + [False] * 2
    assert decision.release(seen=now(), actor=Actor(user=rows.person("root")), at=now()) == 2
    assert [end(person) for person in people[7:]] == [True] * 2


# --- Released ---


@pytest.fixture
def held(hire, wg0, database):
    """Give five people whose loss of access the brake holds, after five others were cut off."""
    people = [hire(f"p{number}") for number in range(10)]
    live(database, wg0)
    assert [end(person) for person in people] == [True] * 5 + [False] * 5
    return people[5:]


def release():
    return decision.release(seen=now(), actor=Actor(user=rows.person("root")), at=now())


def never():
    return False


def test_what_is_released_is_carried_out_in_steps_and_goes_on_where_it_stopped(held, monkeypatch):
    monkeypatch.setattr(decision, "STEP", 2)
    assert release() == 5
    assert len(entitled()) == 5
    assert decision.carry_out(now(), stopped=iter([False, True]).__next__) == 2
    assert len(entitled()) == 3
    assert decision.carry_out(now(), stopped=never) == 3
    assert (entitled(), HeldLoss.objects.count()) == (set(), 0)


def test_what_was_agreed_to_does_not_count_for_the_brake_however_late_it_is_carried_out(held, hire):
    others = [hire(f"q{number}") for number in range(6)]
    release()
    decision.carry_out(now(), stopped=never)
    assert [end(person) for person in others] == [True] * 5 + [False]


def test_while_what_is_released_is_being_carried_out_others_are_not_held_for_it(held, hire):
    release()
    assert end(hire("q")) is True


def test_what_is_released_stays_released_when_the_provider_says_the_same_again(held, hire):
    others = [hire(f"q{number}") for number in range(6)]
    release()
    assert [end(person) for person in others] == [True] * 5 + [False]
    assert end(held[0]) is False
    assert HeldLoss.objects.released().count() == 5
    assert AuditEvent.objects.filter(action="loss_held", person=held[0]).count() == 1
    assert decision.carry_out(now(), stopped=never) == 5
    assert entitled() == {others[5].sub}


def test_a_loss_that_changes_is_held_anew_and_is_on_record(held, hire):
    [*_, other] = [hire(f"q{number}") for number in range(6)]
    release()
    [end(person) for person in User.objects.filter(sub__startswith="q").order_by("sub")]
    with transaction.atomic():
        brake.lock()
        assert changes.end(held[0], LossReason.DISABLED, actor=Actor(), at=now()) is False
    assert set(HeldLoss.objects.undecided().values_list("person", "reason")) == {
        (other.pk, "refused"), (held[0].pk, "disabled"),
    }  # fmt: skip
    told = AuditEvent.objects.filter(action="loss_held", person=held[0]).order_by("pk")
    assert [event.new["why"] for event in told] == ["refused", "disabled"]


def test_what_nobody_was_shown_is_not_decided_about_though_it_is_no_more_than_what_was(held, hire):
    seen = HeldLoss.objects.latest("found_at").found_at
    with transaction.atomic():
        changes.withdraw(held[0], actor=Actor())
    end(hire("q"))
    for decide in (partial(decision.release, at=now()), decision.discard):
        with pytest.raises(decision.MoreHeld):
            decide(seen=seen, actor=Actor(user=User.objects.get(sub="p0")))
    assert HeldLoss.objects.undecided().count() == 5
    assert not AuditEvent.objects.filter(action__in=["release_access", "discard_access"]).exists()


def test_where_nothing_is_held_there_is_nothing_to_decide_nor_to_record(database):
    actor = Actor(user=rows.person("root"))
    assert (
        decision.release(seen=now(), actor=actor, at=now()) == decision.discard(seen=now(), actor=actor) == 0
    )
    assert not AuditEvent.objects.filter(action__in=["release_access", "discard_access"]).exists()


def test_a_person_for_whom_the_provider_vouches_before_it_is_carried_out_stays(held):
    release()
    with transaction.atomic():
        changes.withdraw(held[0], actor=Actor())
    assert decision.carry_out(now(), stopped=never) == 4
    assert entitled() == {held[0].sub}


def test_a_loss_that_would_take_nothing_off_any_more_is_not_held_any_longer(held, idp):
    idp.out = {held[4].sub}
    Peer.objects.filter(owner__in=held[:4]).update(suspended_at=now())
    assert revalidate(now()) == {"held": 1, "released": 4}
    assert set(User.objects.filter(held_loss__isnull=False)) == {held[4]}
    assert AuditEvent.objects.filter(action="access_ended", person=held[0], actor=None).count() == 1


def test_who_is_suspended_just_then_is_left_to_that(held, database):
    release()

    def carry_out():
        with closing(connections["default"]):
            decision.carry_out(now(), stopped=never)

    other = threading.Thread(target=carry_out)
    with transaction.atomic():
        services.suspend_person(actor=Actor(), person=held[0], at=now(), reason="why")
        other.start()
        wait_for_a_lock(database)
    other.join(20)
    assert not AuditEvent.objects.filter(action="access_ended", person=held[0]).exists()
    assert entitled() == set()


def test_what_is_discarded_is_on_record_for_each(held):
    root = rows.person("root")
    assert decision.discard(seen=now(), actor=Actor(user=root, source="192.0.2.1")) == 5
    told = AuditEvent.objects.filter(action="loss_withdrawn", actor=root, source="192.0.2.1")
    assert set(told.values_list("person", flat=True)) == {person.pk for person in held}


def test_an_administrator_who_would_be_out_altogether_is_one_no_longer_though_that_is_held(
    idp, hire, wg0, database
):
    for number in range(6):
        name = f"p{number}"
        hire(name, groups_claim=["employees", "vpn-admins"], is_staff=True, is_superuser=True)
        idp.groups[name] = ["guests"]
    live(database, wg0)
    assert revalidate(now()) == {"gone": 5, "held": 1}
    assert not User.objects.filter(is_superuser=True).exists()
    assert len(entitled()) == 1


def test_that_somebody_becomes_an_administrator_or_is_one_no_longer_is_on_record(idp, hire):
    hire("alice", groups_claim=["employees"])
    for groups in (["employees", "vpn-admins"], ["employees"]):
        idp.groups["alice"] = groups
        assert revalidate(now(2 * BEYOND)) == {"fine": 1}
        RefreshToken.objects.update(due_at=now())
    told = AuditEvent.objects.filter(action="rights_changed").order_by("pk")
    assert [event.new["is_superuser"] for event in told] == [True, False]
