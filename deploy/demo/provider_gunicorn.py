"""How gunicorn runs the demo's identity provider: it logs as the portal does, and ends with the demo and not before."""

import ctypes
import os
import runpy
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1  # prctl(2)

logger_class = runpy.run_path(str(Path(__file__).parents[1] / "gunicorn.conf.py"))["Logger"]
capture_output = True

os.setsid()  # an interrupt from the terminal is the demo's to handle: a worker that gets it as well may hang for ever
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
