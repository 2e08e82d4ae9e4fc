"""Who may be on an interface now: each rule of ``entitled`` alone, with everything else as it should be."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from peers.models import Interface, Peer, ServiceAccount
from portal.models import User
from tests import rows

AT = timezone.now()
A_MOMENT = timedelta(microseconds=1)
LEASE = timedelta(days=7)


def peer(**fields):
    return lambda: Peer.objects.update(**fields)


def owner(**fields):
    return lambda: User.objects.update(**fields)


def interface(**fields):
    return lambda: Interface.objects.update(**fields)


def both(*changes):
    return lambda: [change() for change in changes]


CASES = {
    "nothing against it": (lambda: None, True),
    "revoked": (peer(revoked_at=AT), False),
    "revoked long ago": (peer(revoked_at=AT - timedelta(days=999)), False),
    "revoked at a time to come": (peer(revoked_at=AT + timedelta(days=1)), False),
    "suspended": (peer(suspended_at=AT), False),
    "expires in a moment": (peer(expires_at=AT + A_MOMENT), True),
    "expires now": (peer(expires_at=AT), False),
    "expired": (peer(expires_at=AT - A_MOMENT), False),
    "its owner is inactive": (owner(is_active=False), False),
    "its owner's lease ends in a moment": (owner(signed_in_at=AT - LEASE + A_MOMENT), True),
    "its owner's lease ends now": (owner(signed_in_at=AT - LEASE), False),
    "its owner's lease is over": (owner(signed_in_at=AT - LEASE - A_MOMENT), False),
    "its owner has never signed in": (owner(signed_in_at=None), False),
    "never signed in, and no lease": (both(owner(signed_in_at=None), interface(lease=None)), True),
    "signed in long ago, and no lease": (both(owner(signed_in_at=AT - 99 * LEASE), interface(lease=None)), True),
    "its owner's sign-in counts for less than the lease": (
        owner(signed_in_at=AT - timedelta(hours=24), lease_limit=timedelta(hours=24)), False,
    ),
    "its owner's sign-in counts for a moment more": (
        owner(signed_in_at=AT - timedelta(hours=24) + A_MOMENT, lease_limit=timedelta(hours=24)), True,
    ),
    "its owner's sign-in would count for more than the lease": (
        owner(signed_in_at=AT - LEASE, lease_limit=2 * LEASE), False,
    ),
    "no lease, and a sign-in that counts for a day": (
        both(owner(signed_in_at=AT - timedelta(hours=24), lease_limit=timedelta(hours=24)), interface(lease=None)), False,
    ),
    "its owner's access has ended": (owner(access_ended_at=AT, access_end_reason="refused"), False),
    "its owner's access has ended, and there is no lease": (
        both(owner(access_ended_at=AT, access_end_reason="disabled"), interface(lease=None)), False,
    ),
    "its owner has the group": (interface(enrol_groups=["employees"]), True),
    "its owner has one of the groups": (interface(enrol_groups=["staff", "employees"]), True),
    "its owner lacks the group": (interface(enrol_groups=["staff"]), False),
    "its owner has no group, and none is asked for": (owner(groups_claim=[]), True),
    "its owner has no group, and one is asked for": (
        both(owner(groups_claim=[]), interface(enrol_groups=["staff"])), False,
    ),
    "the group's name is another case": (interface(enrol_groups=["Employees"]), False),
    "its key is retired": (lambda: Peer.objects.get().keys.update(retired_at=AT), True),
    "its number went to another": (peer(host=None), True),
}  # fmt: skip


def account(**fields):
    return lambda: ServiceAccount.objects.update(**fields)


def barred():
    """Let the account be on no interface any more."""
    ServiceAccount.objects.order_by("pk").first().interfaces.clear()


CASES_OF_A_MACHINE = {
    "nothing against it": (lambda: None, True),
    "revoked": (peer(revoked_at=AT), False),
    "suspended": (peer(suspended_at=AT), False),
    "expires in a moment": (peer(expires_at=AT + A_MOMENT), True),
    "expires now": (peer(expires_at=AT), False),
    "its account is suspended": (account(suspended_at=AT), False),
    "its account may no longer be on its interface": (barred, False),
    "its account may be on another interface alone": (
        lambda: ServiceAccount.objects.get().interfaces.set([rows.interface("wg1")]), False,
    ),
    "another account may be on its interface, and its own no longer": (
        both(barred, lambda: rows.account(Interface.objects.get())), False,
    ),
    "its account's times were shortened": (account(default_ttl=timedelta(minutes=1), max_ttl=timedelta(minutes=1)), True),
    "the interface asks for a group": (interface(enrol_groups=["staff"]), True),
    "the interface's lease is short": (interface(lease=timedelta(seconds=1)), True),
    "every person is inactive": (owner(is_active=False), True),
}  # fmt: skip


@pytest.fixture
def machine(database):
    on = rows.interface(lease=LEASE)
    rows.person(signed_in_at=AT)
    return rows.machine(rows.account(on), on, at=AT)


def test_each_rule_alone_decides_of_a_machine(machine, subtests):
    for case, (change, expected) in CASES_OF_A_MACHINE.items():
        with subtests.test(case), transaction.atomic():
            change()
            assert Peer.objects.entitled(AT).exists() is expected
            transaction.set_rollback(True)


@pytest.fixture
def laptop(database):
    return rows.peer(rows.person(signed_in_at=AT), rows.interface(lease=LEASE), at=AT)


def test_each_rule_alone_decides(laptop, subtests):
    for case, (change, expected) in CASES.items():
        with subtests.test(case), transaction.atomic():
            change()
            assert Peer.objects.entitled(AT).exists() is expected
            transaction.set_rollback(True)


def test_the_databases_own_clock_can_be_asked(laptop):
    assert Peer.objects.entitled(Now()).get() == laptop
    Peer.objects.update(expires_at=timezone.now() - timedelta(seconds=5))
    assert not Peer.objects.entitled(Now()).exists()


def test_another_persons_and_another_interfaces_rules_do_not_count(laptop):
    bob, wg1 = rows.person("bob"), rows.interface("wg1")
    other = rows.peer(bob, wg1)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    Interface.objects.filter(pk=wg1.pk).update(enrol_groups=["staff"])
    assert Peer.objects.entitled(AT).get() == laptop != other
