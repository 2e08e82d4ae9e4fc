"""Ask for many registrations, some at once, and say how each went: ``python -m tests.load HOST:PORT PATH TOKEN KEYS AT_ONCE``.

A process of its own, so that it can run in a namespace, with nothing of Django's. A connection a request, as machines make
them. Prints a JSON list of [seconds, status, address]; the keys come one a line in the file KEYS.
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
    where, path, token, keys, at_once = sys.argv[1:]
    host, _, port = where.rpartition(":")

    def ask(key: str) -> tuple[float, int, str]:
        return register(host, int(port), request(where, path, token, key))

    with ThreadPoolExecutor(int(at_once)) as pool:
        print(json.dumps(list(pool.map(ask, Path(keys).read_text().split()))))


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
