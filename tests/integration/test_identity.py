"""Who a person is: the pair (issuer, sub) and nothing else, whatever else a provider claims."""

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.contrib.sessions.models import Session
from django.test import Client

from portal.models import User

pytestmark = pytest.mark.usefixtures("database")


def user(sub):
    return User.objects.get(sub=sub)


# --- Identity is (issuer, sub), never the e-mail ---


def test_two_people_who_share_an_e_mail_address_stay_two_people(doubles):
    first, second = doubles
    first.is_person("one", email="shared@example.com")
    second.is_person("two", email="shared@example.com")
    assert [double.sign_in(Client()).status_code for double in doubles] == [302, 302]
    rows = User.objects.order_by("id").values_list("issuer", "sub", "email")
    assert list(rows) == [
        (first.issuer, "one", "shared@example.com"),
        (second.issuer, "two", "shared@example.com"),
    ]


def test_the_same_subject_at_two_providers_is_two_people(doubles):
    for double in doubles:
        double.is_person("same", email="same@example.com")
        assert double.sign_in(Client()).status_code == 302
    assert User.objects.filter(sub="same").count() == 2


def test_an_e_mail_address_that_moves_to_another_person_moves_nothing_else(doubles):
    first = doubles[0]
    first.is_person("leaver", email="info@example.com", groups=["latchkey-admins"])
    first.sign_in(Client())
    first.is_person("joiner", email="info@example.com", groups=[])
    first.sign_in(Client())
    assert user("joiner").pk != user("leaver").pk
    assert user("joiner").groups_claim == []


def test_signing_in_as_another_person_in_the_same_browser_changes_the_session_whole(doubles):
    client = Client()
    first, second = doubles
    first.is_person("one")
    first.sign_in(client)
    old = client.session.session_key
    second.is_person("two")
    second.sign_in(client)
    assert client.session["_auth_user_id"] == str(user("two").pk)
    assert client.session.session_key != old
    assert User.objects.count() == 2
    assert not Session.objects.filter(session_key=old).exists()


def test_allauths_own_tables_stay_empty(doubles):
    doubles[0].sign_in(Client())
    assert not EmailAddress.objects.exists()
    assert not SocialAccount.objects.exists()


# --- Claims that are odd ---


def test_groups_with_control_characters_or_of_great_length_are_dropped(doubles):
    bad = ["line\nbreak", "x" * 256, "over\u202eride", "\ud800", "", 7, None]
    doubles[0].is_person("p", groups=["employees", *bad])
    doubles[0].sign_in(Client())
    assert user("p").groups_claim == ["employees"]


@pytest.mark.parametrize(
    ("claim", "groups"),
    [("employees", ["employees"]), (None, []), ({"a": 1}, []), (7, []), (["a", "a"], ["a"])],
)
def test_a_groups_claim_of_any_shape_is_read(doubles, claim, groups):
    doubles[0].is_person("p", groups=claim)
    assert doubles[0].sign_in(Client()).status_code == 302
    assert user("p").groups_claim == groups


def test_a_name_and_an_e_mail_address_are_cleaned_not_believed(doubles):
    doubles[0].is_person("p", name="Eve\u202e\nil" + "x" * 300, email="not an address")
    doubles[0].sign_in(Client())
    assert (user("p").name[:6], len(user("p").name), user("p").email) == ("Eveilx", 255, "")


@pytest.mark.parametrize("sub", ["", "x" * 256, "a\nb", "\ud800", "nul\x00"])
def test_a_subject_that_cannot_be_kept_as_it_is_signs_nobody_in(doubles, sub):
    doubles[0].is_person(sub)
    assert doubles[0].sign_in(Client()).status_code == 503
    assert not User.objects.exists()
