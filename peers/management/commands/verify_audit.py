"""`manage.py verify_audit [--head DIGEST]`: hold the audit against its chain of seals."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from peers.chain import Walk
from peers.seals import text
from peers.states import database_now

EVERY = 100_000  # events, for a line of progress


class Command(BaseCommand):
    help = "Compute the whole chain of seals over the audit again and say what was changed since."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--head", action="append", type=_digest, default=[], metavar="DIGEST",
            help="a digest from the log, which must be in the chain; may be repeated",
        )  # fmt: skip

    def handle(self, *, head: list[bytes], **_: Any) -> None:
        walk, count = Walk(head), 0
        for sentence in walk.findings(database_now(), self._progress(walk)):
            count += 1
            self.stderr.write(sentence)
        self.stdout.write(f"{walk.events} events under {walk.seals} seals; the head is {walk.head.hex()}.")
        since = f", the first of {text(walk.waiting_since)}" if walk.waiting_since else ""
        self.stdout.write(f"{walk.waiting} events not yet sealed{since}.")
        if count:
            raise CommandError(f"The audit is not as it was sealed: {count} findings.")

    def _progress(self, walk: Walk) -> Any:
        told = 0

        def tell() -> None:
            nonlocal told
            if walk.events - told >= EVERY:
                told = walk.events
                self.stdout.write(f"{walk.events} events so far")
                self.stdout.flush()

        return tell


def _digest(value: str) -> bytes:
    try:
        found = bytes.fromhex(value)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ArgumentTypeError("a digest is 64 hexadecimal digits, as in the log's audit_sealed")
    return found
