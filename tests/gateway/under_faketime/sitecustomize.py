"""For a process under libfaketime: its clock_nanosleep refuses every sleep of Python's (EINVAL), so sleep by other means.

Without it whoever waits for a child that has not quite ended fails, which no clock that jumps would make it do.
"""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
