"""Killed at any moment, or called twice at once, the script leaves what its next call makes whole."""

import subprocess
import time

import pytest

from tests.gateway.portal_double import PEER
from tests.gateway.script.calling import ON_DASH

KILLING = """#!/bin/sh
echo >>{calls}
[ "$(/usr/bin/wc -l <{calls})" = {number} ] || exec {real} "$@"
if [ {after} = True ]; then {real} "$@"; fi
/bin/kill -9 $PPID
"""


@pytest.fixture
def killed(script, tmp_path):
    """Give a function that calls the script and kills it at that call of a tool, before or after that has done its work."""

    def call(verb, tool, number, after):
        path, calls = tmp_path / "bin" / tool, tmp_path / "calls"
        real = path.readlink()
        path.unlink()
        path.write_text(KILLING.format(calls=calls, number=number, real=real, after=after))
        path.chmod(0o755)
        assert script.ends(verb).returncode == -9
        path.unlink()
        path.symlink_to(real)

    return call


@ON_DASH
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])  # the key, the configuration, which peer it is
def test_what_was_killed_while_it_enrolled_can_be_enrolled_and_given_back(
    script, portal, killed, number, after
):
    killed("enrol", "mv", number, after)
    script.run("enrol")
    assert set(script.files()) == {script.key.name, script.conf.name, script.peer.name}
    script.run("renew")
    script.run("down")
    assert script.files() == {}


@ON_DASH
def test_a_key_that_was_never_used_is_forgotten_too(script, portal, killed):
    killed("enrol", "mv", 1, after=False)
    assert script.files() != {}
    assert script.run("down", "--json")["revoked"] is False
    assert script.files() == {}


@ON_DASH
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_was_killed_while_it_was_given_back_can_be_given_back(script, portal, killed, number, after):
    script.run("enrol")
    revoked, answer = portal.public_key, portal.answer

    def of_revoked(asked):
        if asked.body.get("public_key") == revoked:
            return 409, {"error": {"code": "key_revoked", "message": "No."}}
        return answer(asked)

    portal.answer = of_revoked
    killed("down", "rm", number, after)
    script.run("down")
    assert script.files() == {}
    script.run("enrol")


@ON_DASH
def test_what_was_left_and_cannot_be_deleted_is_named(script, portal):
    left = script.dir / "latchkey.enrol.new"
    left.mkdir(parents=True)
    assert str(left) in script.run("--json", code=6)["error"]["message"]
    assert not portal.asked


@ON_DASH
def test_two_that_make_a_new_key_at_once_make_one(script, portal):
    script.run("enrol")
    revoked = portal.public_key

    def answer(asked):
        if (key := asked.body["public_key"]) == revoked:
            time.sleep(0.5)  # both are running by now
            return 409, {"error": {"code": "key_revoked", "message": "No."}}
        return 201, PEER | {"public_key": key}

    portal.answer = answer
    started = [
        subprocess.Popen(
            script.command("enrol", "--new-key"), env=script.environment, stdout=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    assert [process.wait(60) for process in started] == [0, 0]
    assert len({asked.body["public_key"] for asked in portal.asked}) == 2
