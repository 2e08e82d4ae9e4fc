"""Sign-ins that somebody tampered with: each is refused with one kind of page, signs nobody in and takes nothing away."""

import hashlib
import hmac
import json
import logging
import re
import time
from base64 import urlsafe_b64encode
from itertools import permutations

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from peers.models import AuditEvent, Peer
from portal.models import User
from portal.oidc import discovery, http
from portal.oidc_config import allauth_settings
from tests import rows
from tests.integration import provider_double as double_
from tests.integration.conftest import use_providers
from tests.integration.provider_double import CODE, DISCOVERY, JWK, KEY, KEYS, SECRET, TOKEN, USERINFO, Double
from tests.integration.sign_in import depart

pytestmark = pytest.mark.usefixtures("database")

LOGIN = "/accounts/oidc/double/login/"
REFERENCE = re.compile(r"<strong>([0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4})</strong>")
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def double(settings):
    made = Double()
    use_providers(settings, (made.provider(),))
    settings.ACCOUNT_RATE_LIMITS = False
    yield made
    made.close()


@pytest.fixture
def attacked(double, wg0, caplog):
    """Return a function that holds an attack to what it may do, with a person signed in, and their device on."""
    caplog.set_level(logging.INFO)
    client = Client()
    assert double.sign_in(client).status_code == 302
    person = User.objects.get()
    rows.peer(person, wg0)
    before = _state()

    def check(answer, status=503):
        assert answer.status_code == status
        page = answer.content.decode()
        (reference,) = REFERENCE.findall(page)
        (record,) = [each for each in caplog.records if getattr(each, "reference", "") == reference]
        assert record.failure
        assert record.failure not in re.sub(r"<[^>]*>", "", page).split()
        assert client.get("/").status_code == 200
        assert _state() == before
        return record.failure

    return check


def _state():
    """Return what no attack may change: who there is, until when, and what is entitled."""
    people = list(User.objects.values_list("sub", "signed_in_at", "is_superuser", "groups_claim"))
    return people, set(Peer.objects.entitled(timezone.now()).values_list("pk", flat=True))


def is_signed_in(client):
    return client.get("/").status_code == 200


def refused(double, attacked, status=503, **more):
    """Let someone sign in with what the double now says; return the word in the log for why they were refused."""
    client = Client()
    failure = attacked(double.sign_in(client, **more), status)
    assert not is_signed_in(client)
    return failure


