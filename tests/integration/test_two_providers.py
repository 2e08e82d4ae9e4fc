"""The same at two independent providers: the demo's, which is allauth's, and npm's oidc-provider, which is certified."""

import base64
import hashlib
import secrets
from datetime import timedelta
from io import StringIO
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

import jwt
import pytest
import requests
from django.conf import settings as django_settings
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from peers.models import Peer
from portal.models import RefreshToken, User
from portal.oidc import id_token
from portal.oidc.http import ProviderTrouble
from portal.oidc.identity import proof
from tests import rows
from tests.integration.conftest import use
from tests.integration.sign_in import SignInError, authorise, depart, sign_in, walk, way_out


@pytest.fixture(params=["demo_provider", "certified"])
def idp(request, database, settings, monkeypatch):
    """Let the portal use each of the two providers in turn, and set its people right again afterwards."""
    used = request.getfixturevalue(request.param)
    use(used.environment(), settings, monkeypatch)
    yield used
    used.reset()


@pytest.fixture
def at_certified(certified, database, settings, monkeypatch):
    """Let the portal use the certified provider, and set that right again afterwards."""
    use(certified.environment(), settings, monkeypatch)
    yield certified
    certified.reset()


class Application:
    """Another application's sign-in of ``person`` at the provider, without any code of the portal's."""

    def __init__(self, person):
        self.provider = django_settings.OIDC_PROVIDERS[0]
        self.metadata = requests.get(self.provider.discovery_url, timeout=10).json()
        self.nonce, verifier = secrets.token_urlsafe(), secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        back = f"{django_settings.LATCHKEY_URL}/accounts/oidc/{self.provider.id}/login/callback/"
        query = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": back,
            "scope": " ".join(self.provider.scopes),
            "nonce": self.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
            **self.provider.authorization_params,
        }
        answer = authorise(f"{self.metadata['authorization_endpoint']}?{urlencode(query)}", person)
        (code,) = parse_qs(urlsplit(answer).query)["code"]
        self.tokens = self.ask(
            grant_type="authorization_code", code=code, redirect_uri=back, code_verifier=verifier
        ).json()

    def ask(self, **fields):
        return requests.post(
            self.metadata["token_endpoint"],
            fields,
            auth=(quote_plus(self.provider.client_id), quote_plus(self.provider.client_secret)),
            timeout=10,
        )

    def refresh(self):
        """Spend the refresh token; the answer's is the next one to be spent."""
        answer = self.ask(grant_type="refresh_token", refresh_token=self.tokens["refresh_token"])
        if answer.ok:
            self.tokens = answer.json()
        return answer

    def userinfo(self):
        bearer = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return requests.get(self.metadata["userinfo_endpoint"], headers=bearer, timeout=10).json()


def person(name):
    return User.objects.get(email=f"{name}@example.com")


# --- What the providers answer ---


def test_a_refresh_token_works_once_and_brings_the_next(idp):
    alice = Application("alice")
    first = alice.tokens["refresh_token"]
    assert alice.refresh().status_code == 200
    assert alice.refresh().status_code == 200
    assert len({first, alice.tokens["refresh_token"]}) == 2
    spent = alice.ask(grant_type="refresh_token", refresh_token=first)
    assert (spent.status_code, spent.json()["error"]) == (400, "invalid_grant")


def test_a_disabled_person_is_refused_a_refresh_and_has_it_again_once_enabled(idp):
    alice = Application("alice")
    idp.set_person("alice", active=False)
    refused = alice.refresh()
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    idp.set_person("alice", groups=("employees", "ops"))
    assert alice.refresh().status_code == 200
    assert alice.userinfo()["groups"] == ["employees", "ops"]


def test_the_id_tokens_signature_is_what_proves_it(idp):
    alice, bob, now = Application("alice"), Application("bob"), timezone.now()
    token = alice.tokens["id_token"]
    assert id_token.checked(alice.provider, token, at=now, nonce=alice.nonce)["nonce"] == alice.nonce
    with pytest.raises(ProviderTrouble, match="wrong_nonce"):
        id_token.checked(alice.provider, token, at=now, nonce=bob.nonce)
    header, _, signature = token.split(".")
    swapped = f"{header}.{bob.tokens['id_token'].split('.')[1]}.{signature}"
    with pytest.raises(ProviderTrouble, match="bad_id_token"):
        id_token.checked(alice.provider, swapped, at=now, nonce=bob.nonce)


def test_the_id_token_says_when_and_how_a_person_proved_who_they_are(idp):
    began, alice = timezone.now(), Application("alice")
    found = proof(jwt.decode(alice.tokens["id_token"], options={"verify_signature": False}), alice.tokens)
    assert found.amr == {"pwd"}
    assert began - timedelta(seconds=1) < found.auth_time <= timezone.now()


# --- Signing in ---


def test_a_person_signs_in_as_the_provider_describes_them(idp):
    alice, carol = Client(), Client()
    assert sign_in(alice, "alice", "/?from=mail", idp.id)["Location"] == "/?from=mail"
    assert alice.get("/").status_code == 200
    assert person("alice").issuer == idp.issuer
    assert person("alice").name.startswith("Alice ")
    assert person("alice").groups_claim == ["employees"]
    assert not person("alice").is_superuser
    assert carol.get("/admin/").status_code == 302
    sign_in(carol, "carol", provider=idp.id)
    assert person("carol").groups_claim == ["employees", "latchkey-admins"]
    assert carol.get("/admin/").status_code == 200


