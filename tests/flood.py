"""Send handshake initiations that are none, as fast as asked: ``python -m tests.flood ADDRESS PORT RATE SECONDS KIND KEY``.

A process of its own, so that it can run in a namespace, with nothing of Django's. KIND says what is wrong with them: ``mac1``,
``content`` (mac1 is right, for the interface's public key KEY), or ``spoofed`` (the same, each from another source). Prints how
many it sent.
"""

import random
import secrets
import socket
import struct
import sys
import time
from ipaddress import ip_address

from peers.wireguard.handshake import TYPE
from tests.initiator import bogus

DIFFERENT = 5000  # packets, again and again
SLICE = 0.001  # seconds: smooth, so that no look finds many at once


def main() -> None:
    address, port, rate, seconds, kind, key = sys.argv[1:]
    flood = Flood(address, int(port), kind, key)
    print(flood.run(int(rate), float(seconds)))


class Flood:
    def __init__(self, address: str, port: int, kind: str, key: str) -> None:
        self.to = (address, port)
        self.packets = [self._packet(kind, key) for _ in range(DIFFERENT)]
        protocol = (socket.SOCK_RAW, socket.IPPROTO_RAW) if kind == "spoofed" else (socket.SOCK_DGRAM, 0)
        self.socket = socket.socket(socket.AF_INET, *protocol)

    def _packet(self, kind: str, key: str) -> bytes:
        if kind == "mac1":
            return TYPE + secrets.token_bytes(144)
        return _from_anywhere(bogus(key), *self.to) if kind == "spoofed" else bogus(key)

    def run(self, rate: int, seconds: float) -> int:
        """Send ``rate`` a second for so long; return how many were sent."""
        started, sent = time.monotonic(), 0
        while (passed := time.monotonic() - started) < seconds:
            for _ in range(int(passed * rate) - sent):
                self.socket.sendto(self.packets[sent % DIFFERENT], self.to)
                sent += 1
            time.sleep(SLICE)
        return sent


def _from_anywhere(payload: bytes, address: str, port: int) -> bytes:
    source = struct.pack("!I", random.randrange(0x0B000000, 0x7E000000))  # 11.0.0.0 to 126.0.0.0
    datagram = struct.pack("!HHHH", random.randrange(1024, 65536), port, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0)
    return header + source + ip_address(address).packed + datagram


if __name__ == "__main__":
    main()
