"""What `make` does about missing Debian packages; nothing is installed here."""

import subprocess

import pytest

from deploy.demo import packages

INSTALL = "apt-get install --yes --no-install-recommends wireguard-tools"


class Machine:
    """Stands in for apt-get: ``works`` says for each call whether it succeeds."""

    def __init__(self, *works: bool) -> None:
        self.works = list(works)
        self.called: list[str] = []
        self.has_package = False

    def run(self, command, **_):
        self.called.append(" ".join(command).partition(" -o ")[0])
        works = self.works.pop(0)
        self.has_package = works and "install" in command
        return subprocess.CompletedProcess(command, 0 if works else 100)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch):
    """Give a function that runs the step on a machine and returns its exit status."""

    def start(machine: Machine, *, uid: int = 0, purpose: str = "demo") -> int:
        wanted = {purpose: {"wireguard-tools": lambda: machine.has_package}}
        monkeypatch.setattr(packages, "PACKAGES", wanted)
        monkeypatch.setattr(packages.subprocess, "run", machine.run)
        monkeypatch.setattr(packages.os, "geteuid", lambda: uid)
        monkeypatch.setattr(packages.shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
        monkeypatch.setattr(packages.sys, "argv", ["packages", purpose])
        return packages.main()

    monkeypatch.delenv("INSTALL", raising=False)
    return start


def test_root_installs_what_is_missing_and_prints_the_line_first(started, capsys) -> None:
    machine = Machine(True)
    assert started(machine) == 0
    assert machine.called == [INSTALL]
    assert capsys.readouterr().out == f"{INSTALL}\n"


def test_package_lists_are_fetched_only_when_those_at_hand_do_not_do(started) -> None:
    machine = Machine(False, True, True)
    assert started(machine) == 0
    assert machine.called == [INSTALL, "apt-get update", INSTALL]


def test_nothing_is_run_when_nothing_is_missing(started, capsys) -> None:
    machine = Machine()
    machine.has_package = True
    assert started(machine) == 0
    assert (machine.called, capsys.readouterr().out) == ([], "")


@pytest.mark.parametrize(("uid", "install"), [(1000, "1"), (0, "0")])
def test_without_leave_to_install_the_line_is_named_and_the_demo_goes_on(
    started, capsys, monkeypatch, uid, install
) -> None:
    monkeypatch.setenv("INSTALL", install)
    machine = Machine()
    assert started(machine, uid=uid) == 0
    assert machine.called == []
    assert capsys.readouterr().out == (
        f"Not installed: wireguard-tools. The demo goes on without a wg0. As root: {INSTALL}\n"
    )


@pytest.mark.parametrize("purpose", ["venv", "kernel"])
def test_without_what_all_else_rests_on_there_is_no_going_on(started, purpose) -> None:
    assert started(Machine(), uid=1000, purpose=purpose) == 1
