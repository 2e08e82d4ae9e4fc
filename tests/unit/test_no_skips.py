"""A skipped test fails the run where CI is set, and only there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

A_SKIP = "import pytest\ndef test_passes(): pass\ndef test_skips(): pytest.skip('needs a thing')\n"


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_a_skip_fails_the_run_under_ci_alone(tmp_path: Path, ci: str, status: int) -> None:
    tmp_path.joinpath("test_it.py").write_text(A_SKIP)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.no_skips", "-c", os.devnull, "--rootdir", tmp_path, tmp_path],
        cwd=ROOT, env=os.environ | {"CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    assert "1 passed, 1 skipped" in done.stdout.splitlines()[-1]
