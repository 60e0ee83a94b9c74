"""The growing file ``NAME.part`` and ``NAME.part.state``, which says what of it is there.

The state file only ever grows by lines of JSON: first what file this is, then one line per slice with its digest.
A slice is believed only after its bytes on the disk have been compared with that digest, so neither file needs
to reach the disk in order: after a power cut the digests tell which bytes are real.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable

from oneclick.download.errors import AnotherInstance, CannotRename, NotWritable
from oneclick.download.files import RemoteFile
from oneclick.files import move

FORMAT = 1
LOCK_OFFSET = 0x7FFF0000
"""The locked byte lies far behind the end, because a locked byte cannot be read by others on Windows; below 2 GiB,
because the C runtime counts in 32 bits there."""


@dataclass(frozen=True)
class Slice:
    """A run of bytes that arrived: from ``start``, ``length`` long."""

    start: int
    length: int
    sha256: str
    source: str
    proven: bool
    """False: noted by an earlier run; its bytes have not been compared with ``sha256`` yet."""

    @property
    def stop(self) -> int:
        return self.start + self.length


class Part:
    """The bytes of one file as far as they are there; safe to use from any thread.

    ``changed`` is notified whenever slices come or go.
    """

    def __init__(self, file: RemoteFile, target: Path) -> None:
        self.file = file
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self.state_path = target.with_name(target.name + ".part.state")
        self.changed = threading.Condition()
        self._starts: list[int] = []
        self._slices: dict[int, Slice] = {}
        self._done_bytes = 0
        self._state: BinaryIO | None = None

    def open(self) -> None:
        """Create or take up both files, and keep other processes off them.

        Raises NotWritable, AnotherInstance; OSError when the disk is full.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._state = self.state_path.open("a+b", buffering=0)
        except OSError as error:
            raise NotWritable(self.state_path, error.strerror or str(error)) from error
        try:
            self._lock()
            self._take_up()
        except BaseException:
            self._state.close()
            raise

    def _lock(self) -> None:
        assert self._state is not None
        try:
            _lock_byte(self._state)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return  # A network drive without locks: better a download without protection than none.
            raise AnotherInstance(self.file.name, self._header().get("pid")) from error

    def _header(self) -> dict[str, Any]:
        """Return the first line of the state file, empty when there is none."""
        assert self._state is not None
        self._state.seek(0)
        with contextlib.suppress(ValueError):
            header = json.loads(self._state.readline(65536))
            if isinstance(header, dict):
                return header
        return {}

    def _take_up(self) -> None:
        """Read the slices of an earlier run, or start anew when the files are of another file."""
        assert self._state is not None
        header = self._header()
        wanted = {"format": FORMAT, "sha256": self.file.sha256}
        if {key: header.get(key) for key in wanted} == wanted and self.path.exists():
            self._read_slices()
            # A torn last line must not swallow the next one.
            self._state.write(b"\n")
            return
        if not header:
            self._keep_foreign_part()
        self._state.truncate(0)
        line = {**wanted, "name": self.file.name, "size_bytes": self.file.size_bytes, "pid": os.getpid()}
        self._state.write(json.dumps(line).encode() + b"\n")
        try:
            self.path.open("wb").close()
        except OSError as error:
            raise NotWritable(self.path, error.strerror or str(error)) from error

    def _keep_foreign_part(self) -> None:
        """Move a ``.part`` without a state file aside: browsers use that name, too."""
        assert self._state is not None
        if os.fstat(self._state.fileno()).st_size or not self.path.exists() or not self.path.stat().st_size:
            return
        try:
            move(self.path, self.path.with_name(self.path.name + ".old"))
        except OSError as error:
            raise NotWritable(self.path, error.strerror or str(error)) from error

    def _read_slices(self) -> None:
        assert self._state is not None
        available = self.path.stat().st_size
        self._state.seek(0)
        for line in self._state.read().splitlines()[1:]:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                start, stop = int(record["at"]), int(record["to"])
                if record.get("sha256") is None:
                    self._forget(start, stop)
                elif start < stop <= available:
                    self._forget(start, stop)
                    self._remember(Slice(start, stop - start, record["sha256"], str(record["from"]), proven=False))

    def _remember(self, piece: Slice) -> None:
        bisect.insort(self._starts, piece.start)
        self._slices[piece.start] = piece
        self._done_bytes += piece.length

    def _forget(self, start: int, stop: int) -> None:
        """Drop every slice that overlaps ``start`` to before ``stop``."""
        index = max(0, bisect.bisect_right(self._starts, start) - 1)
        while index < len(self._starts) and self._starts[index] < stop:
            piece = self._slices[self._starts[index]]
            if piece.stop <= start:
                index += 1
                continue
            del self._slices[piece.start], self._starts[index]
            self._done_bytes -= piece.length

    def _note(self, **record: object) -> None:
        # A failure here costs at most a second download of this slice, never a wrong file.
        with contextlib.suppress(OSError, ValueError):
            if self._state is not None:
                self._state.write(json.dumps(record).encode() + b"\n")

    def add(self, start: int, length: int, sha256: str, source: str) -> None:
        """Record that ``length`` bytes from ``start`` are written to the file."""
        with self.changed:
            self._forget(start, start + length)
            self._remember(Slice(start, length, sha256, source, proven=True))
            self._note(at=start, to=start + length, sha256=sha256, **{"from": source})
            self.changed.notify_all()

    def drop(self, start: int, stop: int) -> None:
        """Forget what is there between ``start`` and ``stop``: it has to come again."""
        with self.changed:
            self._forget(start, stop)
            self._note(at=start, to=stop)
            self.changed.notify_all()

    @property
    def done_bytes(self) -> int:
        return self._done_bytes

    def slice_at(self, start: int) -> Slice | None:
        """Return the slice that begins at ``start``; call with ``changed`` held to wait for one."""
        return self._slices.get(start)

    def holes(self, stop: int, only: str | None = None) -> list[tuple[int, int]]:
        """Return what is missing before ``stop`` as (start, stop) pairs in order.

        With ``only``, bytes that came from any other source count as missing.
        """
        with self.changed:
            found, position = [], 0
            for start in self._starts:
                if only is not None and self._slices[start].source != only:
                    continue
                if start > position:
                    found.append((position, start))
                position = max(position, self._slices[start].stop)
            if position < stop:
                found.append((position, stop))
            return found

    def sources(self) -> dict[str, int]:
        """Return source name -> bytes that came from it."""
        shares: dict[str, int] = {}
        with self.changed:
            for piece in self._slices.values():
                shares[piece.source] = shares.get(piece.source, 0) + piece.length
        return shares

    def open_for_writing(self) -> BinaryIO:
        """Return a handle of its own for one writer; the caller closes it."""
        return self.path.open("r+b", buffering=0)

    def finish(self, patience_s: float) -> None:
        """Give the verified file its final name. Raises CannotRename, after ``patience_s`` of trying."""
        with self.path.open("r+b") as whole:
            os.fsync(whole.fileno())
        replace_patiently(self.path, self.target, patience_s)
        self.discard_state()

    def set_aside(self) -> Path:
        """Keep the wrong bytes as ``NAME.bad`` and return that path."""
        kept = self.target.with_name(self.target.name + ".bad")
        replace_patiently(self.path, kept, 1.0)
        self.discard_state()
        return kept

    def discard_state(self) -> None:
        self.close()
        with contextlib.suppress(OSError):
            self.state_path.unlink()

    def discard(self) -> None:
        """Remove both files: nothing worth keeping has arrived."""
        self.discard_state()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def close(self) -> None:
        """Let go of the files; what is there stays for the next run."""
        state, self._state = self._state, None
        if state is not None:
            state.close()  # Closing unlocks.


def replace_patiently(path: Path, target: Path, patience_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Rename ``path`` over ``target``, trying again while a virus scanner or an indexer holds one of them.

    Raises CannotRename after ``patience_s``; the file keeps its old name then.
    """
    try:
        move(path, target, patience_s, sleep)
    except PermissionError as error:
        raise CannotRename(path, target, error.strerror or str(error)) from error


if sys.platform == "win32":
    import msvcrt

    _NO_LOCKS: tuple[int, ...] = ()

    def _lock_byte(state: BinaryIO) -> None:
        position = state.tell()
        state.seek(LOCK_OFFSET)
        try:
            msvcrt.locking(state.fileno(), msvcrt.LK_NBLCK, 1)
        finally:
            state.seek(position)

else:
    import errno
    import fcntl

    _NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP)

    def _lock_byte(state: BinaryIO) -> None:
        fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
