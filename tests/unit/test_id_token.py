"""What an id_token may say of when it was issued and how long it counts, to the second."""

from datetime import timedelta

import pytest

from portal.oidc import id_token
from portal.oidc_config import Provider

NOW = 1_800_000_000
PROVIDER = Provider("corp", "Corp", "https://idp.example", "latchkey", "s3cret")
CLAIMS = {"iss": "https://idp.example", "aud": "latchkey", "sub": "alice", "iat": NOW, "exp": NOW + 300}


def failures(provider=PROVIDER, **changes):
    claims = {**CLAIMS, **changes}
    return [failure for failure, holds in id_token._rules(provider, claims, NOW) if not holds]


def test_a_token_of_now_is_right():
    assert failures() == []


@pytest.mark.parametrize(
    ("times", "failure"),
    [
        ({"iat": NOW - 300, "exp": NOW - 59}, None),
        ({"iat": NOW - 300, "exp": NOW - 60}, "token_expired"),
        ({"iat": NOW - 300, "exp": NOW - 61}, "token_expired"),
        ({"iat": NOW + 59}, None),
        ({"iat": NOW + 60}, None),
        ({"iat": NOW + 60.5}, "token_of_the_future"),
        ({"iat": NOW + 61}, "token_of_the_future"),
        ({"nbf": NOW + 59}, None),
        ({"nbf": NOW + 60}, None),
        ({"nbf": NOW + 60.5}, "token_of_the_future"),
        ({"nbf": NOW + 61}, "token_of_the_future"),
    ],
)
def test_two_clocks_may_differ_by_a_minute_and_no_second_more(times, failure):
    assert failures(**times) == ([failure] if failure else [])


@pytest.mark.parametrize(("seconds", "failure"), [(3600, None), (3601, "token_lives_too_long")])
def test_a_token_counts_for_an_hour_and_no_second_more(seconds, failure):
    assert failures(exp=NOW + seconds) == ([failure] if failure else [])


def test_a_provider_may_be_believed_for_longer():
    patient = Provider(
        "corp", "Corp", "https://idp.example", "latchkey", "s3cret", id_token_lifetime=timedelta(hours=2)
    )
    assert failures(patient, exp=NOW + 7200) == []
    assert failures(patient, exp=NOW + 7201) == ["token_lives_too_long"]
