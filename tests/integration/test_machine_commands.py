"""The commands of service accounts, their tokens and their machines: what they print, what they refuse, what is on record."""

import re
import subprocess
import sys
import time
from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from peers import services
from peers.models import ApiToken, AuditEvent, Peer, Scope, ServiceAccount
from peers.tokens import digest
from tests import rows
from tests.conftest import ROOT, WEB
from tests.integration.test_commands import enrolment, refused

ACCOUNT = ("create_account", "ci runner", "--team", "Build", "--interface", "wg0")
TOKEN = ("create_token", "ci runner", "--name", "deploy")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def runner(wg0):
    return rows.account(wg0, name="ci runner")


# --- As processes ---


def test_an_account_a_token_and_its_revocation_from_the_shell_are_recorded_as_a_commands(database):
    rows.interface()
    created = database.manage(*ACCOUNT, role=WEB)
    assert (created.returncode, created.stderr) == (0, "")
    assert "manage.py create_token 'ci runner'" in created.stdout
    made = database.manage(*TOKEN, role=WEB)
    token = ApiToken.objects.get()
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(r"latchkey_[A-Za-z0-9_-]{43}\n", made.stdout)
    assert token.token_hash == digest(made.stdout.strip())
    assert token.beginning in made.stderr
    assert made.stdout.strip() not in made.stderr
    revoked = database.call("revoke_token", token.beginning, "--reason", "leaked", role=WEB)
    assert revoked == f"deploy ({token.beginning}…) revoked, 0 machines with it\n"
    assert database.call("expire_unused", role=WEB) == "0 machines were ended.\n"
    events = AuditEvent.objects.order_by("pk").values_list("action", "actor_kind", "actor", "token", "reason")
    assert list(events) == [
        ("create_account", "command", None, None, ""),
        ("make_token", "command", None, None, ""),
        ("revoke_token", "command", None, None, "leaked"),
    ]


