"""What a process does before it imports the engine: streams of its own, no dialog, full speed.

On Windows a synchronous read blocks every other call on the same pipe, fstat and PeekNamedPipe among them. OpenBLAS's
Fortran runtime looks at descriptors 0 to 2 while it is loaded, under the loader lock: were standard input a pipe that
a thread reads, the import would never end (numpy/numpy#24290, python/cpython#78961). So none of ours is such a pipe.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import BinaryIO


def take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return (standard input, standard output) as streams of ours alone, unbuffered output.

    Descriptor 0 is the null device from then on and 1 is standard error, for native code and for Python; the C runtime
    of Windows keeps GetStdHandle in step with them. Call it before any thread starts.
    """
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return source, target


def prepare() -> None:
    """Let a crash end this process at once and be told; end with the parent; compute at full speed on battery too."""
    faulthandler.enable()
    if sys.platform == "win32":
        from oneclick.pc.power import be_a_plain_process

        be_a_plain_process()
    elif sys.platform == "linux":
        _die_with_parent()


def _die_with_parent() -> None:
    """End when the parent does even inside a native call (Windows: the parent's job object does that)."""
    import ctypes
    import signal

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
