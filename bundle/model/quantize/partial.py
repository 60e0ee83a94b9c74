"""A model file while it is being written: parts in any order, kept across interruptions, named only when complete."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from bundle.errors import BundleError, StorageError
from bundle.log import human_bytes
from oneclick.files import move

SAVE_EVERY_S = 5.0


class PartialModel:
    """``OUTPUT.part`` and beside it ``OUTPUT.part.json``, which lists the tensors that are on the disk.

    ``fingerprint`` stands for everything that decides the bytes; a part with another one is begun anew.
    """

    def __init__(self, output: Path, size_bytes: int, fingerprint: str) -> None:
        self.output = output
        self.path = output.with_name(output.name + ".part")
        self._state = output.with_name(output.name + ".part.json")
        self._size_bytes = size_bytes
        self._fingerprint = fingerprint
        self._saved_at = time.monotonic()
        self.finished: set[str] = self._read_finished()

    def _read_finished(self) -> set[str]:
        """Return the tensors that an interrupted run of the same job has finished."""
        try:
            state: Any = json.loads(self._state.read_text(encoding="utf-8"))
            same = state["fingerprint"] == self._fingerprint and self.path.stat().st_size == self._size_bytes
            return set(state["finished"]) if same else set()
        except (OSError, ValueError, KeyError, TypeError):
            return set()

    def open(self, missing_bytes: int, start: bytes) -> None:
        """Make the part with its full size, ``start`` as its first bytes.

        Raises StorageError when the disk has no room for ``missing_bytes``, does not take so large a file, or
        cannot be written.
        """
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            if not self.finished:
                self.path.unlink(missing_ok=True)
                self._state.unlink(missing_ok=True)
            self._check_room(missing_bytes)
            with self.path.open("r+b" if self.finished else "wb") as stream:
                stream.truncate(self._size_bytes)
                stream.write(start)
        except OSError as error:
            raise self.storage_error(error) from error

    def _check_room(self, missing_bytes: int) -> None:
        free_bytes = shutil.disk_usage(self.output.parent).free
        if free_bytes < missing_bytes:
            raise StorageError(
                f"no room for {self.output.name}",
                why=f"{human_bytes(missing_bytes)} are needed, {human_bytes(free_bytes)} are free",
                do=f"free {human_bytes(missing_bytes - free_bytes)}, or choose another disk with -o",
            )

    def storage_error(self, error: OSError) -> BundleError:
        """Return what to tell about a failure to write; what was written stays for the next run."""
        if error.errno == errno.EFBIG or (error.errno == errno.EINVAL and self._size_bytes >= 1 << 32):
            why = f"the file takes {self._size_bytes} bytes; a FAT32 disk takes 4294967295 at most"
            return StorageError(f"{self.output.name} is too large for this disk", why=why, do="use an NTFS disk")
        return StorageError(
            f"{self.output.name} cannot be written",
            why=f"{error.strerror or error}; what is finished is kept in {self.path.name}",
            do="make room or correct the permissions, then run the same command again",
        )

    def done(self, name: str) -> None:
        """Note that tensor ``name`` has been written; the note reaches the disk some seconds later."""
        self.finished.add(name)
        if time.monotonic() - self._saved_at > SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Put the data, then the list of finished tensors on the disk."""
        temporary = self._state.with_name(self._state.name + ".tmp")
        state = {"fingerprint": self._fingerprint, "finished": sorted(self.finished)}
        try:
            with self.path.open("r+b") as stream:
                os.fsync(stream.fileno())
            temporary.write_text(json.dumps(state, indent=1), encoding="utf-8")
            move(temporary, self._state)
        except OSError as error:
            raise self.storage_error(error) from error
        self._saved_at = time.monotonic()

    def complete(self) -> None:
        """Give the finished file its name."""
        self._move(self.output)

    def set_aside(self) -> Path:
        """Keep a file that must not be used as ``OUTPUT.bad`` and return its path."""
        bad = self.output.with_name(self.output.name + ".bad")
        self._move(bad)
        return bad

    def _move(self, target: Path) -> None:
        try:
            move(self.path, target)
        except OSError as error:
            raise self.storage_error(error) from error
        self._state.unlink(missing_ok=True)


def fingerprint_of(*parts: object) -> str:
    """Return a digest of ``parts``, whose ``repr`` must be the same on every run."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
