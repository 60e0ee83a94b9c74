"""Run ``python -m oneclick ARGUMENTS`` and die, as if the power went, before the Nth change to the disk.

python killing.py N FOLDER ARGUMENTS...      N = 0: live on, and print the number of changes at the end
"""

from __future__ import annotations

import atexit
import os
import runpy
import signal
import sys

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")
die_at, folder = int(sys.argv[1]), sys.argv[2]
seen = 0


def count(event: str, values: tuple[object, ...]) -> None:
    global seen
    opens_to_write = event == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR)
    if (event in CHANGES or opens_to_write) and str(values[0]).startswith(folder):
        seen += 1
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(count)
atexit.register(lambda: print(f"changes: {seen}"))
sys.argv[1:] = sys.argv[3:]
runpy.run_module("oneclick", run_name="__main__", alter_sys=True)