def test_an_answer_of_another_issuer_or_one_that_should_name_it_is_refused(idp):
    client = Client()
    metadata = requests.get(f"{idp.issuer}/.well-known/openid-configuration", timeout=10).json()
    names_itself = metadata.get("authorization_response_iss_parameter_supported", False)
    assert names_itself == (idp.id == "certified")
    for iss, status in (("https://idp.example.com", 400), (None, 400 if names_itself else 302)):
        parts = urlsplit(authorise(depart(client, provider=idp.id), "alice"))
        query = {name: value for name, (value,) in parse_qs(parts.query).items()}
        assert query.pop("iss", None) == (idp.issuer if names_itself else None)
        assert client.get(parts.path, query | ({"iss": iss} if iss else {})).status_code == status


def test_a_person_in_no_allowed_group_or_disabled_does_not_get_in(idp):
    client = Client()
    idp.set_person("alice", groups=("contractors",))
    assert sign_in(client, "alice", provider=idp.id).status_code == 403
    idp.set_person("bob", active=False)
    with pytest.raises(SignInError):
        sign_in(client, "bob", provider=idp.id)
    assert not User.objects.exists()


def test_id_tokens_are_believed_with_an_elliptic_curves_signature_too(
    certified, database, settings, monkeypatch
):
    use(certified.environment(algorithm="ES256"), settings, monkeypatch)
    assert jwt.get_unverified_header(Application("alice").tokens["id_token"])["alg"] == "ES256"
    assert sign_in(Client(), "alice", provider=certified.id).status_code == 302
    assert person("alice").issuer == certified.issuer


# --- Signing out ---


def test_signing_out_ends_the_session_at_the_provider_too_and_leads_back(idp):
    client, browser = Client(), requests.Session()
    sign_in(client, "alice", provider=idp.id, browser=browser)
    if idp.id == "certified":  # the demo's forgets people as soon as it has named them
        assert sign_in(Client(), "", provider=idp.id, browser=browser).status_code == 302
    way = way_out(client.post("/accounts/logout/").content.decode())
    hint = parse_qs(urlsplit(way).query)["id_token_hint"][0]
    assert jwt.decode(hint, options={"verify_signature": False})["iss"] == idp.issuer
    with pytest.raises(SignInError):
        walk(browser, way.replace("signed-out", "elsewhere"), django_settings.LATCHKEY_URL)
    assert walk(browser, way, idp.signed_out_uri) == idp.signed_out_uri
    assert client.get("/accounts/signed-out/").status_code == 200
    assert client.get("/").status_code == 302
    with pytest.raises(SignInError):
        authorise(depart(client, provider=idp.id), "", browser=browser)


# --- Asking again whether access lasts ---


@pytest.fixture
def member(idp):
    return Member(idp)


class Member:
    """Alice, signed in, with a device on an interface for all employees and one on an interface for a group."""

    def __init__(self, idp):
        self.idp, self.browser = idp, Client()
        idp.set_person("alice", groups=("employees", "ops"))
        self.sign_in()
        self.laptop = rows.peer(person("alice"), rows.interface("wg0"))
        self.server = rows.peer(person("alice"), rows.interface("wg1", enrol_groups=["ops"]))

    def sign_in(self):
        assert sign_in(self.browser, "alice", provider=self.idp.id).status_code == 302

    def asked(self):
        """Let the provider be asked about her now; return what the command says."""
        RefreshToken.objects.update(due_at=timezone.now())
        call_command("revalidate", stdout=(said := StringIO()))
        return said.getvalue().partition(" 1,")[0].rpartition(" ")[2]

    def token(self):
        return RefreshToken.objects.get(person=person("alice")).token

    def connected(self):
        return set(Peer.objects.entitled(timezone.now()))


def test_the_portal_is_given_a_refresh_token_and_spends_each_once(member):
    assert person("alice").lease_limit is None
    tokens = [member.token()]
    for _ in range(2):
        assert member.asked() == "fine"
        tokens.append(member.token())
    assert len(set(tokens)) == 3


def test_a_group_lost_at_the_provider_cuts_what_it_let_in_until_it_is_gained_again(member):
    assert member.connected() == {member.laptop, member.server}
    member.idp.set_person("alice", groups=("employees",))
    member.asked()
    assert member.connected() == {member.laptop}
    member.idp.set_person("alice", groups=("employees", "ops"))
    member.asked()
    assert member.connected() == {member.laptop, member.server}


def test_a_person_disabled_at_the_provider_is_out_until_they_are_enabled_and_sign_in(member):
    member.idp.set_person("alice", active=False)
    assert member.asked() == "gone"
    assert member.connected() == set()
    assert member.browser.get("/").status_code == 302
    member.idp.set_person("alice", groups=("employees", "ops"))
    assert member.connected() == set()
    member.sign_in()
    assert member.connected() == {member.laptop, member.server}
    assert member.asked() == "fine"
    assert member.browser.get("/").status_code == 200


def test_a_provider_in_trouble_takes_nothing_away(at_certified):
    member = Member(at_certified)
    for trouble in ({"status": 500}, {"no_groups": True}):
        at_certified.trouble(**trouble)
        assert member.asked() == "cannot_tell"
        assert member.connected() == {member.laptop, member.server}
        assert RefreshToken.objects.get().failing_since
    at_certified.trouble()
    assert member.asked() == "fine"
