"""A Redis of the tests' own, which listens on a socket in a folder and keeps nothing."""

import shutil
import subprocess
import time
from pathlib import Path

from redis import Redis, RedisError

START_WITHIN = 20  # seconds


class RedisServer:
    """``redis-server``, at ``url``; it is there once it is made, until ``close``."""

    def __init__(self, folder: Path) -> None:
        socket = folder / "redis.sock"
        self.url = f"unix://{socket}"
        options = {
            "port": "0", "unixsocket": str(socket), "unixsocketperm": "700", "dir": str(folder), "save": "", "appendonly": "no",
        }  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        with (folder / "redis.log").open("wb") as log:
            self._process = subprocess.Popen(["redis-server", *words], stdout=log, stderr=log)
        self._await()

    def _await(self) -> None:
        give_up = time.monotonic() + START_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.close()
                raise AssertionError("redis-server does not start")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False

    def client(self) -> Redis:
        return Redis.from_url(self.url)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


def missing() -> str:
    """Return why there can be none; an empty text where there can."""
    return "" if shutil.which("redis-server") else "needs redis-server: Debian's package redis-server"
