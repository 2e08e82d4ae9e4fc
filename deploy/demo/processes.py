"""Start the demo's long-running processes with a log each, and wait until one of them ends."""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.demo.console import Sorry

CHECKOUT = Path(__file__).resolve().parents[2]
END_WITH_US = [
    "setpriv",
    "--pdeathsig",
    "TERM",
    "--",
]  # even when the demo is killed, they are not left behind
LOOK_EVERY = 0.2  # seconds
LAST_LINES = 5

Process = subprocess.Popen[Any]


def start(log: Path, environment: Mapping[str, str], *command: str) -> Process:
    """Start a command whose output goes to ``log``, which begins anew, and return it.

    It has a session of its own: an interrupt from the terminal is the demo's to handle.
    """
    with log.open("wb") as output:
        return subprocess.Popen(
            [*END_WITH_US, *command],
            cwd=CHECKOUT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def manage(environment: Mapping[str, str], *command: str) -> None:
    """Run a command to its end; raise Sorry with what it said if it fails."""
    done = subprocess.run(
        command, cwd=CHECKOUT, env=dict(environment), capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        raise Sorry(f"{' '.join(command[1:])} failed:\n{_last_lines(done.stderr)}")


def wait_until_one_ends(processes: Mapping[str, Process], folder: Path) -> None:
    """Wait, and raise Sorry with the last lines of its log once one of ``processes`` has ended."""
    while True:
        check(processes, folder)
        time.sleep(LOOK_EVERY)


def check(processes: Mapping[str, Process], folder: Path) -> None:
    for name, process in processes.items():
        if process.poll() is not None:
            raise Sorry(f"{name} has ended by itself, so everything is stopped. {_end_of_log(folder, name)}")


def _end_of_log(folder: Path, name: str) -> str:
    log = folder / f"{name}.log"
    try:
        return f"{log} ends with:\n{_last_lines(log.read_text(errors='replace'))}"
    except OSError:
        return f"{log} cannot be read."


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-LAST_LINES:])
