"""The portal as people meet it: a process of gunicorn's with the deployed configuration."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import requests

ROOT = Path(__file__).parent.parent.parent
START_WITHIN = 60  # seconds: machines that run tests are busy


class ServedPortal:
    """Run the portal on ``port``; ``log`` is where its JSON lines go."""

    def __init__(self, port: int, environment: dict[str, str], log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._environment = {
            **os.environ,
            **environment,
            "LATCHKEY_URL": self.url,
            "LATCHKEY_BIND": f"127.0.0.1:{port}",
            "LATCHKEY_WORKERS": "2",
        }

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "portal.wsgi"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise AssertionError(self.log.read_text())
            time.sleep(0.1)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except requests.RequestException:
            return False
