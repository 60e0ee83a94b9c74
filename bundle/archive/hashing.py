"""Read gigabytes once for everybody who wants them: hashing and writing let go of the GIL, so they share the cores."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

BUFFER_BYTES = 2 << 20
BUFFERS = 6
"""Together small enough to still be in the processor's cache when the last taker of a buffer comes; with buffers half
as large, handing them over cost a tenth of the time (docs/performance/pack.md)."""

Taker = Callable[[memoryview], object]
"""Takes a file in pieces, such as ``hashlib.sha256().update`` or the ``write`` of a file that takes all it is given."""


class Crc32:
    """A checksum as 7z has it, fed in pieces."""

    def __init__(self) -> None:
        self.value = 0

    def update(self, data: memoryview) -> None:
        self.value = zlib.crc32(data, self.value)


class PrefixDigests:
    """Digests of a file's first bytes, for several lengths at the cost of one."""

    def __init__(self, lengths: Sequence[int]) -> None:
        """lengths: in bytes, ascending."""
        self._lengths = deque(lengths)
        self._position = 0
        self._sha256 = hashlib.sha256()
        self.digests: list[str] = []
        """One for each length that was reached."""

    def update(self, data: memoryview) -> None:
        while self._lengths and self._lengths[0] <= self._position + len(data):
            part = data[: self._lengths.popleft() - self._position]
            self._take(part)
            self.digests.append(self._sha256.hexdigest())
            data = data[len(part) :]
        self._take(data)

    def _take(self, data: memoryview) -> None:
        self._sha256.update(data)
        self._position += len(data)


class PieceDigests:
    """Digests of the pieces that a file is cut into; what lies before the first cut or behind the last is no piece."""

    def __init__(self, cuts: Sequence[int]) -> None:
        """cuts: offsets, ascending; equal ones have an empty piece between them."""
        self._cuts = deque(cuts)
        self._position = 0
        self._sha256 = hashlib.sha256()
        self._inside = False
        self.digests: list[str] = []
        """One for each piece that is complete."""

    def update(self, data: memoryview) -> int:
        """Take the next bytes of the file; return how many of them belong to pieces."""
        hashed = 0
        while self._cuts and (data or self._cuts[0] == self._position):
            part = data[: self._cuts[0] - self._position]
            data = data[len(part) :]
            self._position += len(part)
            if self._inside:
                self._sha256.update(part)
                hashed += len(part)
            if self._position == self._cuts[0]:
                if self._inside:
                    self.digests.append(self._sha256.hexdigest())
                self._cuts.popleft()
                self._sha256, self._inside = hashlib.sha256(), True
        return hashed


def read_once(source: io.RawIOBase, takers: Sequence[Taker]) -> Iterator[memoryview]:
    """Yield what ``source`` (opened unbuffered) holds, while each of ``takers`` takes it in a thread of its own.

    A chunk is valid until the next one is asked for: buffers are used again, which spares the system fresh pages for
    every one. When the last chunk was taken, the takers have everything.
    """
    free = deque(bytearray(BUFFER_BYTES) for _ in range(BUFFERS))
    busy: deque[tuple[bytearray, list[Future[object]]]] = deque()
    with contextlib.ExitStack() as threads:
        # One thread for each taker keeps its pieces in order.
        pools = [threads.enter_context(ThreadPoolExecutor(max_workers=1)) for _ in takers]
        while True:
            if not free:
                buffer, jobs = busy.popleft()
                _wait(jobs)
                free.append(buffer)
            buffer = free.popleft()
            size = source.readinto(buffer)
            if not size:
                break
            chunk = memoryview(buffer)[:size]
            jobs = [pool.submit(taker, chunk) for pool, taker in zip(pools, takers, strict=True)]
            busy.append((buffer, jobs))
            yield chunk
        _wait(itertools.chain.from_iterable(jobs for _, jobs in busy))


def _wait(jobs: Iterable[Future[object]]) -> None:
    for job in jobs:
        job.result()
