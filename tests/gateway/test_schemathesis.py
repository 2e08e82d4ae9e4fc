"""schemathesis asks the running portal, before a real gateway, what its OpenAPI file promises: every check, and chains of calls."""

import json
import os
import subprocess
import sys

import pytest

from tests import rows
from tests.conftest import ROOT
from tests.integration.conftest import free_port
from tests.integration.programs import PEERS, REGISTER
from tests.integration.served import ServedPortal

SEED, EXAMPLES = "1", "30"
PATIENCE = 110  # seconds; it takes about twenty
RATES = ("token", "account", "person", "address", "bad_token", "read", "revoke")
# A revoked peer can still be read, so that whoever revoked it sees it go: the contract wants what this check forbids.
LEFT_OUT = "use_after_free"
SEEN = {
    ("POST", 200), ("POST", 201), ("POST", 400), ("POST", 404), ("POST", 409), ("GET", 200), ("GET", 400),
    ("GET", 401), ("GET", 404), ("PATCH", 200), ("PATCH", 400), ("PATCH", 404), ("DELETE", 204), ("DELETE", 404),
}  # fmt: skip


@pytest.fixture
def portal(running, wg0, database, tmp_path):
    """Serve the portal, which limits nobody: the whole point is to ask much."""
    environment = {
        **database.environment("latchkey_web"),
        "LATCHKEY_RATE_LIMITS": ",".join(f"{rate}=0" for rate in RATES),
        "LATCHKEY_STATIC_ROOT": str(tmp_path),
    }
    with ServedPortal(free_port(), environment, tmp_path / "portal.log") as served:
        yield served


@pytest.fixture
def configured(wg0, tmp_path):
    """Give the file that tells schemathesis who calls: two accounts, neither of which may see what is the other's."""
    # Without a longest time, so that every ttl that the file allows is one that the account allows.
    accounts = [rows.account(wg0, name=name, device_limit=10_000, max_ttl=None) for name in ("one", "other")]
    users = [
        {
            "name": account.name,
            "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {rows.token(account)[1]}"}],
        }
        for account in accounts
    ]
    (tmp_path / "users.json").write_text(json.dumps({"auth": users}))
    settings = tmp_path / "schemathesis.toml"
    # Beyond latin-1 its classes of letters and marks hold characters that Unicode has not assigned, and we refuse.
    settings.write_text(
        '[generation]\ncodec = "latin-1"\n'
        f'[auth.wfc]\npath = "{tmp_path / "users.json"}"\nuser = "one"\npeers = ["one", "other"]\n'
    )
    return settings


def test_every_answer_is_one_that_the_openapi_file_promises(running, portal, configured, tmp_path):
    command = [
        sys.executable, "-m", "schemathesis.cli", f"--config-file={configured}", "run", f"{portal.url}/api/v1/openapi.json",
        f"--seed={SEED}", f"--max-examples={EXAMPLES}", f"--exclude-checks={LEFT_OUT}", "--request-timeout=40",
        "--continue-on-failure",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.schemathesis_formats",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "7 selected / 7 total" in done.stdout
    assert "No issues found" in done.stdout
    print("\n".join(done.stdout.splitlines()[-40:]))
    answers = answered(portal)
    assert {status for _, status in answers if status >= 500} == set()
    assert answers >= SEEN
    assert not [line for line in running.events() if line.get("level") in ("error", "critical")]


def answered(portal):
    """Return each method with each status that the portal's log says it answered."""
    lines = [json.loads(line) for line in portal.log.read_text().splitlines() if line.startswith("{")]
    of_api = [line for line in lines if line.get("path", "").startswith(("/api/", REGISTER))]
    assert PEERS in {line["path"] for line in of_api}
    return {(line["method"], line["status_code"]) for line in of_api}
