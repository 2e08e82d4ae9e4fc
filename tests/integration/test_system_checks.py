"""``manage.py check`` finds mistakes in a configuration, and finds none in a good one."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT, WEB


@pytest.fixture
def check(database):
    """Run the deployment's checks with some variables changed; return the exit status and what was said."""
    good = {
        **database.environment(WEB),
        "LATCHKEY_URL": "https://portal.example",
        "LATCHKEY_TRUSTED_PROXY_HOPS": "1",
        "LATCHKEY_OIDC_PROVIDERS": '[{"id": "corp", "issuer": "https://idp.example", "client_id": "latchkey", '
        '"client_secret": "only-for-tests"}]',
    }

    def run(*words, **changes):
        command = [sys.executable, "manage.py", "check", *words, "--fail-level", "WARNING"]
        environment = {**good, **changes}
        del environment["DJANGO_ALLOW_ASYNC_UNSAFE"]  # the browser tests' own, and a mistake in a deployment
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_good_deployment_has_nothing_to_be_said_against_it(check):
    status, text = check("--deploy", "--database", "default")
    assert status == 0, text


@pytest.mark.parametrize(
    ("changes", "id_", "hint"),
    [
        ({"LATCHKEY_OIDC_PROVIDERS": "[]"}, "latchkey.W001", "break_glass --new"),
        ({"LATCHKEY_URL": "http://portal.example"}, "latchkey.E003", "behind TLS"),
        ({"LATCHKEY_TRUSTED_PROXY_HOPS": "0"}, "latchkey.W004", "X-Forwarded-Proto"),
    ],
)
def test_a_mistake_is_found_by_its_id_with_a_hint(check, changes, id_, hint):
    status, text = check("--deploy", **changes)
    assert status != 0
    assert id_ in text
    assert hint in text


def test_the_demo_on_this_machine_may_do_without_https(check):
    _, text = check("--deploy", LATCHKEY_URL="http://127.0.0.1:8000", LATCHKEY_TRUSTED_PROXY_HOPS="0")
    assert "latchkey." not in text
