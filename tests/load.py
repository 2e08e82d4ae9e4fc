"""Ask for many registrations, some at once, and say how each went: ``python -m tests.load HOST:PORT PATH KEYS AT_ONCE``.

A process of its own, so that it can run in a namespace, with nothing of Django's. A connection a request, as machines make
them. The token is read from standard input, the keys one a line from the file KEYS. Prints JSON: the seconds that all of
it took, and a list of [seconds, status, address] in the order of the keys.
"""

import json
import re
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PATIENCE = 30  # seconds
ADDRESS = re.compile(rb'"(?:allocated_ip|addresses)": ?\[?"([0-9.]+)')


def main() -> None:
    where, path, keys, at_once = sys.argv[1:]
    token = sys.stdin.read().strip()
    host, _, port = where.rpartition(":")

    def ask(key: str) -> tuple[float, int, str]:
        return register(host, int(port), request(where, path, token, key))

    with ThreadPoolExecutor(int(at_once)) as pool:
        started = time.monotonic()
        answers = list(pool.map(ask, Path(keys).read_text().split()))
        print(json.dumps([time.monotonic() - started, answers]))


def request(where: str, path: str, token: str, key: str) -> bytes:
    body = json.dumps({"public_key": key})
    return (
        f"POST {path} HTTP/1.1\r\nHost: {where}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()


def register(host: str, port: int, text: bytes) -> tuple[float, int, str]:
    started = time.monotonic()
    try:
        with socket.create_connection((host, port), PATIENCE) as connection:
            connection.sendall(text)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return time.monotonic() - started, 0, ""
    took = time.monotonic() - started
    found = ADDRESS.search(answer)
    return took, int(answer.split(maxsplit=2)[1] if answer else 0), found[1].decode() if found else ""


if __name__ == "__main__":
    main()
