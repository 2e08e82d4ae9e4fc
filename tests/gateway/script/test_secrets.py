"""Where the token and the private key are not, and what the token is taken from."""

import os
import shutil
import subprocess

import pytest

from tests.gateway.conftest import require
from tests.gateway.script.calling import ON_DASH, TOKEN


@ON_DASH
def test_neither_token_nor_key_is_in_an_argument_an_environment_or_a_line_printed(script, portal, tmp_path):
    require(shutil.which("strace"), "needs strace")
    trace = tmp_path / "trace"
    keys: set[str] = set()
    watched = ["strace", "-f", "-v", "-s", "10000", "-e", "trace=execve", "-o", str(trace)]
    theirs = {"PATH": os.environ["PATH"], "token": "", "private_key": "", "preshared_key": ""}
    for words in (["enrol"], ["renew"], ["enrol", "--json"], ["down"]):
        shell, *rest = script.command(*words)
        done = subprocess.run(
            [*watched, shell, "-ax", *rest], env=script.environment | theirs,
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        keys |= {script.key.read_text().strip()} if script.key.exists() else set()
        seen = trace.read_text() + done.stdout + done.stderr
        assert "curl" in seen and "api/v1/peers" in seen
        assert [secret for secret in (TOKEN, *keys) if secret in seen] == []
    assert len(keys) == 1
    assert {asked.token for asked in portal.asked} == {TOKEN}


def test_the_token_comes_by_a_file_or_by_standard_input(script, portal):
    script.run("enrol", "--token-file", "-", input=f"{TOKEN}2\n")
    script.token.write_text(f"{TOKEN}3")  # without a new line
    script.run("enrol")
    script.token.write_text(f" {TOKEN}4\r\n")  # by an editor on Windows
    script.run("enrol")
    script.run("renew", "--token-file", "/dev/stdin", input=f"{TOKEN}5\n")
    assert [asked.token for asked in portal.asked] == [f"{TOKEN}{number}" for number in range(2, 6)]


@pytest.mark.parametrize(
    "text", ["", "\n", 'x"\nurl = "file:///etc/passwd', "two words\n", "\u00fc\n", "x" * 201 + "\n"]
)
def test_what_is_no_token_is_not_sent_and_not_printed(script, portal, text):
    script.token.write_text(text)
    script.run("enrol", code=1)
    assert not portal.asked
    assert len(text) < 3 or text.strip() not in script.said


@ON_DASH
def test_a_token_as_an_argument_is_refused_and_not_repeated(script, portal):
    for words in ([TOKEN], ["--token", TOKEN], [f"--token={TOKEN}"], ["enrol", TOKEN]):
        script.run(*words, code=1)
        assert TOKEN not in script.said
    assert not portal.asked


@ON_DASH
def test_a_redirection_is_not_followed_with_the_token(script, portal):
    portal.headers = {"Location": f"{portal.url}/elsewhere"}
    portal.will_say(302)
    assert script.run("--json", code=7)["error"]["code"] == "no_portal"
    assert len(portal.asked) == 1


@ON_DASH
def test_settings_of_curls_user_change_nothing(script, portal, tmp_path):
    (tmp_path / ".curlrc").write_text(f'trace-ascii = "{tmp_path}/trace"\n')
    script.environment["HOME"] = str(tmp_path)
    script.run("enrol")
    assert not (tmp_path / "trace").exists()
