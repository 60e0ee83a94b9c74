"""Digests of files, of gigabytes too: with progress, and remembered as long as a file does not change."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Callable

from oneclick.errors import OneClickError
from oneclick.files import open_to_read, read_facts, reading, write_facts

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in total."""
Cancel = Callable[[], bool]
"""Asked between blocks; True stops the work."""


def sha256_of(path: Path, *, progress: Progress | None = None, cancel: Cancel | None = None) -> str:
    """Return the sha256 of ``path`` in lower-case hex; OneClickError("model.cancelled") when ``cancel`` says so."""
    digest = hashlib.sha256()
    done = 0
    with open_to_read(path) as stream:
        total = os.fstat(stream.fileno()).st_size
        buffer = memoryview(bytearray(4 << 20))
        while True:
            if cancel is not None and cancel():
                raise OneClickError("model.cancelled")
            with reading(path):
                size = stream.readinto(buffer)  # type: ignore[attr-defined]
            if not size:
                return digest.hexdigest()
            digest.update(buffer[:size])
            done += size
            if progress is not None:
                progress(done, total)


class DigestMemory:
    """Digests of files already hashed, kept in one small JSON file; a file that changed is hashed again.

    ``path -> {file name: [size, modification time in ns, sha256]}``. Losing or damaging it costs one hashing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def recall(self, file: Path) -> str | None:
        """Return the digest ``file`` had when it was last hashed, None when it is another file by now."""
        entry = read_facts(self._path).get(file.name)
        state = file.stat()
        if isinstance(entry, list) and entry[:2] == [state.st_size, state.st_mtime_ns] and len(entry) == 3:
            return str(entry[2])
        return None

    def remember(self, file: Path, sha256: str) -> None:
        """Keep ``sha256`` for ``file``; a folder that cannot be written only costs the next start some seconds."""
        state = file.stat()
        write_facts(self._path, {**read_facts(self._path), file.name: [state.st_size, state.st_mtime_ns, sha256]})


def digest_of(
    path: Path,
    memory: DigestMemory | None = None,
    *,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> str:
    """Return the sha256 of ``path``, from ``memory`` when the file has not changed since it was last hashed."""
    with reading(path):
        known = memory.recall(path) if memory is not None else None
    if known is not None:
        return known
    digest = sha256_of(path, progress=progress, cancel=cancel)
    if memory is not None:
        memory.remember(path, digest)
    return digest