def part(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def signed_by(key, algorithm="RS256", **header):
    return lambda claims: jwt.encode(claims, key, algorithm, {"kid": "first", **header})


def by_hand(key, **header):
    """Return a signer that PyJWT's own scruples do not stop: RSA with SHA-256 or ECDSA with SHA-512."""

    def sign(claims):
        start = f"{part({'alg': 'RS256', 'kid': 'first', **header})}.{part(claims)}"
        if isinstance(key, rsa.RSAPrivateKey):
            return f"{start}.{part(key.sign(start.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
        return f"{start}.{part(key.sign(start.encode(), ec.ECDSA(hashes.SHA512())))}"

    return sign


def jwk_of(key, **changes):
    """Return the public half of ``key`` as a provider publishes it."""
    kinds = {rsa.RSAPrivateKey: "RSAAlgorithm", ec.EllipticCurvePrivateKey: "ECAlgorithm"}
    name = next((kinds[kind] for kind in kinds if isinstance(key, kind)), "OKPAlgorithm")
    made = getattr(jwt.algorithms, name).to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": "first", "use": "sig", **changes}


# --- The id_token: how it is signed ---


def hs256(secret):
    def sign(claims):
        start = f"{part({'alg': 'HS256', 'kid': 'first', 'typ': 'JWT'})}.{part(claims)}"
        return f"{start}.{part(hmac.digest(secret, start.encode(), hashlib.sha256))}"

    return sign


def with_body(change):
    """Return a signer that changes the claims after they were signed."""

    def sign(claims):
        header, _, signature = signed_by(KEY)(claims).split(".")
        return f"{header}.{part({**claims, **change})}.{signature}"

    return sign


FORGED = {
    "alg none": (lambda claims: f"{part({'alg': 'none'})}.{part(claims)}.", "bad_algorithm"),
    "alg None": (lambda claims: f"{part({'alg': 'None', 'kid': 'first'})}.{part(claims)}.", "bad_algorithm"),
    "no alg": (lambda claims: f"{part({'kid': 'first'})}.{part(claims)}.", "bad_algorithm"),
    "alg a list": (lambda claims: f"{part({'alg': ['RS256']})}.{part(claims)}.", "bad_algorithm"),
    "HS256 with the public key": (hs256(PEM), "bad_algorithm"),
    "HS256 with the client secret": (hs256(SECRET.encode()), "bad_algorithm"),
    "another key with the right kid": (signed_by(rsa.generate_private_key(65537, 2048)), "bad_id_token"),
    "claims changed after signing": (with_body({"sub": "another"}), "bad_id_token"),
    "no signature": (lambda claims: signed_by(KEY)(claims).rpartition(".")[0] + ".", "bad_id_token"),
    "unknown kid": (signed_by(KEY, kid="second"), "unknown_key"),
    "kid a number": (lambda c: f"{part({'alg': 'RS256', 'kid': 1})}.{part(c)}.AAAA", "bad_id_token"),
    "unknown crit": (by_hand(KEY, crit=["evil"], evil=1), "bad_id_token"),
    "known crit": (
        lambda claims: f"{part({'alg': 'RS256', 'kid': 'first', 'b64': True, 'crit': ['b64']})}.{part(claims)}.AAAA",
        "bad_token_header",
    ),
    "a logout token": (signed_by(KEY, typ="logout+jwt"), "bad_token_header"),
    "an access token": (signed_by(KEY, typ="at+jwt"), "bad_token_header"),
    "9 KiB": (lambda claims: signed_by(KEY)({**claims, "pad": "x" * 9000}), "bad_id_token"),
    "detached": (lambda c: f"{part({'alg': 'RS256', 'kid': 'first', 'b64': False})}..AAAA", "bad_id_token"),
    "half a surrogate pair": (lambda claims: signed_by(KEY)(claims) + "\ud800", "bad_id_token"),
    "nested": (lambda claims: f"{part(b'[' * 5000)}.{part(claims)}.AAAA", "bad_id_token"),
    "five parts": (lambda claims: "a.b.c.d.e", "bad_id_token"),
    "no object": (lambda claims: f"{part([])}.{part(claims)}.AAAA", "bad_id_token"),
    "claims that are no object": (
        lambda claims: jwt.api_jws.encode(b"[]", KEY, "RS256", {"kid": "first"}), "bad_id_token",
    ),
    "nothing": (lambda claims: "", "bad_id_token"),
    "a number": (lambda claims: 7, "bad_id_token"),
}  # fmt: skip


def test_a_token_that_the_provider_did_not_sign_for_us_is_refused(double, attacked, subtests):
    for name, (sign, failure) in FORGED.items():
        with subtests.test(name):
            cache.clear()
            double.sign = sign
            assert refused(double, attacked) == failure


P256, P521 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP521R1())
ED25519, ED448 = ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()
GOOD_KEYS = {
    "RS256": ([JWK], signed_by(KEY)),
    "PS384": ([JWK], signed_by(KEY, "PS384")),
    "ES256": ([jwk_of(P256)], signed_by(P256, "ES256")),
    "ES512": ([jwk_of(P521)], signed_by(P521, "ES512")),
    "EdDSA": ([jwk_of(ED25519)], signed_by(ED25519, "EdDSA")),
    "no kid and one such key": ([jwk_of(P256), JWK], lambda claims: jwt.encode(claims, KEY, "RS256")),
    "two kinds by one kid": ([jwk_of(P256), JWK], signed_by(KEY)),
    "one for encryption by the same kid": ([{**JWK, "use": "enc", "n": "AQAB"}, JWK], signed_by(KEY)),
    "among garbage": ([7, "x", None, [], {}, JWK], signed_by(KEY)),
    "no use": ([{name: JWK[name] for name in ("kty", "n", "e", "kid")}], signed_by(KEY)),
    "its own alg": ([{**JWK, "alg": "RS256"}], signed_by(KEY)),
    "typ left out": ([JWK], signed_by(KEY, typ=None)),
    "typ in small letters": ([JWK], signed_by(KEY, typ="jwt")),
}


