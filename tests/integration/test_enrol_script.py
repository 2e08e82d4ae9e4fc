"""`GET /enrol.sh`: anybody may fetch it, and what it holds is the portal's address and nothing else of the portal's."""

import subprocess

import pytest
from django.test import Client

from peers.api.script import SOURCE, filled_in

HOSTILE = [
    "http://portal.example'; reboot; '",
    "http://$(reboot)",
    "http://`reboot`",
    "http://a b",
    "http://a'\\''b",
    'http://a"b',
    "http://a\nreboot",
    "http://[2001:db8::1]:8000",
]


@pytest.mark.parametrize("method", ["get", "head"])
def test_anybody_may_fetch_the_script_and_gets_no_cookie(settings, method):
    settings.LATCHKEY_URL = "https://portal.example.com"
    answer = getattr(Client(), method)("/enrol.sh")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert not answer.cookies
    source = SOURCE.read_text()
    expected = source.replace("PORTAL=''", "PORTAL=https://portal.example.com").encode()
    assert expected != source.encode()
    assert answer.content == (expected if method == "get" else b"")


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_the_script_is_only_read(method):
    assert getattr(Client(), method)("/enrol.sh").status_code == 405


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("url", HOSTILE)
def test_an_address_stays_one_word_to_a_shell_whatever_it_holds(url, shell):
    before_its_functions = filled_in(url).partition("\nUSAGE=")[0]
    script = f'{before_its_functions}\nprintf "%s" "$PORTAL"\n'
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (url, "")
