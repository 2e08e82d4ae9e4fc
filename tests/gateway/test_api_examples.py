"""The examples of docs/api.md, as they can be pasted into a shell, against the running portal and a real gateway."""

import json
import os
import re
import subprocess

import pytest

from tests import rows
from tests.conftest import ROOT
from tests.gateway.conftest import require
from tests.integration.conftest import free_port
from tests.integration.served import ServedPortal

BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)


@pytest.fixture
def portal(running, wg0, database, tmp_path):
    environment = {**database.environment("latchkey_web"), "LATCHKEY_STATIC_ROOT": str(tmp_path)}
    with ServedPortal(free_port(), environment, tmp_path / "portal.log") as served:
        yield served


@pytest.fixture
def shell(portal, wg0, tmp_path):
    """Give a function that runs lines in a folder of their own and returns what they printed, as JSON if it is."""
    folder = tmp_path / "machine"
    folder.mkdir()

    def run(lines, stdin="", **variables):
        done = subprocess.run(
            ["sh", "-euc", lines], cwd=folder, env={**os.environ, "PORTAL": portal.url, **variables}, input=stdin,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    probe = subprocess.run(["curl", "--help", "http"], capture_output=True, text=True, check=False)
    require("--json" in probe.stdout, "needs curl 7.82 or later")
    return run


def test_every_example_does_what_it_says(shell, running, wg0):
    keep, enrol, renew, read, rename, revoke, interfaces, register = BLOCKS
    text = rows.token(rows.account(wg0, name="builders"))[1]
    shell(keep, stdin=text, PORTAL="")
    made = shell(enrol)
    assert (made["name"], made["state"]) == ("build-7", "live")
    assert made["public_key"] in running.on()
    pk = made["id"]
    assert shell(renew, ID=pk)["expires_at"] > made["expires_at"]
    listed, one = (shell(line, ID=pk) for line in read.strip().splitlines())
    assert (listed, one["id"]) == ({"items": [], "next": None}, pk)
    assert shell(rename, ID=pk)["name"] == "build-8"
    assert shell(interfaces)["items"][0]["name"] == "wg0"
    assert shell(register)["message"] == "Peer already registered"
    assert shell(revoke, ID=pk) is None
    running.eventually(lambda: not running.on())
    assert shell(register) == {
        "error": "This key was revoked or replaced and can never be used again. Make a new one."
    }
