"""What the demo says in the terminal: a line a step with its seconds, and sentences when it cannot go on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic


class Sorry(Exception):
    """The demo cannot do this; the message is a sentence that says why, and what to do."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is being done and, once it is done, how many seconds it took."""
    started = monotonic()
    say(f"  {what} … ", end="")
    try:
        yield
    except BaseException:
        say("not done")
        raise
    say(f"{monotonic() - started:.1f} s")


def say(text: str, end: str = "\n") -> None:
    """Print at once, whatever standard output is; a terminal that has gone away is no reason to fail."""
    try:
        sys.stdout.write(text + end)
        sys.stdout.flush()
    except OSError:
        pass