def test_the_loop_ends_what_nobody_uses_until_it_is_told_to_stop(database, wg0, gateway, status):
    runner = rows.account(wg0, idle_after=timedelta(minutes=5))
    peer = rows.machine(runner, wg0)
    gateway()
    status(peer, since="now() - interval '6 minutes'")
    process = subprocess.Popen(
        [sys.executable, "manage.py", "expire_unused", "--loop"],
        cwd=ROOT, env=database.environment(WEB), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        give_up = time.monotonic() + 20
        while not AuditEvent.objects.filter(action="expire", peer=peer).exists():
            assert time.monotonic() < give_up
            time.sleep(0.05)
    finally:
        process.terminate()
        assert process.wait(5) == 0


# --- create_account ---


def test_an_account_is_created_with_everything_that_was_said(wg0):
    rows.interface("wg1")
    call_command(
        *ACCOUNT, "--interface", "wg1", "--device-limit", "7", "--default-ttl", "10 min", "--max-ttl", "7200",
        "--idle-after", "1 h", "--source-network", "10.0.0.0/8", "--source-network", "fd00::/8",
    )  # fmt: skip
    made = ServiceAccount.objects.get()
    assert (made.name, made.team, made.device_limit) == ("ci runner", "Build", 7)
    assert sorted(map(str, made.interfaces.all())) == ["wg0", "wg1"]
    assert (made.default_ttl, made.max_ttl, made.idle_after) == (timedelta(minutes=10), 2 * HOUR, HOUR)
    assert made.source_networks == [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("words", "ttls"),
    [
        ((), (HOUR, DAY)),
        (("--default-ttl", "none"), (None, None)),
        (("--default-ttl", "0"), (None, None)),
        (("--max-ttl", "none"), (HOUR, None)),
        (("--default-ttl", "7 d"), (7 * DAY, 7 * DAY)),
        (("--default-ttl", "60", "--max-ttl", "60"), (timedelta(minutes=1), timedelta(minutes=1))),
    ],
)
def test_the_times_of_an_account_that_says_little_fit_each_other(wg0, words, ttls):
    call_command(*ACCOUNT, *words)
    made = ServiceAccount.objects.get()
    assert (made.default_ttl, made.max_ttl, made.idle_after) == (*ttls, None)


def test_an_account_that_cannot_be_is_refused_with_a_sentence(wg0, subtests):
    call_command(*ACCOUNT[:1], "taken", *ACCOUNT[2:])
    for case, (words, sentence) in {
        "no such interface": (
            ("create_account", "x", "--team", "t", "--interface", "wg9"),
            "there is no interface wg9",
        ),
        "an interface that is no text": (
            ("create_account", "x", "--team", "t", "--interface", "\udcff"),
            "there is no interface '\\udcff'",
        ),
        "no team": (("create_account", "x", "--interface", "wg0"), "--team"),
        "an empty team": (("create_account", "x", "--team", " ", "--interface", "wg0"), "have names"),
        "no interface": (("create_account", "x", "--team", "t"), "--interface"),
        "the name of another": (("create_account", "taken", *ACCOUNT[2:]), "already exists"),
        "a name that cannot be": (("create_account", "a\u202eb", *ACCOUNT[2:]), "A name is made of letters"),
        "less than a minute": ((*ACCOUNT, "--default-ttl", "59"), "A time is a minute to ten years"),
        "a time that is none": ((*ACCOUNT, "--default-ttl", "soon"), "10 min"),
        "a usual time beyond the longest": (
            (*ACCOUNT, "--default-ttl", "2 h", "--max-ttl", "1 h"),
            "it is no longer",
        ),
        "idle at once": ((*ACCOUNT, "--idle-after", "60"), "five minutes at the earliest"),
        "a network that is none": ((*ACCOUNT, "--source-network", "10.0.0.1/8"), "--source-network"),
        "a limit below nothing": ((*ACCOUNT, "--device-limit", "-1"), "device_limit"),
    }.items():
        with subtests.test(case):
            assert sentence in refused(*words)
    assert ServiceAccount.objects.count() == 1


# --- create_token and revoke_token ---


def test_a_token_is_made_as_it_was_asked_for(runner, capsys):
    call_command(
        *TOKEN,
        "--scope",
        "peers:enrol",
        "--scope",
        "peers:revoke",
        "--expires-days",
        "3650",
        "--use-limit",
        "5",
    )
    made = ApiToken.objects.get()
    assert (made.service_account, made.scopes, made.use_limit) == (runner, [Scope.ENROL, Scope.REVOKE], 5)
    assert abs(made.expires_at - timezone.now() - 3650 * DAY) < timedelta(minutes=1)
    with pytest.raises(CommandError, match="There is a token of that name already"):
        call_command(*TOKEN)
    call_command(*TOKEN, "--name", "other")
    made = ApiToken.objects.latest("pk")
    assert (made.scopes, made.use_limit) == ([Scope.ENROL], None)
    assert abs(made.expires_at - timezone.now() - 90 * DAY) < timedelta(minutes=1)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_token_that_cannot_be_is_refused_with_a_sentence(runner, capsys, subtests):
    for case, (words, sentence) in {
        "no such account": (("create_token", "nobody", "--name", "x"), "there is no service account"),
        "an account that is no text": (
            ("create_token", "\udcff", "--name", "x"),
            "there is no service account",
        ),
        "no name": (("create_token", "ci runner"), "--name"),
        "an empty name": (("create_token", "ci runner", "--name", " "), "Give the token a name."),
        "no such scope": ((*TOKEN, "--scope", "all"), "--scope"),
        "no day": ((*TOKEN, "--expires-days", "0"), "from 1 to 3650 days"),
        "too many days": ((*TOKEN, "--expires-days", "3651"), "from 1 to 3650 days"),
        "no use": ((*TOKEN, "--use-limit", "0"), "from 1 to"),
        "too many uses": ((*TOKEN, "--use-limit", "9" * 12), "from 1 to"),
    }.items():
        with subtests.test(case):
            assert sentence in refused(*words)
    assert not ApiToken.objects.exists()
    assert capsys.readouterr().out == ""


def test_a_token_is_revoked_alone_or_with_its_machines(wg0, runner, capsys):
    token, secret = rows.token(runner)
    peer = rows.machine(runner, wg0, actor=services.Actor(token=token))
    for words, said in (
        ((), "0 machines"),
        (("--with-peers",), "1 machines"),
        (("--with-peers",), "0 machines"),
    ):
        call_command("revoke_token", f"{token.beginning}…", *words, "--reason", "x" * 300)
        assert f"revoked, {said} with it" in capsys.readouterr().out
    peer.refresh_from_db()
    assert peer.revoke_reason == "x" * 200
    assert AuditEvent.objects.filter(action="revoke_token").count() == 1
    other, secret = rows.token(runner)
    call_command("revoke_token", secret)  # found in a log, perhaps
    other.refresh_from_db()
    assert other.revoked_at is not None
    assert secret not in "".join(capsys.readouterr())


def test_what_is_no_token_cannot_be_revoked(runner, subtests):
    token, _ = rows.token(runner)
    for text in ("latchkey_nothing", token.beginning[:-1], "", "%", "\udcff", token.name):
        with subtests.test(ascii(text)):
            assert refused("revoke_token", text) == "there is no such token"


# --- enrol_peer for a service account ---


def of_account(*words, **fields):
    command, _owner, *rest = enrolment(**fields)
    return (command, "--service-account", "ci runner", *rest, *words)


def test_a_machine_is_enrolled_for_as_long_as_its_account_says_or_as_was_asked(wg0, runner):
    call_command(*of_account())
    call_command(*of_account("--ttl", "600"))
    first, second = Peer.objects.order_by("enrolled_at")
    assert (first.service_account, first.owner) == (runner, None)
    assert first.expires_at - first.enrolled_at == HOUR
    assert second.expires_at - second.enrolled_at == timedelta(minutes=10)


def test_an_enrolment_that_its_account_does_not_allow_is_refused_with_a_sentence(wg0, runner, subtests):
    command, owner, *rest = enrolment()
    rows.interface("wg1")
    for case, (words, sentence) in {
        "beyond the longest time": (of_account("--ttl", "86401"), "The longest time"),
        "another interface": (of_account("--interface", "wg1"), "may not use this network"),
        "nobody": ((command, *rest), "name a person, or a service account"),
        "a person and an account": (
            (command, owner, "--service-account", "ci runner", *rest),
            "name a person, or",
        ),
        "no such account": ((command, "--service-account", "nobody", *rest), "there is no service account"),
    }.items():
        with subtests.test(case):
            assert sentence in refused(*words)
    assert not Peer.objects.exists()