def test_keys_of_every_kind_that_is_believed_sign_someone_in(double, subtests):
    for name, (keys, sign) in GOOD_KEYS.items():
        with subtests.test(name):
            double.keys, double.sign = keys, sign
            cache.clear()
            assert double.sign_in(Client()).status_code == 302


WEAK = rsa.generate_private_key(65537, 1024)
OTHER = rsa.generate_private_key(65537, 2048)
BAD_KEYS = {
    "weak": ([jwk_of(WEAK)], by_hand(WEAK), "weak_key"),
    "for encryption": ([{**JWK, "use": "enc"}], signed_by(KEY), "unknown_key"),
    "to wrap keys": ([{**JWK, "key_ops": ["wrapKey"]}], signed_by(KEY), "unknown_key"),
    "key_ops that are no list": ([{**JWK, "key_ops": "verify"}], signed_by(KEY), "unknown_key"),
    "for another algorithm": ([{**JWK, "alg": "RS512"}], signed_by(KEY), "unknown_key"),
    "of another kind": ([{**JWK, "kty": "oct", "k": part(PEM)}], signed_by(KEY), "unknown_key"),
    "of another curve": ([jwk_of(P521)], by_hand(P521, alg="ES256"), "unknown_key"),
    "Ed448": ([jwk_of(ED448)], signed_by(ED448, "EdDSA"), "unknown_key"),
    "two by one kid": ([jwk_of(OTHER), JWK], signed_by(KEY), "unknown_key"),
    "no kid and two keys": (
        [jwk_of(OTHER, kid="other"), JWK], lambda claims: jwt.encode(claims, KEY, "RS256"), "unknown_key",
    ),
    "its private half is out": (
        [{**jwt.algorithms.RSAAlgorithm.to_jwk(KEY, as_dict=True), "kid": "first", "use": "sig", "key_ops": ["verify"]}],
        signed_by(KEY), "unknown_key",
    ),
    "broken": ([{**JWK, "n": "!"}], signed_by(KEY), "bad_key"),
    "no modulus": ([{"kty": "RSA", "kid": "first"}], signed_by(KEY), "bad_key"),
    "a modulus that is no text": ([{**JWK, "n": 7}], signed_by(KEY), "bad_key"),
    "none": ([], signed_by(KEY), "bad_keys"),
    "garbage only": ([7, None], signed_by(KEY), "bad_keys"),
    "no list": ("keys", signed_by(KEY), "bad_keys"),
    "a number": (7, signed_by(KEY), "bad_keys"),
}  # fmt: skip


def test_a_key_that_must_not_sign_signs_nobody_in(double, attacked, subtests):
    for name, (keys, sign, failure) in BAD_KEYS.items():
        with subtests.test(name):
            cache.clear()
            double.keys, double.sign = keys, sign
            assert refused(double, attacked) == failure


def test_shared_secrets_are_no_algorithm_of_ours_even_when_the_provider_publishes_one(double, attacked):
    double.keys, double.sign = [{"kty": "oct", "k": part(b"x" * 32), "kid": "first"}], hs256(b"x" * 32)
    assert refused(double, attacked) == "bad_algorithm"


# --- The id_token: what it says ---

LACKING = object()


