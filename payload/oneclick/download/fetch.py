"""One run: a range of the file that one connection fetches and writes to its place."""

from __future__ import annotations

import hashlib
import time
from typing import BinaryIO, Callable

from oneclick.download.faults import GONE, HICCUP, STALL, Fault
from oneclick.download.files import Tuning
from oneclick.download.part import Part
from oneclick.download.sources import Standing
from oneclick.download.transport import Body

HTML_STARTS = (b"<!doctype", b"<html", b"<head")


class Run:
    """What one connection is busy with; ``position`` and ``stop`` change only under the engine's lock."""

    def __init__(self, standing: Standing, start: int, stop: int, until: float | None = None) -> None:
        self.standing = standing
        self.is_stream = not standing.ranges
        """The answer starts at the file's first byte; what is not missing is dropped on the way."""
        self.noted = start
        """Everything of this run before here is recorded in the state file."""
        self.position = start
        self.stop = stop
        self.until = until
        """A speed sample ends here (monotonic), whatever has arrived."""
        self.number: int | None = None
        """Of the worker that fetches it; None for a speed sample."""
        self.orphaned = False
        """Given up while it waited for an answer; another worker has this one's number now."""
        self.began_at = time.monotonic()
        self.new_bytes = 0
        self.body: Body | None = None


class Writer:
    """Takes the bytes of one run in order: writes them, hashes them, records them slice by slice."""

    def __init__(self, part: Part, run: Run, tuning: Tuning, compare: Callable[[int], None]) -> None:
        self._part = part
        self._run = run
        self._tuning = tuning
        self._compare = compare
        """Called with the position of bytes that differ from what was on the disk."""
        self._end = run.noted
        """Everything of the run before here is written."""
        self._out: BinaryIO = part.open_for_writing()
        self._digest = hashlib.sha256()

    def seek(self, position: int) -> None:
        """Go on at ``position``, recording what came before."""
        self.note()
        self._run.noted = self._end = position
        self._digest = hashlib.sha256()

    def write(self, position: int, data: memoryview, compare: bool) -> None:
        """Put ``data`` at ``position``, which is where the last call ended. Raises OSError."""
        while data:
            room = self._slice_end(position) - position
            piece = data[:room]
            if compare:
                self._out.seek(position)
                if self._out.read(len(piece)) != piece:
                    self._compare(position)
            self._put(position, piece)
            self._digest.update(piece)
            self._end = position = position + len(piece)
            data = data[len(piece) :]
            if position == self._slice_end(position - 1):
                self.note()

    def _slice_end(self, position: int) -> int:
        """Return where the slice that holds ``position`` ends: it never crosses a block's border."""
        block, size = self._tuning.block_bytes, self._tuning.slice_bytes
        return min(self._run.noted + size, (position // block + 1) * block)

    def _put(self, position: int, data: memoryview) -> None:
        self._out.seek(position)
        while data:
            data = data[self._out.write(data) :]

    def note(self) -> None:
        """Record what has been written since the last slice."""
        run, length = self._run, self._end - self._run.noted
        if length:
            self._part.add(run.noted, length, self._digest.hexdigest(), run.standing.source.name)
            run.noted = self._end
            self._digest = hashlib.sha256()

    def close(self) -> None:
        try:
            self.note()
        finally:
            self._out.close()


def check_start(data: bytes, position: int, header: bytes, name: str) -> None:
    """Raise Fault when ``data``, which lies at ``position``, cannot be the start of the wanted file."""
    expected = header[position : position + len(data)]
    if expected and data[: len(expected)] != expected:
        raise Fault("html" if data.lstrip()[:1] == b"<" else "wrong_header", GONE)
    if position == 0 and not header and not name.lower().endswith((".html", ".htm")):
        start = data[:64].lstrip().lower()
        if start.startswith(HTML_STARTS):
            raise Fault("html", GONE)


def pump(
    body: Body,
    run: Run,
    writer: Writer,
    segments: list[tuple[int, int]],
    *,
    header: bytes,
    name: str,
    size_bytes: int,
    reserve: Callable[[Run, int], int],
    enter: Callable[[Run, int, int], None],
    wanted: Callable[[Run], bool],
    arrived: Callable[[Run, int], None],
    compare: bool,
) -> None:
    """Move bytes from ``body`` to their places in ``segments`` (start, stop), dropping those between.

    ``reserve(run, n)`` returns how many of the next ``n`` bytes still belong to this run (another worker may have
    taken over its end) and moves the run's position past them. Raises Fault and OSError.
    """
    position, data = body.start, memoryview(b"")
    for start, stop in segments:
        writer.seek(start)
        enter(run, start, stop)
        while run.position < run.stop:
            if not wanted(run):
                return
            while position + len(data) <= run.position:
                position += len(data)
                data = memoryview(body.read())
                if not data:
                    raise Fault("short", HICCUP) if position else Fault("empty", STALL)
                check_start(bytes(data[:64]), position, header, name)
                if not wanted(run):
                    return
            data, position = data[run.position - position :], run.position
            taken = reserve(run, len(data))
            writer.write(position, data[:taken], compare)
            data, position = data[taken:], position + taken
            arrived(run, taken)
    if body.length is None and run.position == size_bytes and (data or body.read()):
        raise Fault("too_long", GONE)
