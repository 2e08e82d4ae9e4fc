"""What a provider's answer about a person means: one of three things, and nothing else."""

import pytest

from portal import oidc_config
from portal.access.answers import CannotTell, Fine, Gone, read
from portal.models import LossReason

STAFF = frozenset({"employees"})
PROVIDER = oidc_config.Provider(
    "idp", "IdP", "https://idp.example", "latchkey", "s3cret", allowed_groups=STAFF
)
EVERYONE = oidc_config.Provider("idp", "IdP", "https://idp.example", "latchkey", "s3cret")
NO_GROUPS = oidc_config.Provider("idp", "IdP", "https://idp.example", "latchkey", "s3cret", groups_claim="")
ANSWERS = {
    "the groups are named": (PROVIDER, {"groups": ["employees", "vpn"]}, STAFF, Fine(frozenset({"employees", "vpn"}))),
    "one group, as a text": (PROVIDER, {"groups": "employees"}, STAFF, Fine(STAFF)),
    "named without the one that lets in": (
        PROVIDER, {"groups": ["guests"]}, STAFF, Gone(LossReason.GROUP_LOST, frozenset({"guests"})),
    ),
    "named, and there are none": (PROVIDER, {"groups": []}, STAFF, Gone(LossReason.GROUP_LOST, frozenset())),
    "named, and everyone may sign in": (EVERYONE, {"groups": []}, STAFF, Fine(frozenset())),
    "not named, though there were some": (PROVIDER, {}, STAFF, CannotTell("no_groups")),
    "null in their place": (PROVIDER, {"groups": None}, STAFF, CannotTell("no_groups")),
    "something else in their place": (PROVIDER, {"groups": {"a": 1}}, STAFF, CannotTell("no_groups")),
    "too many for the token": (
        PROVIDER, {"_claim_names": {"groups": "src1"}, "_claim_sources": {}}, STAFF, CannotTell("no_groups"),
    ),
    "not named, and there never were any": (EVERYONE, {}, frozenset(), Fine(None)),
    "not named, though some must let in": (PROVIDER, {}, frozenset(), CannotTell("no_groups")),
    "never named by this provider": (NO_GROUPS, {"groups": ["x"]}, STAFF, Fine(None)),
    "not active": (EVERYONE, {"active": False, "groups": ["employees"]}, STAFF, Gone(LossReason.DISABLED)),
    "active in another word": (EVERYONE, {"active": "no", "groups": []}, frozenset(), Fine(frozenset())),
    "a group that is not clean": (
        PROVIDER, {"groups": ["employees\n", " employees", "em\u00a0ployees", "a  b", "employees"]}, STAFF, Fine(STAFF),
    ),
    "no group but unclean ones": (
        PROVIDER, {"groups": ["employees\u200b", "employees "]}, STAFF, Gone(LossReason.GROUP_LOST, frozenset()),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_is_one_of_three(case):
    provider, claims, known, expected = ANSWERS[case]
    assert read(provider, claims, known) == expected