def wrong_claims(now):
    """Return what a token must not say, each with the word for it; ``now`` is in seconds."""
    return {
        "another issuer": ({"iss": "https://evil.example"}, "wrong_token_issuer"),
        "an issuer with one more slash": ({"iss": "/"}, "wrong_token_issuer"),
        "no issuer": ({"iss": LACKING}, "wrong_token_issuer"),
        "another audience": ({"aud": "another"}, "wrong_audience"),
        "no audience": ({"aud": LACKING}, "wrong_audience"),
        "an empty audience": ({"aud": []}, "wrong_audience"),
        "an audience that is an object": ({"aud": {"latchkey": 1}}, "wrong_audience"),
        "part of an audience": ({"aud": "latchkey-2"}, "wrong_audience"),
        "two audiences and no azp": ({"aud": ["latchkey", "another"]}, "wrong_audience"),
        "two audiences and another azp": (
            {"aud": ["latchkey", "another"], "azp": "another"},
            "wrong_audience",
        ),
        "another azp": ({"azp": "another"}, "wrong_audience"),
        "an azp that is nothing": ({"azp": None}, "wrong_audience"),
        "another nonce": ({"nonce": "another"}, "wrong_nonce"),
        "a nonce that is nothing": ({"nonce": None}, "wrong_nonce"),
        "half a surrogate pair for a nonce": ({"nonce": "\ud800"}, "wrong_nonce"),
        "no exp": ({"exp": LACKING}, "bad_token_times"),
        "exp a text": ({"exp": str(now + 300)}, "bad_token_times"),
        "exp true": ({"exp": True}, "bad_token_times"),
        "exp beyond all dates": ({"exp": 10**18}, "bad_token_times"),
        "exp infinite": ({"exp": float("inf")}, "bad_token_times"),
        "exp not a number": ({"exp": float("nan")}, "bad_token_times"),
        "expired": ({"iat": now - 400, "exp": now - 61}, "token_expired"),
        "no iat": ({"iat": LACKING}, "bad_token_times"),
        "iat below zero": ({"iat": -1}, "bad_token_times"),
        "issued in the future": ({"iat": now + 200, "exp": now + 300}, "token_of_the_future"),
        "not yet": ({"nbf": now + 200}, "token_of_the_future"),
        "nbf a text": ({"nbf": "now"}, "token_of_the_future"),
        "lives for an hour and a second": ({"iat": now, "exp": now + 3601}, "token_lives_too_long"),
        "ends as it begins": ({"iat": now, "exp": now}, "token_lives_too_long"),
        "no sub": ({"sub": LACKING}, "bad_sub"),
        "an empty sub": ({"sub": ""}, "bad_sub"),
        "sub a number": ({"sub": 7}, "bad_sub"),
        "swapped sub": ({"sub": "another"}, "sub_mismatch"),
    }


def test_a_token_that_says_something_else_than_it_must_is_refused(double, attacked, subtests):
    right = dict(double.id_token)
    for name, (changes, failure) in wrong_claims(int(time.time())).items():
        with subtests.test(name):
            double.id_token = {**right, **changes}
            if changes.get("iss") == "/":
                double.id_token["iss"] = double.issuer + "/"
            double.id_token = {
                claim: value for claim, value in double.id_token.items() if value is not LACKING
            }
            assert refused(double, attacked) == failure


def test_a_token_without_a_nonce_is_refused(double, attacked):
    double.sign = lambda claims: signed_by(KEY)({name: claims[name] for name in claims if name != "nonce"})
    assert refused(double, attacked) == "wrong_nonce"


def odd_claims(now):
    """Return what a token may say; ``now`` is in seconds."""
    return {
        "a clock that is behind": {"iat": now - 300, "exp": now - 30},
        "a clock that is ahead": {"iat": now + 30, "nbf": now + 30, "exp": now + 300},
        "an hour": {"iat": now, "exp": now + 3600},
        "a list": {"aud": ["latchkey"]},
        "two audiences, issued to us": {"aud": ["latchkey", "another"], "azp": "latchkey"},
        "a fraction of a second": {"iat": now + 0.5, "exp": now + 300.5},
    }


def test_what_a_provider_may_say_signs_someone_in(double, subtests):
    right = dict(double.id_token)
    for name, changes in odd_claims(int(time.time())).items():
        with subtests.test(name):
            double.id_token = {**right, **changes}
            assert double.sign_in(Client()).status_code == 302


def test_a_longer_life_is_believed_where_the_provider_is_configured_so(double, settings):
    from datetime import timedelta

    use_providers(settings, (double.provider(id_token_lifetime=timedelta(hours=10)),))
    double.id_token |= {"exp": double.id_token["iat"] + 36000}
    assert double.sign_in(Client()).status_code == 302


# --- The answer: whose it is (RFC 9207), and which provider's ---


def test_an_answer_of_another_issuer_is_refused(double, attacked):
    for wrong in (
        "https://evil.example",
        double.issuer + "/",
        "",
        f"{double.issuer}&iss=https://evil.example",
    ):
        for more in ({}, {"error": "access_denied"}):
            assert refused(double, attacked, 400, iss=wrong, **more) == "iss"
    assert TOKEN not in double.asked[double.asked.index(USERINFO) :]  # no code went to anyone


