"""The demo as people run it: it starts, carries a real tunnel, and leaves nothing behind when it is stopped."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.demo.__main__ import _parser
from deploy.demo.console import Sorry
from deploy.demo.folder import Folder
from deploy.demo.netns import end
from deploy.demo.person import Person
from deploy.demo.tunnel import NoInterface, namespace
from tests import rows
from tests.conftest import ROOT
from tests.gateway.conftest import require

READY_WITHIN = 60  # seconds


class Demo:
    """A demo in a folder of the test's own, on ports of its own."""

    def __init__(self, folder: Path, mode: str = "push") -> None:
        self.folder, self.port = folder, two_free_ports()
        self.output = folder.with_suffix(".out")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                self._command("start", "--port", str(self.port), "--mode", mode),
                cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    def await_ready(self) -> None:
        give_up = time.monotonic() + READY_WITHIN
        while "Ctrl-C stops everything" not in self.output.read_text():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < give_up, self.output.read_text()
            time.sleep(0.1)

    def await_letter(self, subject: str) -> None:
        give_up = time.monotonic() + READY_WITHIN
        while f"Subject: {subject}\n" not in (letters := (self.folder / "mail.log").read_text()):
            assert time.monotonic() < give_up, letters
            time.sleep(0.1)

    def await_end(self, person: Person) -> None:
        """Wait until the portal has signed the person out and their only device is off wg0."""
        give_up = time.monotonic() + READY_WITHIN
        while "/accounts/login/" not in person.get(f"{person.url}/", timeout=10).url or (
            "peer: " in self.run("wg").stdout
        ):
            assert time.monotonic() < give_up, (self.folder / "access.log").read_text()
            time.sleep(0.2)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(*words),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "deploy.demo", "--folder", str(self.folder), *words]


def environment() -> dict[str, str]:
    """Return our environment with what would mislead the demo: it must not listen to it."""
    return os.environ | {
        "PGHOST": "db.example.com",
        "LATCHKEY_BIND": "0.0.0.0:1",
        "http_proxy": "http://127.0.0.1:9",
    }


@pytest.fixture
def demo(tmp_path: Path):
    try:
        namespace().close()
    except NoInterface as reason:
        require(False, f"needs a real interface: {reason}")
    made = Demo(tmp_path / "demo")
    yield made
    end(made.process)


@pytest.mark.timeout(180)
def test_the_demo_carries_a_real_tunnel_and_leaves_nothing_behind(demo: Demo) -> None:
    demo.await_ready()
    bob = Person(f"http://127.0.0.1:{demo.port}", "bob")
    bob.sign_in()
    device = {"name": "laptop", "platform": "linux", "public_key": rows.public_key()}
    bob.accepted(bob.submit("/", device, Accept="application/json"))
    assert (
        demo.run("person", "bob", "disabled").stdout == "bob is disabled at the demo's identity provider.\n"
    )

    pinged = demo.run("ping")
    assert pinged.returncode == 0, pinged.stdout + pinged.stderr
    assert re.search(r"First ping answered through the tunnel [\d.]+ s", pinged.stdout)
    assert re.search(r"Last ping answered [\d.]+ s after the revocation, then silence", pinged.stdout)

    demo.await_end(bob)
    shown = demo.run("wg")
    assert "interface: wg0" in shown.stdout
    assert "private key: (hidden)" in shown.stdout
    assert "peer: " not in shown.stdout  # the device of the ping is revoked, and gone

    assert demo.run("person", "bob", "active", "contractors").returncode == 0
    with pytest.raises(Sorry, match="could not sign in: 403"):
        bob.sign_in()
    assert demo.run("person", "bob", "active", "employees").returncode == 0
    assert demo.run("person", "bob", "active").returncode == 0
    bob.sign_in()

    demo.await_letter("A device was added to your account: demo-ping")
    assert '"event": "audit_sealed"' in (demo.folder / "seals.log").read_text()

    refused = demo.run("reset")
    assert (refused.returncode, "A demo is running" in refused.stdout) == (1, True)

    family = started_by(demo.process.pid)
    assert len(family) > 8
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(40) == 0, demo.output.read_text()
    assert still_there(family) == {}
    assert demo.run("reset").returncode == 0
    assert not demo.folder.exists()


