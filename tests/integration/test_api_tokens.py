"""Who may call the API: the bearer of a token that is good, from where it is good, for what it is good; nobody else."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import services, tokens
from peers.models import ApiToken, Peer, Scope, ServiceAccount
from portal.models import User
from tests import rows
from tests.integration.pages import signed_in
from tests.integration.programs import INTERFACES, PEERS, PROGRAMS_ADDRESS, REGISTER, Program, told

INVALID = (401, "token_invalid", None)


@pytest.fixture
def token(builders):
    return rows.token(builders)


# --- What a token is ---


def test_a_token_is_a_known_prefix_and_256_random_bits(builders):
    texts = {rows.token(builders)[1] for _ in range(50)}
    assert len(texts) == 50
    for text in texts:
        assert text.startswith("latchkey_")
        assert len(text) == len("latchkey_") + 43


def test_of_a_token_its_hash_and_its_beginning_are_kept_and_no_more(builders, database, token):
    row, text = token
    assert row.token_hash == tokens.digest(text) != text
    assert row.beginning == text[:17]
    dump = "".join(database.sql(f"SELECT to_jsonb(t) FROM {table} t") for table in tables(database))
    assert row.beginning in dump
    assert text not in dump
    assert text[17:] not in dump


def tables(database):
    return database.sql("SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public'").split()


# --- When it is good ---

SPOILED = {
    "revoked": lambda token: services.revoke_token(
        actor=services.Actor(), token=token, at=timezone.now()
    ),
    "of a suspended account": lambda token: services.suspend_account(
        actor=services.Actor(), account=token.service_account, at=timezone.now(), reason="x"
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", list(SPOILED))
def test_a_token_that_is_good_no_more_is_refused_at_once_everywhere(builder, builders, wg0, how):
    pk = builder.enrol().json()["id"]
    SPOILED[how](builders.tokens.get())
    for act in (builder.get, builder.enrol, lambda: builder.get(INTERFACES), lambda: builder.renew(pk),
                lambda: builder.revoke(pk), lambda: builder.rename(pk, "x")):  # fmt: skip
        assert told(act()) == INVALID
    assert builder.register().status_code == 401
    assert Peer.objects.count() == 1


def test_a_token_whose_time_is_over_is_refused(builders):
    past = timezone.now() - timedelta(hours=2)
    _, text = rows.token(builders, at=past, expires_at=past + timedelta(hours=1))
    assert told(Program(text).get()) == INVALID


def test_the_tokens_of_a_restored_account_are_good_again_and_so_are_its_machines(builder, builders):
    pk = builder.enrol().json()["id"]
    act = {"actor": services.Actor(), "account": builders}
    services.suspend_account(**act, at=timezone.now(), reason="x")
    assert not Peer.objects.entitled(timezone.now()).exists()
    services.restore_account(**act)
    assert builder.ids() == [pk]
    assert Peer.objects.entitled(timezone.now()).exists()


WITHOUT_ACCESS = {
    "is inactive": {"is_active": False},
    "has no access at the provider any more": {
        "access_ended_at": timezone.now(),
        "access_end_reason": "refused",
    },
    "signed in longer ago than any lease": {"signed_in_at": timezone.now() - timedelta(days=8)},
    "has a sign-in that counts for less": {
        "signed_in_at": timezone.now() - timedelta(days=2),
        "lease_limit": timedelta(days=1),
    },
    "never signed in": {"signed_in_at": None},
}


@pytest.mark.parametrize("case", list(WITHOUT_ACCESS))
def test_the_token_of_a_person_without_access_is_refused(alice, laptop, case):
    program = Program(rows.token(alice)[1])
    assert program.ids() == [str(laptop.pk)]
    User.objects.filter(pk=alice.pk).update(**WITHOUT_ACCESS[case])
    assert told(program.get()) == INVALID


def test_a_persons_token_is_good_while_their_sign_in_keeps_a_device_on_any_interface(alice):
    program = Program(rows.token(alice)[1])
    User.objects.filter(pk=alice.pk).update(signed_in_at=timezone.now() - timedelta(days=8))
    assert told(program.get()) == INVALID
    rows.interface("wg1", lease=None)
    assert program.get().status_code == 200
    User.objects.filter(pk=alice.pk).update(lease_limit=timedelta(days=1))
    assert told(program.get()) == INVALID


NO_TOKENS = {
    "none": "",
    "a guess": "latchkey_" + "x" * 43,
    "its hash": lambda row, text: row.token_hash,
    "its beginning": lambda row, text: row.beginning,
    "a character less": lambda row, text: text[:-1],
    "a character more": lambda row, text: text + "x",
    "another case": lambda row, text: text.upper(),
    "very long": "x" * 5000,
    "a quote": "'; DROP TABLE peers_peer; --",
    "a percent sign": "%",
    "no ASCII": "t\u00f6ken",
    "control characters": "\x7f\x01",
}  # fmt: skip


def test_whatever_is_no_token_is_refused_in_one_way(wg0, token, subtests):
    expected = Program().get()
    for case, made in NO_TOKENS.items():
        with subtests.test(case):
            text = made(*token) if callable(made) else made
            answer = Client(headers={"Authorization": f"Bearer {text}"}).get(PEERS)
            assert told(answer) == INVALID
            assert answer.content == expected.content


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer {}", 200),
        ("bearer {}", 200),
        ("BEARER   {}  ", 200),
        ("{}", 401),
        ("Token {}", 401),
        ("Basic {}", 401),
        ("Bearer{}", 401),
        ("Bearer", 401),
        ("Bearer {},Bearer x", 401),
    ],
)
def test_a_token_comes_in_the_header_and_in_one_form(wg0, token, header, status):
    answer = Client(headers={"Authorization": header.format(token[1])}).get(PEERS)
    assert answer.status_code == status


def test_a_token_anywhere_else_is_not_looked_at(wg0, token):
    text = token[1]
    assert Client().get(PEERS, {"token": text, "access_token": text}).status_code == 401
    assert Client(headers={"X-Api-Key": text, "Cookie": f"token={text}"}).get(PEERS).status_code == 401


# --- Scopes ---

NEEDS = {
    "enrol": (lambda program, pk: program.enrol(), Scope.ENROL),
    "register": (lambda program, pk: program.register("x"), Scope.ENROL),
    "renew": (lambda program, pk: program.renew(pk), Scope.ENROL),
    "rename": (lambda program, pk: program.rename(pk, "x"), Scope.ENROL),
    "list": (lambda program, pk: program.get(), Scope.READ),
    "read": (lambda program, pk: program.get(f"{PEERS}/{pk}"), Scope.READ),
    "interfaces": (lambda program, pk: program.get(INTERFACES), Scope.READ),
    "revoke": (lambda program, pk: program.revoke(pk), Scope.REVOKE),
}


@pytest.mark.parametrize("act", list(NEEDS))
def test_an_act_needs_its_scope_and_no_other_will_do(builders, wg0, act):
    do, needed = NEEDS[act]
    pk = rows.machine(builders, wg0).pk
    others = [scope for scope in Scope if scope != needed]
    answer = do(Program(rows.token(builders, *others)[1]), pk)
    assert answer.status_code == 403
    if act != "register":
        assert told(answer) == (403, "scope_missing", None)
    assert needed.value in answer.content.decode()
    assert do(Program(rows.token(builders, needed)[1]), pk).status_code < 401


# --- Source networks ---


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("10.1.2.3", 200),
        ("10.2.0.0", 403),
        ("2001:db8::7", 200),
        ("2001:db9::7", 403),
        ("::ffff:10.1.2.3", 200),
        ("", 403),
    ],
)
def test_a_token_is_taken_from_its_accounts_networks_alone(wg0, address, status):
    account = rows.account(wg0, source_networks=["10.1.0.0/16", "2001:db8::/32"])
    answer = Program(rows.token(account)[1], address).get()
    assert answer.status_code == status
    if status == 403:
        assert told(answer) == (403, "source_not_allowed", None)


def test_the_address_is_what_a_trusted_proxy_says_and_never_what_the_client_says(wg0, settings):
    account = rows.account(wg0, source_networks=["10.1.0.0/16"])
    text = rows.token(account)[1]
    forged = {"X-Forwarded-For": "10.1.2.3"}
    settings.LATCHKEY_TRUSTED_PROXY_HOPS = 0
    assert Program(text, "203.0.113.7", **forged).get().status_code == 403
    settings.LATCHKEY_TRUSTED_PROXY_HOPS = 1
    assert Program(text, "203.0.113.7", **forged).get().status_code == 200
    forged = {"X-Forwarded-For": "10.1.2.3, 198.51.100.7"}
    assert Program(text, "203.0.113.7", **forged).get().status_code == 403


# --- Its last use ---


def test_when_and_from_where_a_token_was_last_used_is_kept_to_the_minute(builder, builders):
    builder.get()
    row = builders.tokens.get()
    assert abs(row.last_used_at - timezone.now()) < timedelta(seconds=20)
    assert row.last_used_from == PROGRAMS_ADDRESS
    at = row.last_used_at
    builder.get()
    row.refresh_from_db()
    assert row.last_used_at == at
    ApiToken.objects.update(last_used_at=at - timedelta(seconds=61))
    builder.get()
    row.refresh_from_db()
    assert row.last_used_at > at - timedelta(seconds=1)


def test_a_use_within_the_minute_costs_no_statement_and_of_two_at_once_one_is_kept(builder, builders):
    stale = builders.tokens.get()
    builder.get()
    kept = builders.tokens.get().last_used_at
    with CaptureQueriesContext(connection) as asked:
        builder.get()
    assert not [query for query in asked if 'UPDATE "peers_apitoken"' in query["sql"]]
    services.note_use(stale, source="192.0.2.1", at=kept + timedelta(seconds=59))
    assert builders.tokens.get().last_used_at == kept


def test_a_refused_use_is_none(builders):
    ServiceAccount.objects.update(source_networks=["10.0.0.0/8"])
    Program(rows.token(builders)[1]).get()
    Program(rows.token(builders, Scope.READ)[1]).enrol()
    assert not ApiToken.objects.exclude(last_used_at=None).exists()


# --- Cookies, pages, other sites ---


def test_a_cookie_never_authenticates_the_api(alice, root, laptop):
    for person in (alice, root):
        browser = signed_in(person)
        assert browser.get("/").status_code == 200
        assert told(browser.get(PEERS)) == INVALID
        assert told(browser.post(PEERS, {"public_key": rows.public_key()}, "application/json")) == INVALID
        assert told(browser.delete(f"{PEERS}/{laptop.pk}")) == INVALID
        assert browser.post(REGISTER, {"public_key": "x"}, "application/json").status_code == 401
    assert Peer.objects.filter(revoked_at=None).count() == 1


def test_a_token_beside_a_cookie_acts_for_its_own_holder_alone(builders, wg0, root):
    browser = signed_in(root)
    made = browser.post(
        PEERS, {"public_key": rows.public_key()}, "application/json",
        headers={"Authorization": f"Bearer {rows.token(builders)[1]}"},
    )  # fmt: skip
    peer = Peer.objects.get(pk=made.json()["id"])
    assert (peer.owner, peer.service_account) == (None, builders)
    event = peer.events.get(action="enrol")
    assert (event.actor, event.actor_kind) == (None, "machine")


def test_no_answer_of_the_api_sets_a_cookie(builder, builders):
    for answer in (builder.get(), builder.enrol(), Program().get(), Program().get("/api/v1/docs")):
        assert not answer.cookies


@pytest.mark.parametrize("path", ["/", "/admin/", "/devices/link", "/accounts/sessions/", "/metrics"])
def test_a_token_never_authenticates_a_page(alice, root, path):
    for person in (alice, root):
        answer = Program(rows.token(person)[1]).get(path)
        assert answer.status_code == Client().get(path).status_code
        assert answer.status_code in (302, 404)


def test_a_token_does_not_open_a_devices_page(alice, laptop):
    program = Program(rows.token(alice)[1])
    assert program.get(f"/devices/{laptop.pk}/status").status_code == 401
    assert program.get(f"/devices/{laptop.pk}/config").status_code == 302
    assert program.post(f"/devices/{laptop.pk}/revoke").status_code == 302
    assert not Peer.objects.exclude(revoked_at=None).exists()


def test_no_other_site_is_let_in(builder):
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for path in (PEERS, INTERFACES, REGISTER, "/api/v1/openapi.json"):
        for method in ("OPTIONS", "GET", "POST"):
            answer = builder.browser.generic(method, path, headers=origin)
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]
            assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