def test_an_answer_must_name_its_issuer_where_that_is_promised(double, attacked):
    double.document["authorization_response_iss_parameter_supported"] = True
    cache.clear()
    assert refused(double, attacked, 400) == "iss"
    assert refused(double, attacked, 400, error="access_denied") == "iss"
    assert double.sign_in(Client(), iss=double.issuer).status_code == 302


def test_a_person_of_one_provider_is_nobody_at_the_other(doubles, attacked_by):
    """Both vouch for the same sub and the same address; a token of the first is worth nothing at the second."""
    first, second = doubles
    second.sign = lambda claims: first.sign({**claims, "iss": first.issuer})
    second.keys = first.keys
    assert attacked_by(second.sign_in(Client())) == "wrong_token_issuer"


@pytest.fixture
def attacked_by(caplog):
    caplog.set_level(logging.INFO)

    def check(answer):
        (reference,) = REFERENCE.findall(answer.content.decode())
        assert not User.objects.exists()
        return next(each.failure for each in caplog.records if getattr(each, "reference", "") == reference)

    return check


# --- The provider: discovery and keys that are garbage, endless, elsewhere, slow ---

BROKEN = {
    double_.fails: "status_500",
    double_.sends_garbage: "not_json",
    double_.sends_html: "not_json",
    double_.sends_a_list: "not_json",
    double_.sends_deep_json: "not_json",
    double_.redirects: "redirect",
}


def sends_ten_megabytes(handler):
    handler.json({**handler.double.answer(handler.path), "padding": "x" * 10_000_000})


def sends_a_bomb(handler):
    import gzip

    right = json.dumps({**handler.double.answer(handler.path), "padding": "x" * 10_000_000}).encode()
    handler.send(gzip.compress(right), **{"Content-Encoding": "gzip"})


def says_invalid_grant(handler):
    handler.json({"error": "invalid_grant"}, status=400)


def says_it_is_a_page(handler):
    handler.send(json.dumps(handler.double.answer(handler.path)).encode(), media_type="text/html")


BROKEN |= {says_it_is_a_page: "not_json"}
BROKEN |= {sends_ten_megabytes: "too_large", sends_a_bomb: "too_large", says_invalid_grant: "status_400"}


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
def test_a_broken_answer_of_the_provider_is_refused_and_never_kept(double, attacked, subtests, path):
    for behaviour, failure in BROKEN.items():
        with subtests.test(behaviour.__name__):
            cache.clear()
            double.behave[path] = behaviour
            if path == DISCOVERY:
                assert attacked(Client().post(LOGIN)) == failure
            else:
                assert refused(double, attacked) == failure
            del double.behave[path]
    assert double.sign_in(Client()).status_code == 302  # at once: no failure is remembered


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
def test_an_answer_of_the_provider_that_hangs_is_given_up(double, attacked, monkeypatch, path):
    monkeypatch.setattr(http, "BUDGET", 0.5)
    cache.clear()
    double.behave[path] = double_.hangs
    answer = Client().post(LOGIN) if path == DISCOVERY else double.sign_in(Client())
    assert attacked(answer) == "timeout"


def test_userinfo_cannot_call_a_code_spent(double, attacked):
    double.behave[USERINFO] = says_invalid_grant
    assert refused(double, attacked) == "status_400"


def test_only_a_token_endpoint_that_says_so_calls_a_code_spent(double, attacked, subtests):
    answers = {
        "another error": (lambda handler: handler.json({"error": "invalid_request"}, status=400), 503, "status_400"),
        "no JSON": (lambda handler: handler.send(b"Bad Request", status=400), 503, "status_400"),
        "spent, they say, with another status": (
            lambda handler: handler.json({"error": "invalid_grant"}, status=500), 503, "status_500",
        ),
        "spent": (says_invalid_grant, 400, "code"),
    }  # fmt: skip
    for name, (double.behave[TOKEN], status, failure) in answers.items():
        with subtests.test(name):
            assert refused(double, attacked, status) == failure


def test_an_access_token_that_is_missing_or_cannot_be_sent_is_refused(double, attacked):
    double.tokens = {}
    assert refused(double, attacked) == "no_access_token"
    double.tokens = {"access_token": "\u20ac"}
    assert refused(double, attacked) == "UnicodeEncodeError"


