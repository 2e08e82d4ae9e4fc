"""Run the gateway's tests on the WireGuard of Debian's kernel, in an emulated machine.

``python -m tests.kernel [WORD …]``: the words go to pytest; without a path among them, TESTS are run.
"""

import os
import shlex
import subprocess
import sys

from . import machine
from .parts import ROOT, fetched

TESTS = (
    "interface",
    "capture",
    "on_demand",
    "on_demand_lasting",
    "on_demand_under_load",
    "deadlines",
)  # where it matters whose WireGuard it is
# Ten thousand peers are too many for an emulated processor.
LEFT_OUT = "tests/gateway/test_restarts.py::test_a_restart_with_ten_thousand_peers_loses_no_packet_and_writes_nothing"
PYTHON = ROOT / ".venv" / "bin" / "python"
PYTEST = [
    str(PYTHON), "-m", "pytest", "-v", "-p", "tests.no_skips", "-p", "no:cacheprovider", "-p", "no:schemathesis",
]  # fmt: skip


def main(words: list[str]) -> int:
    chosen = [f"--deselect={LEFT_OUT}", *words, *([] if _names_tests(words) else _tests())]
    if status := _collect(chosen):
        return status
    status = machine.run(fetched(), _script(chosen))
    if status is None:
        sys.stderr.write("The machine ended, or was ended, before the tests did.\n")
    return 1 if status is None else status


def _collect(chosen: list[str]) -> int:
    """Return how pytest ends that only collects; it compiles here in seconds what takes minutes in the machine."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [*PYTEST, "--collect-only", "-qq", *chosen]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout or "There is no such test.\n")
    return done.returncode


def _script(chosen: list[str]) -> str:
    """Return the shell script that runs the chosen tests from the checkout, in the environment they need."""
    colour = "yes" if sys.stdout.isatty() else "no"
    command = [*PYTEST, f"--color={colour}", *chosen]
    return f"cd {shlex.quote(str(ROOT))}\nexport CI=true\nexec {shlex.join(command)}\n"


def _names_tests(words: list[str]) -> bool:
    return any((ROOT / word.partition("::")[0]).exists() for word in words)


def _tests() -> list[str]:
    found = (path for name in TESTS for path in sorted((ROOT / "tests" / "gateway").glob(f"test_{name}.py")))
    return [os.path.relpath(path, ROOT) for path in found]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
