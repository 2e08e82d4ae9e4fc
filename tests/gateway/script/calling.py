"""Calling the script that enrols a machine, with the few tools alone, in one shell or another."""

import json
import subprocess
import time

import pytest

from peers.api.script import filled_in

TOKEN = "latchkey_only-for-tests_0123456789_abcdefghijklmnop"
ON_DASH = pytest.mark.parametrize("tools", ["dash"], indirect=True)


class Script:
    """The script for the portal at ``url``, with its files in ``dir`` and its token in a file."""

    def __init__(self, url, tools, folder):
        self.path, self.token, self.dir = folder / "enrol.sh", folder / "token", folder / "wireguard"
        self.path.write_text(filled_in(url))
        self.token.write_text(f"{TOKEN}\n")
        self.environment = {"PATH": str(tools), "LATCHKEY_TOKEN_FILE": str(self.token)}
        self.conf = self.dir / "latchkey.conf"
        self.key = self.dir / "latchkey.enrol.key"
        self.peer = self.dir / "latchkey.enrol.peer"
        self.said = ""

    def command(self, *words):
        return [f"{self.environment['PATH']}/sh", str(self.path), *words, f"--dir={self.dir}"]

    def ends(self, *words, **options):
        """Run it and return how it ended, whatever way that is."""
        given = {"stdin": subprocess.DEVNULL, **options} if "input" not in options else options
        return subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, timeout=60,
            check=False, **given,
        )  # fmt: skip

    def run(self, *words, code=0, **options):
        """Run it, expect that exit code, and return what it says: the last JSON object, or the text."""
        done = self.ends(*words, **options)
        self.said = done.stdout + done.stderr
        assert done.returncode == code, self.said
        if "--json" in words:
            return [json.loads(line) for line in done.stdout.splitlines()][-1]
        return done.stdout

    def files(self):
        return {path.name: path.read_text() for path in self.dir.iterdir()} if self.dir.exists() else {}


class Renewing:
    """``renew --every 1`` in the background."""

    def __init__(self, script, *words):
        self.process = subprocess.Popen(
            script.command("renew", "--every=1", *words), env=script.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self):
        return self.process

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


def eventually(holds, within=20):
    give_up = time.monotonic() + within
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.02)
