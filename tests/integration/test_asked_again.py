"""What comes with an answer about a person: an id_token is checked, no token is logged."""

import logging
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from portal.access import revalidation
from portal.access.revalidation import revalidate
from portal.logs import Formatter
from portal.models import RefreshToken
from tests.integration.refreshing import entitled, now

pytestmark = pytest.mark.usefixtures("database")

FORGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


# --- The id_token that may come with a refresh ---


def forged(claims):
    return jwt.encode(claims, FORGER, "RS256", {"kid": "first"})


def unsigned(claims):
    return jwt.encode(claims, None, "none", {"kid": "first"})


# What of a right token is another, who signs it, and the word for it.
FALSE = {
    "forged": ({}, forged, "bad_id_token"),
    "unsigned": ({}, unsigned, "bad_algorithm"),
    "no token": ({}, lambda _claims: "a.b.c", "bad_id_token"),
    "expired": ({"iat": int(time.time()) - 400, "exp": int(time.time()) - 120}, None, "token_expired"),
    "somebody else's": ({"sub": "eve"}, None, "sub_mismatch"),
    "for another client": ({"aud": "wiki"}, None, "wrong_audience"),
    "of another issuer": ({"iss": "https://idp.example"}, None, "wrong_token_issuer"),
}


def test_an_id_token_that_comes_with_a_refresh_is_checked_as_at_a_sign_in(idp, hire, subtests):
    hire("alice")
    idp.signed = lambda sub: idp.sign({**idp.id_token, "sub": sub})
    assert revalidate(now()) == {"fine": 1}
    for case, (claims, sign, trouble) in FALSE.items():
        with subtests.test(case):
            RefreshToken.objects.update(due_at=now(), failures=0)
            changed = idp.id_token | {"sub": "alice"} | claims
            idp.signed = lambda _sub, sign=sign or idp.sign, changed=changed: sign(changed)
            assert revalidate(now()) == {"cannot_tell": 1}
            assert RefreshToken.objects.get().trouble == trouble
            assert entitled() == {"alice"}


def test_who_is_disabled_by_the_id_tokens_word_is_gone_and_by_a_forgers_is_not(idp, hire):
    hire("alice")
    for sign, outcome in ((forged, "cannot_tell"), (idp.sign, "gone")):
        RefreshToken.objects.update(due_at=now())
        idp.signed = lambda sub, sign=sign: sign({**idp.id_token, "sub": sub, "active": False})
        assert revalidate(now()) == {outcome: 1}
    assert entitled() == set()


# --- Logs ---


def test_no_token_is_ever_logged(idp, hire, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    for name in ("refused", "groupless", "rotated", "unforeseen", "false"):
        hire(name)
    given = [idp.token(name) for name in idp.latest]
    right, signed = revalidation.read, []

    def read(provider, claims, known):
        if claims["sub"] == "unforeseen":
            raise RuntimeError("nobody thought of that")
        return right(provider, claims, known)

    def sign(sub):
        signed.append(idp.sign({**idp.id_token, "sub": "eve" if sub == "false" else sub}))
        return signed[-1]

    monkeypatch.setattr(revalidation, "read", read)
    idp.signed = sign
    idp.out.add("refused")
    idp.groups["groupless"] = None
    assert revalidate(now()) == {"gone": 1, "cannot_tell": 3, "fine": 1}
    given += [idp.token(name) for name in idp.latest]
    assert "rotated.2" in given and len(signed) == 4
    trace = "\n".join(Formatter().format(record) for record in caplog.records)
    assert "nobody thought of that" in trace  # a trace is among it, and what it holds of values
    everything = trace + "\n".join(str(record.__dict__) for record in caplog.records)
    accesses = [f"of-{name}" for name in idp.latest]
    assert [token for token in (*given, *signed, *accesses) if token in everything] == []