@pytest.mark.timeout(180)
def test_a_second_start_may_be_in_the_other_mode_where_the_first_packet_puts_a_device_on(demo: Demo) -> None:
    demo.await_ready()
    assert "wg0 is in mode push" in demo.output.read_text()
    end(demo.process)
    again = Demo(demo.folder, "on_demand")
    try:
        again.await_ready()
        assert "wg0 is in mode on_demand: it holds only the devices in use." in again.output.read_text()
        pinged = again.run("ping")
        assert pinged.returncode == 0, pinged.stdout + pinged.stderr
        assert "wg0 held no such peer after the enrolment: its first packet put it on" in pinged.stdout
        assert "Last ping answered" in pinged.stdout
    finally:
        end(again.process)


def test_a_mode_that_is_none_is_refused_in_a_sentence_before_anything_is_made(tmp_path: Path) -> None:
    options = _parser().parse_args(["start", "--mode", "pull"])
    with pytest.raises(Sorry, match=r"^MODE is push or on_demand, not 'pull'\.$"):
        options.run(Folder(tmp_path / "demo"), options)
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("bob", "disabled"), "No demo is running here: start it with `make demo`."),
        (("dave", "disabled"), "NAME is alice or bob or carol, not 'dave'."),
        (("", "active"), "NAME is alice or bob or carol, not ''."),
        (("bob", "gone"), "STATE is active or disabled, not 'gone'."),
    ],
)
def test_what_cannot_be_done_to_a_person_is_told_in_a_sentence(tmp_path: Path, words, sentence: str) -> None:
    options = _parser().parse_args(["person", *words])
    with pytest.raises(Sorry) as sorry:
        options.run(Folder(tmp_path / "demo"), options)
    assert str(sorry.value) == sentence


def test_a_port_in_use_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "deploy.demo", "--folder", str(tmp_path), "start", "--port", str(port)],
            cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"Port {port} cannot be used: Address already in use." in done.stdout
    assert done.stderr == ""


def test_the_secrets_are_made_once_and_for_their_user_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "demo")
    with folder.held():
        first = folder.secrets()
        assert folder.secrets() == first
    assert {
        path.name: path.stat().st_mode & 0o777
        for path in folder.path.iterdir()
        if path.name not in {"lock", "this-is-a-latchkey-demo"}
    } == {"secrets.json": 0o600}
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_a_folder_too_deep_for_a_socket_gets_a_short_one(tmp_path: Path) -> None:
    deep = Folder(tmp_path / ("d" * 100))
    with deep.socket() as short:
        assert not short.is_relative_to(tmp_path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(short / ".s.PGSQL.5432"))
    assert not short.exists()


def two_free_ports() -> int:
    """Return a port that is free, as is the next one."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no two free ports in a row")


def started_by(pid: int) -> dict[int, str]:
    """Return the process and all that descends from it, each with its command and its time of start."""
    parents = {int(path.name): parent(path) for path in Path("/proc").glob("[0-9]*")}
    family = {pid}
    while new := {child for child, its in parents.items() if its in family} - family:
        family |= new
    return {member: identity(member) for member in family}


def still_there(family: dict[int, str]) -> dict[int, str]:
    """Return those that have not ended; a number that somebody else has by now does not count."""
    return {pid: known for pid, known in family.items() if known and identity(pid) == known}


def parent(path: Path) -> int:
    try:
        return int(path.joinpath("stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return 0


def identity(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return "" if fields[0] == "Z" else f"{fields[19]} {Path(f'/proc/{pid}/cmdline').read_text()}"
    except OSError:
        return ""


def test_a_folder_that_is_not_a_demos_is_neither_used_nor_deleted(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    for words in (("reset",), ("start", "--port", str(two_free_ports()))):
        done = subprocess.run(
            [sys.executable, "-m", "deploy.demo", "--folder", str(tmp_path), *words],
            cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert (done.returncode, "is not a demo's folder" in done.stdout) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