def test_a_provider_sends_people_back_by_a_link_never_by_a_form(double):
    assert Client().post(f"{LOGIN}callback/").status_code == 405


def test_the_letters_of_a_media_type_do_not_matter(double):
    double.behave[TOKEN] = lambda handler: handler.send(
        b" " + json.dumps(handler.double.answer(TOKEN)).encode(), media_type="Application/JSON; Charset=UTF-8"
    )
    assert double.sign_in(Client()).status_code == 302


def test_keys_may_come_as_a_set_of_keys(double):
    double.behave[KEYS] = lambda handler: handler.send(
        json.dumps({"keys": [JWK]}).encode(), media_type="application/jwk-set+json"
    )
    assert double.sign_in(Client()).status_code == 302


def test_a_provider_elsewhere_names_nothing_on_this_machine(double, attacked, settings, monkeypatch):
    """The document is served by the double, and believed to be of an issuer that is reached by https."""
    from portal.oidc_config import Provider

    here = double.issuer
    monkeypatch.setattr(Provider, "discovery_url", property(lambda _self: here + DISCOVERY))
    use_providers(settings, (double.provider(issuer="https://idp.example"),))
    right = {
        name: value.replace(here, "https://idp.example")
        for name, value in double.document.items()
        if isinstance(value, str)
    }
    double.document = right
    assert Client().post(LOGIN).status_code == 200
    for endpoint in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"):
        double.document = {**right, endpoint: "http://127.0.0.1:6379/"}
        cache.clear()
        assert attacked(Client().post(LOGIN)) == f"bad_{endpoint}"


def test_an_address_for_signing_out_that_nobody_should_be_sent_to_is_left_aside(double):
    for url in ("javascript:alert(1)", "http://evil.example/out", 7, None):
        double.document["end_session_endpoint"] = url
        cache.clear()
        assert "end_session_endpoint" not in discovery.document(double.provider())
    double.document["end_session_endpoint"] = double.issuer + "/out"
    cache.clear()
    assert discovery.document(double.provider())["end_session_endpoint"] == double.issuer + "/out"


# --- What is kept, for how long ---


def fetches(double, path, act):
    before = double.asked.count(path)
    act()
    return double.asked.count(path) - before


def let_time_pass(database, what):
    """Let what is kept under names with ``what`` run out."""
    database.sql(f"UPDATE portal_cache SET expires = now() - interval '1 s' WHERE cache_key LIKE '%{what}%'")


def test_a_document_and_keys_are_used_again_until_their_time_is_over(double, database):
    asked = [
        (fetches(double, DISCOVERY, lambda: double.sign_in(Client())), double.asked.count(KEYS))
        for _each in range(2)
    ]
    assert asked == [(1, 1), (0, 1)]
    late = "SELECT count(*) FROM portal_cache WHERE cache_key LIKE '%oidc:%' AND expires > now() + interval '601 s'"
    assert database.sql(late).strip() == "0"
    let_time_pass(database, "oidc:keys:")
    assert fetches(double, KEYS, lambda: double.sign_in(Client())) == 1
    let_time_pass(database, "oidc:document:")
    assert fetches(double, DISCOVERY, lambda: double.sign_in(Client())) == 1


def test_another_issuer_in_the_settings_begins_with_a_document_and_keys_of_its_own(double, doubles, settings):
    assert double_signs_in(double, settings)
    other = doubles[0]
    other.name, other.keys, other.sign = "double", [jwk_of(P256)], signed_by(P256, "ES256")
    assert double_signs_in(other, settings)
    assert {DISCOVERY, KEYS} <= set(other.asked)


def double_signs_in(double, settings):
    use_providers(settings, (double.provider(),))
    return double.sign_in(Client()).status_code == 302


@pytest.mark.parametrize("warm", [True, False])
def test_a_flood_of_unknown_keys_costs_one_fetch(double, attacked, warm):
    if not warm:
        cache.clear()
    before = double.asked.count(KEYS)
    for number in range(30):
        double.sign = signed_by(KEY, kid=f"invented-{number}")
        assert double.sign_in(Client()).status_code == 503
    assert double.asked.count(KEYS) - before == 1
    double.sign = signed_by(KEY)
    assert double.sign_in(Client()).status_code == 302


