"""A lock between processes, so that two builders do not do the same long work at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold_exclusively(path: Path) -> Iterator[None]:
    """Wait until no other process holds ``path``, then hold it; the file itself stays, empty.

    The system lets go of it when the process ends, however that happens.
    """
    with path.open("ab") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                    break
                except OSError:
                    time.sleep(0.5)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
