"""What a sign-in proves, what is asked of it, and how a provider is asked for it."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.assurance import (
    Assurance,
    id_token,
    of_sign_in,
    parameters,
    required,
    suffices,
    with_time_to_spare,
)
from portal.oidc.identity import Proof
from portal.oidc_config import Provider, Requirement

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
STRICT = Requirement(acr=("gold", "silver"), amr=("hwk", "pin"), max_age=HOUR)


def provider(**requirements):
    return Provider(
        id="corp", name="Corp", issuer="https://idp.example", client_id="latchkey", client_secret="x", **requirements
    )  # fmt: skip


def proved(**changes):
    how = {"acr": "silver", "amr": frozenset({"pwd", "hwk", "pin"}), "auth_time": NOW - HOUR, **changes}
    return Assurance("corp", **how)


@pytest.mark.parametrize(
    ("changes", "enough"),
    [
        ({}, True),
        ({"acr": "bronze"}, False),
        ({"acr": ""}, False),
        ({"amr": frozenset({"hwk"})}, False),
        ({"amr": frozenset()}, False),
        ({"auth_time": NOW - HOUR - SECOND}, False),
        ({"auth_time": None}, False),
        ({"auth_time": NOW + MINUTE}, True),
        ({"auth_time": NOW + MINUTE + SECOND}, False),
    ],
)
def test_one_of_the_classes_all_of_the_methods_and_no_longer_ago(changes, enough):
    assert suffices(proved(**changes), STRICT, at=NOW) == enough


def test_where_nothing_is_asked_for_nothing_has_to_be_known():
    for known in (None, Assurance("corp"), proved()):
        assert suffices(known, Requirement(), at=NOW)
    for asked in (Requirement(acr=("gold",)), Requirement(amr=("hwk",)), Requirement(max_age=HOUR)):
        assert not suffices(None, asked, at=NOW)


def test_an_act_asks_for_what_the_administration_does_and_for_the_shorter_of_two_ages(settings):
    asking = provider(
        enrol_requires=Requirement(acr=("e",)), admin_requires=Requirement(("a",), ("m",), HOUR)
    )
    assert required(asking, "enrol") == Requirement(acr=("e",))
    assert required(asking, "admin") == Requirement(("a",), ("m",), HOUR)
    assert required(asking, "act") == Requirement(("a",), ("m",), 5 * MINUTE)
    assert required(provider(admin_requires=Requirement(max_age=MINUTE)), "act") == Requirement(
        max_age=MINUTE
    )
    assert required(None, "act") == Requirement(max_age=5 * MINUTE)
    assert required(None, "admin") == required(None, "enrol") == Requirement()
    settings.LATCHKEY_ADMIN_ACT_AGE = timedelta(0)
    assert required(None, "act") == Requirement()


def test_who_has_something_to_type_first_gets_a_minute_for_it_or_half_of_what_there_is():
    ages = {5 * MINUTE: 4 * MINUTE, MINUTE: 30 * SECOND, None: None}
    assert {age: with_time_to_spare(Requirement(max_age=age)).max_age for age in ages} == ages


def test_the_provider_is_asked_for_a_class_and_an_age_and_for_methods_by_a_sign_in_afresh():
    assert parameters(STRICT) == {"acr_values": "gold silver", "max_age": "3540", "prompt": "login"}
    assert parameters(Requirement(max_age=5 * MINUTE)) == {"max_age": "240"}
    assert parameters(Requirement()) == {}


def test_an_id_token_is_kept_encrypted_and_in_no_repr(settings):
    kept = of_sign_in(provider(), Proof("head.body.signature"))
    assert "head.body.signature" not in kept.id_token + repr(kept)
    assert kept.id_token not in repr(kept)
    assert id_token(kept) == "head.body.signature"
    settings.ENCRYPTION_KEYS = ["bm90LWEtc2VjcmV0LW9ubHktdG8tbG9hZC1zZXR0aW4="]
    assert id_token(of_sign_in(provider(), Proof("x"))) == "x"
    assert id_token(Assurance("corp", id_token="gAAAAA-of-another-key")) == ""
