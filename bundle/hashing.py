"""Read gigabytes once and hash them while the caller does something else with them: hashing lets go of the GIL."""

from __future__ import annotations

import contextlib
import io
import itertools
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

BUFFER_BYTES = 1 << 20
"""Small enough to still be in the processor's cache when the second reader of a buffer comes."""
BUFFERS = 8


class Updatable(Protocol):
    """Anything that is fed in pieces, such as ``hashlib.sha256()``."""

    def update(self, data: memoryview, /) -> object: ...


class Crc32:
    """A checksum as 7z has it, fed in pieces."""

    def __init__(self) -> None:
        self.value = 0

    def update(self, data: memoryview) -> None:
        self.value = zlib.crc32(data, self.value)


def hashed_chunks(source: io.RawIOBase, digests: Sequence[Updatable]) -> Iterator[memoryview]:
    """Yield what ``source`` (opened unbuffered) holds, while each of ``digests`` takes it in a thread of its own.

    A chunk is valid until the next one is asked for: buffers are used again, which spares the system fresh pages for
    every one. When the last chunk was taken, the digests are complete.
    """
    free = deque(bytearray(BUFFER_BYTES) for _ in range(BUFFERS))
    busy: deque[tuple[bytearray, list[Future[object]]]] = deque()
    with contextlib.ExitStack() as threads:
        # One thread for each digest keeps its pieces in order.
        pools = [threads.enter_context(ThreadPoolExecutor(max_workers=1)) for _ in digests]
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
            jobs = [pool.submit(digest.update, chunk) for pool, digest in zip(pools, digests, strict=True)]
            busy.append((buffer, jobs))
            yield chunk
        _wait(itertools.chain.from_iterable(jobs for _, jobs in busy))


def _wait(jobs: Iterable[Future[object]]) -> None:
    for job in jobs:
        job.result()
