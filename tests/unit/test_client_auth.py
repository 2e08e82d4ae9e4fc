"""How the portal proves to a token endpoint who it is."""

import pytest
from allauth.socialaccount.providers.oauth2.client import OAuth2Client

from portal.oidc import client_auth
from portal.oidc.provider import Client

ODD = "a:b c+d&ü"
ENCODED = "a%3Ab+c%2Bd%26%C3%BC"


@pytest.mark.parametrize(
    ("document", "basic"),
    [
        ({}, True),
        ({"token_endpoint_auth_methods_supported": None}, True),
        ({"token_endpoint_auth_methods_supported": []}, True),
        ({"token_endpoint_auth_methods_supported": "client_secret_post"}, True),
        ({"token_endpoint_auth_methods_supported": ["client_secret_basic"]}, True),
        ({"token_endpoint_auth_methods_supported": ["client_secret_post"]}, False),
        ({"token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"]}, False),
    ],
)
def test_the_secret_goes_into_the_header_unless_the_provider_says_that_it_takes_the_body(document, basic):
    assert client_auth.uses_basic(document) is basic


def test_an_id_and_a_secret_are_encoded_before_they_are_sent_by_http_basic():
    assert client_auth.basic(ODD, "s3cret") == (ENCODED, "s3cret")


def test_a_client_that_is_used_again_sends_the_same_pair_and_keeps_its_id(monkeypatch):
    sent = []

    def trade(client, _code):
        sent.append((client.consumer_key, client.consumer_secret))
        return {}

    monkeypatch.setattr(OAuth2Client, "get_access_token", trade)
    client = Client(None, ODD, ODD, "POST", "https://idp.example/token", "", basic_auth=True)
    for _ in range(2):
        client.get_access_token("code")
    assert sent == [(ENCODED, ENCODED)] * 2
    assert client.consumer_key == ODD
