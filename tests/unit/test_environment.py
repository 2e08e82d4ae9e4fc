"""Settings are read from the environment, and a value that cannot be used stops the start with a sentence."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from portal import environment, oidc_config

ROOT = Path(__file__).parent.parent.parent
PROVIDER = {
    "id": "corp",
    "issuer": "https://idp.example/realm",
    "client_id": "latchkey",
    "client_secret": "s3cret",
}


@pytest.fixture
def value(monkeypatch):
    return lambda text: monkeypatch.setenv("X", text)


@pytest.fixture
def providers(monkeypatch):
    def read(*entries):
        monkeypatch.setenv("X", json.dumps(entries))
        return oidc_config.providers("X")

    return read


def start(**changes):
    """Import the settings in a process of its own and return how that ended."""
    variables = {name: text for name, text in {**os.environ, **changes}.items() if text is not None}
    return subprocess.run(
        [sys.executable, "-c", "import portal.settings"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("X", raising=False)
    with pytest.raises(ImproperlyConfigured, match="X is not set"):
        environment.text("X")


def test_a_secret_may_stand_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("from the file\n")
    monkeypatch.setenv("X_FILE", str(tmp_path / "secret"))
    assert environment.text("X") == "from the file"


def test_a_file_that_cannot_be_read_stops_the_start(monkeypatch, tmp_path):
    monkeypatch.setenv("X_FILE", str(tmp_path / "missing"))
    with pytest.raises(ImproperlyConfigured, match="X_FILE cannot be read: No such file"):
        environment.text("X", "default")


def test_a_file_that_is_no_text_stops_the_start(monkeypatch, tmp_path):
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("X_FILE", str(tmp_path / "secret"))
    with pytest.raises(ImproperlyConfigured, match="X_FILE must name a file of UTF-8 text"):
        environment.text("X")


@pytest.mark.parametrize(("text", "flag"), [("true", True), ("1", True), ("False", False), ("0", False)])
def test_a_flag_is_true_or_false(value, text, flag):
    value(text)
    assert environment.flag("X", default=not flag) is flag


@pytest.mark.parametrize("text", ["yes", "", "on"])
def test_a_flag_that_is_neither_is_refused(value, text):
    value(text)
    with pytest.raises(ImproperlyConfigured, match="X must be true or false"):
        environment.flag("X", default=True)


def test_a_number_must_be_whole(value):
    value("1.5")
    with pytest.raises(ImproperlyConfigured, match="X must be a whole number"):
        environment.number("X", 0)


def test_a_number_that_is_too_small_is_refused_with_the_least(value):
    value("0")
    assert environment.number("X", 5) == 0
    with pytest.raises(ImproperlyConfigured, match="X must be a whole number, at least 1"):
        environment.number("X", 5, least=1)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "315360001", "1h"])
def test_seconds_are_a_whole_number_from_one_to_ten_years(value, text):
    value(text)
    with pytest.raises(ImproperlyConfigured, match="X must be a"):
        environment.seconds("X", 60)


def test_seconds_are_read_and_have_a_default(value, monkeypatch):
    value("315360000")
    assert environment.seconds("X", 60) == timedelta(days=3650)
    monkeypatch.delenv("X")
    assert environment.seconds("X", 60) == timedelta(minutes=1)


def test_words_are_trimmed_and_empty_ones_dropped(value):
    value(" a, ,b ,")
    assert environment.words("X") == ["a", "b"]


@pytest.mark.parametrize("text", ["short", "a" * 60, "abcabcabc" * 8])
def test_a_weak_secret_is_refused_with_how_to_make_one(value, text):
    value(text)
    with pytest.raises(ImproperlyConfigured, match=r"X is too weak.*secrets\.token_urlsafe"):
        environment.secret("X", length=50)


@pytest.mark.parametrize(
    "text", ["", "not-a-key", f"{Fernet.generate_key().decode()},short"], ids=["none", "short", "second"]
)
def test_an_encryption_key_that_is_none_is_refused_with_how_to_make_one(value, text):
    value(text)
    with pytest.raises(ImproperlyConfigured, match=r"Fernet\.generate_key"):
        environment.fernet_keys("X")


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '"text"'])
def test_what_is_not_a_json_list_of_objects_is_refused(value, text):
    value(text)
    with pytest.raises(ImproperlyConfigured, match="X"):
        oidc_config.providers("X")


@pytest.mark.parametrize("name", ["SECRET_KEY", "LATCHKEY_URL", "DATABASE_URL", "LATCHKEY_ENCRYPTION_KEYS"])
def test_the_start_stops_without_a_required_variable_and_names_it(name):
    done = start(**{name: None})
    assert done.returncode != 0
    assert f"{name} is not set" in done.stderr


def test_the_start_stops_with_a_weak_secret_key():
    assert "SECRET_KEY is too weak" in start(SECRET_KEY="changeme").stderr


@pytest.mark.parametrize(
    "url", ["portal.example", "ftp://portal.example", "https://portal.example/below", "https://"]
)
def test_the_start_stops_with_an_address_that_is_no_site(url):
    assert "LATCHKEY_URL must be" in start(LATCHKEY_URL=url).stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LATCHKEY_REVALIDATE_PARALLEL", "0"),
        ("LATCHKEY_RESTORE_DEVICES_WITHIN", "-1"),
        ("LATCHKEY_TRUSTED_PROXY_HOPS", "-1"),
    ],
)
def test_the_start_stops_with_a_count_of_nothing_or_less(name, text):
    assert f"{name} must be a whole number, at least" in start(**{name: text}).stderr


def test_debugging_is_off_unless_asked_for():
    done = subprocess.run(
        [sys.executable, "-c", "from portal import settings; print(settings.DEBUG)"],
        cwd=ROOT, env={name: text for name, text in os.environ.items() if name != "DEBUG"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "False\n"


def test_nothing_of_the_demo_is_loaded_by_the_portal():
    names = "import sys; from portal import wsgi, urls; from django.conf import settings; "
    code = names + "print([n for n in [*sys.modules, *settings.INSTALLED_APPS] if 'demo' in n or 'idp' in n])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr


# --- Identity providers ---


def test_a_provider_is_read_with_its_defaults(providers):
    (provider,) = providers(PROVIDER)
    assert (provider.id, provider.name, provider.issuer) == ("corp", "corp", "https://idp.example/realm")
    assert (provider.groups_claim, provider.admin_groups, provider.allowed_groups) == (
        "groups",
        frozenset(),
        None,
    )


def test_a_provider_with_an_empty_name_is_called_by_its_id(providers):
    assert providers({**PROVIDER, "name": ""})[0].name == "corp"


def test_no_variable_means_no_provider(monkeypatch):
    monkeypatch.delenv("X", raising=False)
    assert oidc_config.providers("X") == ()


def test_a_providers_secret_is_not_in_its_repr(providers):
    assert "s3cret" not in repr(providers(PROVIDER))


def test_a_providers_secret_may_stand_in_a_file(providers, tmp_path):
    (tmp_path / "secret").write_text("from the file\n")
    entry = {**PROVIDER, "client_secret_file": str(tmp_path / "secret")}
    del entry["client_secret"]
    assert providers(entry)[0].client_secret == "from the file"


@pytest.mark.parametrize(
    "issuer", ["http://127.0.0.1:8001", "http://localhost:8001", "http://[::1]:8001", "https://idp.example/"]
)
def test_an_issuer_is_https_or_on_this_machine(providers, issuer):
    assert providers({**PROVIDER, "issuer": issuer})[0].issuer == issuer


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"id": "Corp"}, "the id 'Corp' must be"),
        ({"id": "../x"}, "must be 1 to 40"),
        ({"id": ""}, "lacks id"),
        ({"id": "-a"}, "must be 1 to 40"),
        ({"id": "a\n"}, "must be 1 to 40"),
        ({"issuer": "http://idp.example"}, "must be an https address"),
        ({"issuer": "https://"}, "must be an https address"),
        ({"issuer": "https://user@idp.example"}, "must be an https address"),
        ({"issuer": "https://idp.example?a=b"}, "must be an https address"),
        ({"issuer": "https://idp.example#x"}, "must be an https address"),
        ({"issuer": "ftp://127.0.0.1"}, "must be an https address"),
        ({"issuer": "http://127.0.0.1.evil.example"}, "must be an https address"),
        ({"issuer": "https://idp.example/" + "x" * 255}, "must be an https address"),
        ({"client_id": ""}, "lacks client_id"),
        ({"client_secret": ""}, "lacks client_secret"),
        ({"client_secret_file": "/nowhere"}, "not both"),
        ({"groups_claim": ["groups"]}, "groups_claim must be text"),
        ({"admin_groups": "admins"}, "admin_groups must be a list of texts"),
        ({"admin_groups": [1]}, "admin_groups must be a list of texts"),
        ({"allowed_groups": []}, "nobody could sign in"),
        ({"allowed_groups": ["staff", "VPN "]}, "'VPN ' in allowed_groups of corp is no group that a person"),
        ({"allowed_groups": ["VPN  Users"]}, "'VPN  Users' in allowed_groups of corp is no group"),
        ({"allowed_groups": [""]}, "'' in allowed_groups of corp is no group"),
        ({"admin_groups": ["VPN\u00a0Admins"]}, "in admin_groups of corp is no group"),
        ({"admin_groups": ["g" * 256]}, "in admin_groups of corp is no group"),
        ({"group_names": {"6f2a\n": "Admins"}}, "in group_names of corp is no group"),
        ({"allowed_groups": ["staff"], "groups_claim": ""}, "allowed_groups of corp needs a groups_claim"),
        ({"admin_groups": ["admins"], "groups_claim": ""}, "admin_groups of corp needs a groups_claim"),
        ({"admin_group": ["x"]}, "unknown key 'admin_group'; the keys are"),
        ({"server_url": "https://x"}, "unknown key 'server_url'"),
        ({"scopes": "openid"}, "scopes must be a list of texts"),
        ({"scopes": ["openid profile"]}, "'openid profile' in scopes of corp is not one scope"),
        ({"scopes": [""]}, "'' in scopes of corp is not one scope"),
        ({"scopes": ["e-mail\n"]}, "in scopes of corp is not one scope"),
        ({"authorization_params": ["prompt"]}, "authorization_params must be an object of texts"),
        ({"authorization_params": {"prompt": 1}}, "authorization_params must be an object of texts"),
        ({"authorization_params": {"nonce": "x"}}, "may not set nonce: Latchkey does"),
        ({"authorization_params": {"a": "b", "redirect_uri": "https://x"}}, "may not set redirect_uri"),
        ({"authorization_params": {"acr_values": "x"}}, "may not set acr_values"),
        ({"authorization_params": {"prompt": "none"}}, "may not set prompt to none: nobody could sign in"),
        ({"authorization_params": {"prompt": "consent none"}}, "may not set prompt to none"),
        ({"group_names": ["admins"]}, "group_names must be an object of texts"),
        ({"group_names": {"6f2a": None}}, "group_names must be an object of texts"),
        ({"enrol_requires": "mfa"}, "enrol_requires must be an object such as"),
        ({"enrol_requires": None}, "enrol_requires must be an object such as"),
        ({"enrol_requires": {"acr": "mfa"}}, "enrol_requires must be an object such as"),
        ({"enrol_requires": {"acr": [1]}}, "enrol_requires must be an object such as"),
        ({"admin_requires": {"amr": "hwk"}}, "admin_requires must be an object such as"),
        ({"admin_requires": {"max_age": 0}}, "admin_requires must be an object such as"),
        ({"admin_requires": {"max_age": True}}, "admin_requires must be an object such as"),
        ({"admin_requires": {"max_age": "60"}}, "admin_requires must be an object such as"),
        ({"admin_requires": {"maxage": 60}}, "admin_requires must be an object such as"),
        ({"enrol_requires": {}}, "enrol_requires requires nothing; name an acr, an amr or a max_age"),
        ({"enrol_requires": {"acr": [], "amr": []}}, "enrol_requires requires nothing"),
        ({"enrol_requires": {"acr": [""]}}, "'' in enrol_requires is not one word"),
        ({"admin_requires": {"acr": ["gold", "gold silver"]}}, "'gold silver' in admin_requires is not one"),
        ({"admin_requires": {"amr": ["hwk\n"]}}, "in admin_requires is not one word"),
        ({"admin_requires": {"max_age": 59}}, "max_age in admin_requires must be at least 60 seconds"),
        ({"id_token_lifetime": 0}, "id_token_lifetime must be a number of seconds, 1 to 100000000"),
        ({"id_token_lifetime": 10**8 + 1}, "id_token_lifetime must be a number of seconds, 1 to 100000000"),
        ({"id_token_lifetime": "3600"}, "id_token_lifetime must be a number of seconds"),
        ({"id_token_lifetime": True}, "id_token_lifetime must be a number of seconds"),
        ({"id_token_lifetime": 172801}, "id_token_lifetime of corp is beyond two days"),
    ],
)
def test_a_provider_that_cannot_be_right_is_refused_with_a_sentence(providers, changes, sentence):
    with pytest.raises(ImproperlyConfigured, match=f"X: .*{sentence}"):
        providers({**PROVIDER, **changes})


def test_what_is_asked_of_a_provider_is_read(providers):
    (provider,) = providers(
        {
            **PROVIDER,
            "scopes": ["groups", "openid", "groups"],
            "authorization_params": {"prompt": "consent"},
            "group_names": {"6f2a": "Admins"},
            "enrol_requires": {"acr": ["mfa"]},
            "admin_requires": {"amr": ["hwk", "pin"], "max_age": 3600},
            "id_token_lifetime": 172800,
        }
    )
    assert provider.scopes == ("openid", "groups")
    assert (provider.authorization_params, provider.group_names) == (
        {"prompt": "consent"},
        {"6f2a": "Admins"},
    )
    assert provider.enrol_requires == oidc_config.Requirement(acr=("mfa",))
    assert provider.admin_requires == oidc_config.Requirement(amr=("hwk", "pin"), max_age=timedelta(hours=1))
    assert provider.id_token_lifetime == timedelta(days=2)


def test_the_shortest_age_that_can_be_required_is_a_minute(providers):
    (provider,) = providers({**PROVIDER, "admin_requires": {"max_age": 60}})
    assert provider.admin_requires == oidc_config.Requirement(max_age=timedelta(minutes=1))


def test_a_group_that_a_person_can_have_may_be_configured(providers):
    groups = ["/staff", "VPN Users", "g" * 255, "Büro", "CN=vpn,OU=x"]
    (provider,) = providers({**PROVIDER, "allowed_groups": groups, "admin_groups": groups})
    assert provider.allowed_groups == provider.admin_groups == set(groups)


def test_what_is_not_asked_of_a_provider_has_its_defaults(providers):
    (provider,) = providers(PROVIDER)
    assert provider.scopes == ("openid", "profile", "email")
    assert (provider.authorization_params, provider.group_names) == ({}, {})
    assert provider.enrol_requires == provider.admin_requires == oidc_config.Requirement()
    assert provider.id_token_lifetime == timedelta(hours=1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "X: client_secret_file cannot be read: No such file"),
        (b"", "X: client_secret_file is empty; write the client's secret into it"),
        (b" \n", "X: client_secret_file is empty"),
        (b"\xff\xfe", "X: client_secret_file must name a file of UTF-8 text"),
    ],
)
def test_a_secret_file_without_a_secret_is_refused(providers, tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    entry = {**PROVIDER, "client_secret_file": str(tmp_path / "secret")}
    del entry["client_secret"]
    with pytest.raises(ImproperlyConfigured, match=sentence):
        providers(entry)


def test_two_providers_may_not_share_an_id(providers):
    with pytest.raises(ImproperlyConfigured, match="two providers have the same id"):
        providers(PROVIDER, {**PROVIDER, "issuer": "https://other.example"})


def test_two_providers_may_not_share_an_issuer(providers):
    with pytest.raises(ImproperlyConfigured, match="two providers have the same issuer"):
        providers(PROVIDER, {**PROVIDER, "id": "other"})


def test_a_trailing_slash_does_not_make_another_issuer(providers):
    with pytest.raises(ImproperlyConfigured, match="two providers have the same issuer"):
        providers(PROVIDER, {**PROVIDER, "id": "other", "issuer": PROVIDER["issuer"] + "/"})


def test_a_provider_is_found_again_by_its_id_and_to_the_letter_by_its_issuer(providers, settings):
    settings.OIDC_PROVIDERS = providers(
        PROVIDER, {**PROVIDER, "id": "other", "issuer": "https://other.example/"}
    )
    corp, other = settings.OIDC_PROVIDERS
    assert (oidc_config.by_id("corp"), oidc_config.by_id("other")) == (corp, other)
    assert oidc_config.by_issuer("https://other.example/") == other
    for unknown in ("", "https://other.example", "corp"):
        assert oidc_config.by_issuer(unknown) is None
    assert oidc_config.by_id("https://other.example/") is None


@pytest.mark.parametrize("text", ["0", "65536", "-1", "smtp"])
def test_a_port_is_a_number_that_a_port_can_be(value, text):
    value(text)
    with pytest.raises(ImproperlyConfigured, match="X must be a"):
        environment.port("X", 25)


def test_a_choice_is_one_of_those_named(value):
    value("tls")
    assert environment.choice("X", "starttls", "tls", "none") == "tls"
    value("TLS")
    with pytest.raises(ImproperlyConfigured, match="X must be starttls, tls or none"):
        environment.choice("X", "starttls", "tls", "none")


@pytest.mark.parametrize(
    ("tls", "expected"),
    [("starttls", "True False 587"), ("tls", "False True 465"), ("none", "False False 25")],
)
def test_a_mail_server_is_reached_as_its_kind_of_tls_wants(tls, expected):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from portal.settings import *; print(EMAIL_BACKEND, EMAIL_USE_TLS, EMAIL_USE_SSL, EMAIL_PORT)",
        ],
        cwd=ROOT,
        env={**os.environ, "LATCHKEY_SMTP_HOST": "mail.example.com", "LATCHKEY_SMTP_TLS": tls},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"django.core.mail.backends.smtp.EmailBackend {expected}"


def test_seconds_are_at_least_one_or_zero_where_that_means_never(value):
    value("0")
    assert environment.seconds("X", 300, or_zero=True) == timedelta(0)
    with pytest.raises(ImproperlyConfigured, match="X must be a number of seconds, 1 to 315360000"):
        environment.seconds("X", 300)
    value("-1")
    with pytest.raises(ImproperlyConfigured, match="X must be 0, or a number of seconds, 1 to 315360000"):
        environment.seconds("X", 300, or_zero=True)


def test_no_administrator_has_to_be_back_from_a_confirmation_within_less_than_a_minute():
    refused = start(LATCHKEY_ADMIN_ACT_AGE="59").stderr
    assert "LATCHKEY_ADMIN_ACT_AGE must be 0, or a number of seconds, 60 to" in refused


# --- Rates ---

RATES = {"token": 600, "read": 600, "revoke": 600}


def rates():
    return environment.rates("X", RATES, least={"revoke": 60})


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", {}),
        ("token=60", {"token": 60}),
        (" token=60 , read=0 ", {"token": 60, "read": 0}),
        ("revoke=60", {"revoke": 60}),
        ("revoke=0", {"revoke": 0}),
        ("token=1000000000", {"token": 1_000_000_000}),
        ("token=1,token=2", {"token": 2}),
    ],
)
def test_rates_are_the_defaults_but_for_what_is_named(value, text, changed):
    value(text)
    assert rates() == RATES | changed


def test_rates_that_are_not_set_are_the_defaults(monkeypatch):
    monkeypatch.delenv("X", raising=False)
    assert rates() == RATES


@pytest.mark.parametrize(
    "text",
    [
        "token", "token=", "token=-1", "token=1.5", "token=many", "token=1000000001", "tokens=60", "=60", "token:60",
        "token=60;read=1", "token=6 0",
    ],
)  # fmt: skip
def test_a_rate_that_is_none_stops_the_start_and_says_which_there_are(value, text):
    value(text)
    with pytest.raises(
        ImproperlyConfigured, match="X must be like token=60,account=600; it knows token, read, revoke"
    ):
        rates()


@pytest.mark.parametrize("number", [1, 59])
def test_revoking_is_never_limited_below_sixty_a_minute(value, number):
    value(f"revoke={number}")
    with pytest.raises(ImproperlyConfigured, match="revoke is 0, or at least 60 a minute"):
        rates()


def test_the_portal_does_not_start_with_rates_that_it_does_not_know():
    done = start(LATCHKEY_RATE_LIMITS="tokens=60")
    assert done.returncode != 0
    assert "LATCHKEY_RATE_LIMITS must be like token=60,account=600" in done.stderr
    assert start(LATCHKEY_RATE_LIMITS="token=60,person=0").returncode == 0
