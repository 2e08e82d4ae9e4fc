"""How the script is called, and where it ends before it does anything."""

import re
import shutil
import subprocess

import pytest

from peers.api.script import SOURCE, filled_in
from tests.gateway.conftest import require
from tests.gateway.script.calling import ON_DASH


@ON_DASH
def test_a_dry_run_changes_nothing_and_asks_nobody(script, portal):
    assert script.run("--dry-run").count("Would") == 3
    assert script.files() == {} and not portal.asked
    script.run("enrol")
    before = script.files()
    for verb in ("enrol", "up", "renew", "down"):
        assert "Would" in script.run(verb, "--dry-run")
        assert "would" in script.run(verb, "--dry-run", "--json")
    assert script.files() == before and len(portal.asked) == 1


WRONG = [
    ["--ttl=x"], ["--ttl=0"], ["--ttl"], ["--wait=31"], ["--name=a/b"], ["--name=../x"], ["--name=" + "x" * 16],
    ["--name=-x"], ["--interface=a b"], ["--peer-name=a\nb"], ['--peer-name="'], ["--peer-name=\\"], ["--every=5"],
    ["renew", "--down"], ["renew", "--new-key"], ["--json=1"], ["--nonsense"], ["nonsense"], ["--token-file="],
    ["--token-file=/nowhere"],
]  # fmt: skip


@ON_DASH
@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_use_is_said_before_anything_is_done(script, portal, words):
    script.run(*words, code=1)
    assert script.files() == {} and not portal.asked


@ON_DASH
@pytest.mark.parametrize("words", [["--nonsense", "--json"], ["--json", "--nonsense"], ["--ttl", "--json"]])
def test_wrong_use_is_told_in_json_wherever_that_is_asked_for(script, words):
    assert script.run("enrol", *words, code=1)["error"]["code"] == "usage"


@ON_DASH
def test_a_folder_must_be_absolute(script):
    script.dir = "wireguard"
    script.run("enrol", code=1)


@ON_DASH
@pytest.mark.parametrize(("verb", "tool"), [("enrol", "wg"), ("enrol", "curl"), ("up", "ip"), ("down", "ip")])
def test_a_missing_tool_is_named(script, tools, verb, tool):
    script.run("enrol")
    (tools / tool).unlink()
    assert tool in script.run(verb, "--json", code=2)["error"]["message"]


@ON_DASH
def test_where_nothing_locks_a_folder_it_is_done_without(script, tools):
    (tools / "flock").unlink()
    script.run("enrol")
    assert script.run("renew") and script.run("down")
    assert script.files() == {}


@ON_DASH
def test_where_nothing_can_be_written_nothing_is_enrolled(script, portal):
    script.dir.write_text("a file")
    assert script.run("--json", code=6)["error"]["code"] == "files"
    assert not portal.asked


@ON_DASH
def test_a_configuration_of_somebody_elses_is_left_alone(script, portal):
    script.dir.mkdir()
    script.conf.write_text("theirs")
    assert script.run("--json", code=6)["error"]["code"] == "not_ours"
    assert script.files() == {"latchkey.conf": "theirs"} and not portal.asked


def test_half_of_the_script_does_nothing(script, portal):
    lines = script.path.read_text().splitlines(keepends=True)
    for end in range(10, len(lines), 60):
        script.path.write_text("".join(lines[:end]))
        script.ends()
    assert script.files() == {} and not portal.asked


@ON_DASH
def test_the_script_says_where_it_comes_from_when_no_portal_served_it(script):
    script.path.write_text(SOURCE.read_text())
    script.run("enrol", code=1)
    assert "/enrol.sh" in script.said


def test_shellcheck_has_nothing_to_say(tmp_path):
    require(shutil.which("shellcheck"), "needs shellcheck: Debian's package shellcheck")
    served = tmp_path / "enrol.sh"
    served.write_text(filled_in("https://portal.example.com"))
    for path in (SOURCE, served):
        done = subprocess.run(["shellcheck", "-s", "sh", path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def test_help_names_each_option_that_is_read(script):
    read = set(re.findall(r"^ +(--[a-z-]+)(?:\)| \|)|(?<=\| )(--[a-z-]+)", SOURCE.read_text(), re.MULTILINE))
    assert {word for pair in read for word in pair if word} == set(
        re.findall(r"^  (--[a-z-]+)", script.run("--help"), re.MULTILINE)
    )
