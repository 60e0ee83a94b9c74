"""The workers of one download: each fetches one range after the other over a connection of its own."""

from __future__ import annotations

import functools
import shutil
import threading
import time

from oneclick.download.checks import is_full
from oneclick.download.errors import AllSourcesFailed, Attempt, DiskFull, NotWritable
from oneclick.download.faults import LESSON, STALL, Fault
from oneclick.download.fetch import Run, Writer, pump
from oneclick.download.files import RemoteFile, Tuning
from oneclick.download.part import Part
from oneclick.download.probe import address_of
from oneclick.download.proxy import Lines
from oneclick.download.sources import Board, Standing
from oneclick.download.transport import Body, open_range

STOP_PATIENCE_S = 2.0


class Crew:
    """Fetches what ``part`` lacks from the board's active source.

    ``turn`` guards the board and everything here; it is notified whenever there may be something new to do.
    """

    def __init__(
        self,
        file: RemoteFile,
        part: Part,
        board: Board,
        lines: Lines,
        tuning: Tuning,
        timeouts: tuple[float, float],
    ) -> None:
        assert file.size_bytes is not None
        self.file = file
        self.size_bytes: int = file.size_bytes
        self.part = part
        self.board = board
        self.lines = lines
        self.tuning = tuning
        self.timeouts = timeouts
        """For connecting and for silence, in seconds."""
        self.turn = threading.Condition()
        self.runs: list[Run] = []
        self.over = False
        self.fatal: BaseException | None = None
        """What the caller's thread has to raise."""
        self._changed_from: int | None = None
        """Lowest position where a second source sent other bytes than the first."""

    # -- for the caller's thread ------------------------------------------------------------------------------

    def start(self, count: int) -> None:
        """Let ``count`` workers begin."""
        for number in range(count):
            self._start_worker(number)

    def stop(self) -> None:
        """End all work and wait until no worker writes to the part any more."""
        with self.turn:
            self.over = True
            for run in self.runs:
                if run.body is not None:
                    run.body.abort()
            self.turn.notify_all()
            deadline = time.monotonic() + STOP_PATIENCE_S
            # A worker that still waits for an answer's first line holds no file; it ends by itself.
            while any(run.body is not None for run in self.runs) and time.monotonic() < deadline:
                self.turn.wait(0.1)

    def wake(self) -> None:
        """Let everybody look again whether there is something to do."""
        with self.turn:
            self.turn.notify_all()

    def holes(self) -> list[tuple[int, int]]:
        """Return what is missing, as (start, stop); what did not come from ``board.only`` is missing, too."""
        only = self.board.only
        return self.part.holes(self.size_bytes, only.source.name if only else None)

    def done_bytes(self) -> int:
        """Return how much is on the disk, recorded or not yet."""
        with self.turn:
            missing = sum(stop - start for start, stop in self.holes())
            return self.size_bytes - missing + sum(run.position - run.noted for run in self.runs)

    def turn_to_another_source(self) -> None:
        """Cut the connections of sources that are no longer active; called with ``turn`` held.

        A worker that still waits for an answer's first line cannot be woken: another one takes its place.
        """
        for run in list(self.runs):
            if self._is_wanted(run):
                continue
            if run.body is not None:
                run.body.abort()
            elif run.number is not None:
                self.runs.remove(run)
                run.orphaned = True
                self._start_worker(run.number)
        self.turn.notify_all()

    def distrust(self, source: str) -> None:
        """Leave the source of a block with the wrong digest, for good when it is the second one; ``turn`` is held."""
        for standing in self.board.standings:
            if standing.source.name == source:
                attempt = Attempt(source, "wrong_block", {})
                standing.gone = attempt in self.board.attempts
                self.board.record(attempt)
                self.board.leave(standing, attempt)
                self.turn_to_another_source()

    def ask_only(self, standing: Standing | None) -> None:
        """Compare everything with what ``standing`` sends; None ends that."""
        with self.turn:
            if standing is not None:
                standing.left, standing.strikes = False, 0
            self.board.only, self.board.active = standing, None
            self.fatal, self._changed_from = None, None
            self.turn.notify_all()

    def take_change(self) -> int | None:
        """Return the lowest position that changed while comparing, once."""
        with self.turn:
            changed, self._changed_from = self._changed_from, None
            return changed

    # -- workers ----------------------------------------------------------------------------------------------

    def _start_worker(self, number: int) -> None:
        threading.Thread(target=self._work, args=(number,), name=f"download {number}", daemon=True).start()

    def _work(self, number: int) -> None:
        """Fetch one run after the other until the download is over or another worker took this one's place."""
        while True:
            run = self._next_run(number)
            if run is None:
                return
            run.number = number
            try:
                self.fetch(run)
            except Fault as fault:
                self._strike(run, fault)
            except BaseException as error:
                self.die(error)
            finally:
                self.release(run)
            if run.orphaned:
                return

    def _next_run(self, number: int) -> Run | None:
        with self.turn:
            while not self.over:
                wait_s = 1.0
                if self.fatal is None and (self._gaps() or self.runs):
                    standing = self.board.choose()
                    if standing is None:
                        self._fail(AllSourcesFailed(self.file.name, self.board.attempts))
                    else:
                        wait_s = standing.retry_at - time.monotonic()
                        if wait_s <= 0:
                            run = self._choose_run(standing, number)
                            if run is not None:
                                self.runs.append(run)
                                return run
                            wait_s = 1.0
                self.turn.wait(min(1.0, wait_s))
            return None

    def _fail(self, error: BaseException) -> None:
        if self.fatal is None:
            self.fatal = error
            self.turn.notify_all()

    def _gaps(self) -> list[tuple[int, int]]:
        """Return what is missing and nobody is fetching."""
        gaps = []
        for start, stop in self.holes():
            for run in sorted(self.runs, key=lambda run: run.noted):
                if run.stop <= start or run.noted >= stop:
                    continue
                if run.noted > start:
                    gaps.append((start, run.noted))
                start = max(start, run.stop)
            if start < stop:
                gaps.append((start, stop))
        return gaps

    def _choose_run(self, standing: Standing, number: int) -> Run | None:
        gaps = self._gaps()
        if standing.connections == 1 or not standing.ranges:
            if self.runs or not gaps:
                return None
            return Run(standing, gaps[0][0], gaps[0][1] if standing.ranges else self.size_bytes)
        if number >= standing.connections:
            return None
        if not gaps:
            return self._share_longest_run(standing)
        start, stop = gaps[0]
        # In order and a block at a time: the digest follows closely, and NTFS, which fills what is skipped
        # with zeros, never has much to fill.
        return Run(standing, start, min(stop, (start // self.tuning.block_bytes + 1) * self.tuning.block_bytes))

    def _share_longest_run(self, standing: Standing) -> Run | None:
        """Take over the second half of the run with most left, so that the end is not one slow connection's."""
        longest = max(self.runs, key=lambda run: run.stop - run.position, default=None)
        if longest is None or longest.stop - longest.position < 4 * self.tuning.slice_bytes:
            return None
        middle = longest.position + (longest.stop - longest.position) // 2
        run = Run(standing, middle, longest.stop)
        longest.stop = middle
        return run

    def _is_wanted(self, run: Run) -> bool:
        if self.over:
            return False
        if run.until is not None:
            return time.monotonic() < run.until
        return run.standing is self.board.active

    def fetch(self, run: Run) -> None:
        """Fetch ``run``. Raises Fault for what the source did, OSError for what the disk did."""
        body = self._open(run)
        with body:
            with self.turn:
                run.body = body
            if not body.partial and not run.is_stream and run.position > 0:
                with self.turn:
                    run.standing.ranges = False
                    raise Fault("no_ranges", STALL if self.board.others(run.standing) else LESSON)
            segments = [(run.position, run.stop)]
            if run.is_stream:
                segments = [(max(start, run.position), stop) for start, stop in self.holes() if stop > run.position]
            writer = Writer(self.part, run, self.tuning, self._on_difference)
            try:
                pump(
                    body,
                    run,
                    writer,
                    segments,
                    header=self.file.header,
                    name=self.file.name,
                    size_bytes=self.size_bytes,
                    reserve=self._reserve,
                    enter=self._enter,
                    wanted=self._is_wanted,
                    arrived=self._arrived,
                    compare=self.board.only is not None,
                )
            finally:
                writer.close()

    def _open(self, run: Run) -> Body:
        standing = run.standing
        if not standing.address:
            standing.address = address_of(standing.source)
        ask = functools.partial(
            open_range,
            self.lines.of(standing.source),
            size_bytes=self.size_bytes,
            connect_timeout_s=self.timeouts[0],
            idle_timeout_s=self.timeouts[1],
            html_is_wrong=not self.file.name.lower().endswith((".html", ".htm")),
        )
        if standing.direct:
            try:
                return ask(standing.direct, run.position, run.stop)
            except Fault:
                # The link of the last redirect has expired, or its host has gone: ask the source itself again.
                standing.direct = ""
        body = ask(standing.address, run.position, run.stop)
        if body.final_url != standing.address:
            standing.direct = body.final_url
        return body

    def _reserve(self, run: Run, length: int) -> int:
        with self.turn:
            taken = max(0, min(length, run.stop - run.position))
            run.position += taken
            return taken

    def _enter(self, run: Run, start: int, stop: int) -> None:
        with self.turn:
            run.position = start
            run.stop = stop if run.is_stream else min(stop, run.stop)

    def _arrived(self, run: Run, length: int) -> None:
        run.new_bytes += length
        with self.turn:
            self.board.arrived(run.standing)

    def _strike(self, run: Run, fault: Fault) -> None:
        with self.turn:
            if run.standing is not self.board.active or self.over:
                return  # We cut this connection ourselves.
            before = self.board.active
            self.board.strike(run.standing, fault, run.began_at)
            if self.board.active is not before:
                self.turn_to_another_source()

    def release(self, run: Run) -> None:
        with self.turn:
            if run in self.runs:
                self.runs.remove(run)
            self.turn.notify_all()

    def die(self, error: BaseException) -> None:
        """Let the caller's thread raise what stopped a worker."""
        if isinstance(error, OSError):
            folder = self.part.path.parent
            if is_full(error):
                free = shutil.disk_usage(folder).free
                wanted = self.size_bytes - self.part.done_bytes + self.tuning.reserve_bytes
                error = DiskFull(folder, max(1, wanted - free))
            else:
                error = NotWritable(self.part.path, error.strerror or str(error))
        with self.turn:
            self._fail(error)
            self.over = True

    def _on_difference(self, position: int) -> None:
        with self.turn:
            self._changed_from = position if self._changed_from is None else min(self._changed_from, position)