def test_a_key_that_was_changed_signs_people_in_at_once(double, database):
    double.sign_in(Client())
    double.keys, double.sign = [jwk_of(P256, kid="next")], signed_by(P256, "ES256", kid="next")
    assert double.sign_in(Client()).status_code == 302


def test_a_key_that_was_taken_back_is_believed_no_longer_than_it_is_kept(double, database, attacked):
    double.keys = [jwk_of(P256, kid="next")]
    let_time_pass(database, "oidc:keys:")
    assert refused(double, attacked) == "unknown_key"


def test_a_flood_during_a_change_of_keys_holds_it_up_for_a_minute_at_most(double, database, attacked):
    double.sign = signed_by(KEY, kid="invented")
    refused(double, attacked)
    double.keys, double.sign = [jwk_of(P256, kid="next")], signed_by(P256, "ES256", kid="next")
    assert refused(double, attacked) == "unknown_key"
    let_time_pass(database, "oidc:keys-in-vain:")
    assert double.sign_in(Client()).status_code == 302


def test_keys_that_cannot_be_fetched_anew_leave_the_kept_ones(double, database, attacked):
    double.sign = signed_by(KEY, kid="invented")
    broken = {double_.fails: "status_500", lambda handler: handler.json({"keys": []}): "bad_keys"}
    for double.behave[KEYS], failure in broken.items():
        assert refused(double, attacked) == failure
        let_time_pass(database, "oidc:keys-in-vain:")
    double.sign = signed_by(KEY)
    assert double.sign_in(Client()).status_code == 302


# --- What the request for a sign-in carries ---


def test_the_configured_scopes_and_parameters_are_sent_in_their_order_and_nothing_else(double, settings):
    made = double.provider(
        scopes=("openid", "offline_access", "groups", "email", "profile"),
        authorization_params={"access_type": "offline", "prompt": "consent"},
    )
    use_providers(settings, (made,))
    urls = [depart(Client(), provider="double") for _each in range(3)]
    for url in urls:
        assert "scope=openid+offline_access+groups+email+profile&" in url
        assert "&access_type=offline&prompt=consent&" in url
    nonces = {url.partition("nonce=")[2].partition("&")[0] for url in urls}
    assert len(nonces) == 3 and all(len(nonce) >= 32 for nonce in nonces)
    assert allauth_settings((made,))["openid_connect"]["OAUTH_PKCE_ENABLED"]


# --- The page ---

KINDS = {"allowed": 403, "cancelled": 403, "stale": 400, "trouble": 503}


def test_every_refusal_is_one_kind_of_page_with_a_reference_that_is_in_the_log(double, settings, attacked):
    pages = {
        "stale": Client().get(f"{LOGIN}callback/"),
        "cancelled": returned(double, error="access_denied"),
        "trouble": returned(double, error="server_error"),
    }
    use_providers(settings, (double.provider(allowed_groups=frozenset({"nobody"})),))
    double.is_person("stranger")
    pages["allowed"] = double.sign_in(Client())
    failures = {kind: attacked(page, KINDS[kind]) for kind, page in pages.items()}
    assert failures == {
        "stale": "state", "cancelled": "access_denied", "trouble": "error_answer",
        "allowed": "not in an allowed group",
    }  # fmt: skip
    references = {kind: REFERENCE.findall(page.content.decode())[0] for kind, page in pages.items()}
    assert all(one != other for one, other in permutations(references.values(), 2))
    assert all("give your administrator this reference" in page.content.decode() for page in pages.values())
    assert pages["trouble"]["Retry-After"] == "10"
    refusal = AuditEvent.objects.get(action="sign_in_refused")
    assert refusal.new["reference"] == references["allowed"]
    assert "reference" not in AuditEvent.objects.filter(action="sign_in").first().new


def returned(double, **query):
    client = Client()
    state = depart(client, provider="double").partition("state=")[2].partition("&")[0]
    return client.get(double.callback(state=state, **query))


def test_a_code_is_never_in_the_log_of_a_refusal(double, caplog):
    caplog.set_level(logging.DEBUG)
    double.sign = FORGED["alg none"][0]
    double.sign_in(Client())
    everything = "\n".join(str(record.__dict__) for record in caplog.records if "portal" in record.name)
    assert everything
    assert not any(secret in everything for secret in (CODE, SECRET, "an-access-token"))
