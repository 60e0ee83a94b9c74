"""The download itself: workers fetch ranges, the digest follows, the caller's thread watches over both."""

from __future__ import annotations

import functools
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from oneclick.download.board import Board, Standing
from oneclick.download.checks import check_folder, check_writable, is_full
from oneclick.download.digest import RunningDigest
from oneclick.download.errors import (
    AllSourcesFailed,
    Attempt,
    Cancelled,
    DigestDiffers,
    DiskFull,
    NotWritable,
)
from oneclick.download.fetch import Run, Writer, pump
from oneclick.download.files import DownloadResult, Event, Progress, RemoteFile, Tuning
from oneclick.download.part import Part
from oneclick.download.probe import address_of, probe_all
from oneclick.download.rate import RateMeter
from oneclick.download.stream import download_of_unknown_size
from oneclick.download.transport import GONE, LESSON, STALL, Body, Fault, make_session, open_range

if TYPE_CHECKING:
    import requests

MAX_CONNECTIONS = 8
OVER = 0.0
"""As ``Run.until``: the sample has ended."""


def download(
    file: RemoteFile,
    target: Path,
    *,
    progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
    on_event: Callable[[Event], None] | None = None,
    connections: int = 4,
    session: requests.Session | None = None,
    connect_timeout_s: float = 10.0,
    idle_timeout_s: float = 30.0,
    tuning: Tuning | None = None,
) -> DownloadResult:
    """Fetch ``file`` to ``target``, which appears only once it is whole and its digest agrees.

    What arrives is kept in ``target``.part and taken up by the next call, from whichever source. ``progress`` is
    called about four times a second in the caller's thread, ``on_event`` from any thread when something happens
    that a person may want to read, such as a change of source. Raises the errors of ``download.errors``.
    """
    own_session = session is None
    asked = make_session() if session is None else session
    tell = on_event or _ignore
    tuning = tuning or Tuning()
    try:
        if file.size_bytes is None:
            return download_of_unknown_size(
                file, target, asked, progress, cancel, tell, (connect_timeout_s, idle_timeout_s), tuning
            )
        job = _Job(file, target, asked, tuning)
        job.connections = 1 if file.size_bytes < tuning.small_bytes else max(1, min(MAX_CONNECTIONS, connections))
        job.timeouts = (connect_timeout_s, idle_timeout_s)
        job.progress, job.cancel, job.tell = progress, cancel, tell
        return job.run()
    finally:
        if own_session:
            asked.close()


def _ignore(_: Event) -> None:
    """Stand in for an ``on_event`` that nobody gave."""


class _Job:
    """One call of ``download`` for a file of known size."""

    connections: int
    timeouts: tuple[float, float]
    progress: Callable[[Progress], None] | None
    cancel: threading.Event | None
    tell: Callable[[Event], None]

    def __init__(self, file: RemoteFile, target: Path, session: requests.Session, tuning: Tuning) -> None:
        assert file.size_bytes is not None
        self.file = file
        self.size_bytes: int = file.size_bytes
        self.session = session
        self.tuning = tuning
        self.part = Part(file, target)
        self.digest = RunningDigest(self.part, self.size_bytes, tuning.block_bytes, self._on_damage, self._wake)
        self.meter = RateMeter(tuning.slow_window_s)
        self.turn = threading.Condition()
        """Guards everything below; workers wait on it for something to do."""
        self.runs: list[Run] = []
        self.over = False
        self.fatal: BaseException | None = None
        self.changed_from: int | None = None
        """Lowest position where a second source sent other bytes than the first."""
        self.board = Board([], tuning, _ignore)

    def run(self) -> DownloadResult:
        self.board = Board.of(self.file.sources, self.connections, self.tuning, self.tell)
        check_writable(self.part.path.parent)
        self.part.open()
        try:
            self._check_room()
            self._fill()
            self._convince()
            sources = self.part.sources()
            self.part.finish(self.tuning.rename_patience_s)
        finally:
            self._end_threads()
            if self.part.done_bytes == 0 and self.size_bytes:
                self.part.discard()
            self.part.close()
        order = sorted(sources, key=lambda name: -sources[name])
        return DownloadResult(", ".join(order), tuple(self.board.attempts))

    def _check_room(self) -> None:
        small = self.size_bytes < self.tuning.small_bytes
        missing = self.size_bytes - self.part.done_bytes
        reserve = 0 if small else self.tuning.reserve_bytes
        check_folder(self.part.path.parent, self.file.name, self.size_bytes, missing, reserve)

    # -- filling the part -------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Have every byte on the disk and hashed. Raises when that cannot be done."""
        self.digest.start()
        if self._holes() and self.size_bytes >= self.tuning.small_bytes:
            self._look_at_sources()
        for number in range(self.connections):
            self._start_worker(number)
        while not self.digest.complete:
            self._watch()

    def _watch(self) -> None:
        """Wait a moment, then look after everything that is not a worker's business."""
        with self.turn:
            self.turn.wait_for(lambda: self.fatal or not self.digest.running, self.tuning.tick_s)
            if self.cancel is not None and self.cancel.is_set():
                raise Cancelled(self.file.name)
            if self.digest.failure is not None:
                raise NotWritable(self.part.path, str(self.digest.failure)) from self.digest.failure
            if self.fatal is not None:
                raise self.fatal
            holes = self._holes()
            self._leave_slow_source(bool(holes))
        self._report("downloading" if holes else "checking")

    def _leave_slow_source(self, busy: bool) -> None:
        if not busy or not self.meter.covers(self.tuning.slow_window_s):
            return
        if self.board.leave_if_slow(self.meter.rate_bytes_s(self.tuning.slow_window_s)):
            self._turn_to_another_source()

    def _turn_to_another_source(self) -> None:
        """Cut the connections of sources that are no longer active; called with ``turn`` held.

        A worker that still waits for an answer's first line cannot be woken: another one takes its place.
        """
        self.meter.restart()
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

    def _holes(self) -> list[tuple[int, int]]:
        only = self.board.only
        return self.part.holes(self.size_bytes, only.source.name if only else None)

    def _report(self, phase: str) -> None:
        with self.turn:
            missing = sum(stop - start for start, stop in self._holes())
            under_way = sum(run.position - run.noted for run in self.runs)
            active = self.board.active
        done = self.digest.position if phase == "checking" else self.size_bytes - missing + under_way
        self.meter.note(done)
        rate = self.meter.rate_bytes_s()
        if self.progress is not None:
            left = (self.size_bytes - done) / rate if rate > 0 else None
            name = active.source.name if active else ""
            self.progress(Progress(done, self.size_bytes, rate, left, name, phase))

    # -- choosing a source ------------------------------------------------------------------------------------

    def _look_at_sources(self) -> None:
        """Probe all sources and time those that have the file; the fastest becomes the first."""
        self._report("probing")
        connect_timeout_s, idle_timeout_s = self.timeouts
        results = probe_all(
            self.file.sources,
            cancel=self.cancel,
            session=self.session,
            size_bytes=self.size_bytes,
            sha256=self.file.sha256,
            header=self.file.header,
            name=self.file.name,
            connect_timeout_s=connect_timeout_s,
            idle_timeout_s=idle_timeout_s,
        )
        answers = {id(result.source): result for result in results}
        good = []
        for standing in self.board.standings:
            result = answers.get(id(standing.source))
            if result is None:
                standing.rate_bytes_s = 0.0
            elif result.fault is None:
                standing.ranges = result.ranges
                good.append(standing)
            else:
                self.board.record(result.fault.attempt(standing.source.name))
                standing.rate_bytes_s = 0.0
                standing.gone = result.fault.weight >= GONE
                standing.left = True
        if len(good) > 1 and all(standing.ranges for standing in good):
            self._sample(good)
        self.board.rank()

    def _sample(self, standings: list[Standing]) -> None:
        """Fetch the first missing bytes from all ``standings`` at once, a piece each, and note their rates."""
        pieces = self._sample_pieces(len(standings))
        if len(pieces) < len(standings):
            return
        until = time.monotonic() + self.tuning.sample_s
        runs = [Run(standing, *piece, until=until) for standing, piece in zip(standings, pieces)]
        with self.turn:
            self.runs.extend(runs)
        threads = [threading.Thread(target=self._fetch_sample, args=(run,), daemon=True) for run in runs]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and time.monotonic() < until + 1.0:
            self._watch()
        with self.turn:
            # What a silent source was asked for is free again; what it may still send is not taken.
            for run in runs:
                run.until = OVER
                if run.body is not None:
                    run.body.abort()
            self.runs = [run for run in self.runs if run not in runs]

    def _sample_pieces(self, count: int) -> list[tuple[int, int]]:
        size = self.tuning.sample_bytes
        pieces: list[tuple[int, int]] = []
        for start, stop in self._holes():
            while start + size <= stop and len(pieces) < count:
                pieces.append((start, start + size))
                start += size
        return pieces

    def _fetch_sample(self, run: Run) -> None:
        try:
            self._fetch(run)
        except Fault as fault:
            with self.turn:
                if run.until != OVER:  # Else we cut it ourselves: being slow is no fault.
                    self.board.record(fault.attempt(run.standing.source.name))
                    run.standing.gone = run.standing.gone or fault.weight >= GONE
        except BaseException as error:
            self._die(error)
        finally:
            elapsed_s = max(0.001, time.monotonic() - run.began_at)
            run.standing.rate_bytes_s = run.new_bytes / elapsed_s
            self._release(run)

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
                self._fetch(run)
            except Fault as fault:
                self._strike(run, fault)
            except BaseException as error:
                self._die(error)
            finally:
                self._release(run)
            if run.orphaned:
                return

    def _next_run(self, number: int) -> Run | None:
        with self.turn:
            while not self.over:
                wait_s = 1.0
                if self._gaps() or self.runs:
                    standing = self.board.choose()
                    if standing is None:
                        self.fatal = self.fatal or AllSourcesFailed(self.file.name, self.board.attempts)
                        self.turn.notify_all()
                        return None
                    wait_s = standing.retry_at - time.monotonic()
                    if wait_s <= 0:
                        run = self._choose_run(standing, number)
                        if run is not None:
                            self.runs.append(run)
                            return run
                        wait_s = 1.0
                self.turn.wait(min(1.0, wait_s))
            return None

    def _gaps(self) -> list[tuple[int, int]]:
        """Return what is missing and nobody is fetching."""
        gaps = []
        for start, stop in self._holes():
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

    def _fetch(self, run: Run) -> None:
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
                segments = [(max(start, run.position), stop) for start, stop in self._holes() if stop > run.position]
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
            self.session,
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
                self._turn_to_another_source()

    def _release(self, run: Run) -> None:
        with self.turn:
            if run in self.runs:
                self.runs.remove(run)
            self.turn.notify_all()

    def _die(self, error: BaseException) -> None:
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
            self.fatal = self.fatal or error
            self.over = True
            self.turn.notify_all()

    def _end_threads(self) -> None:
        with self.turn:
            self.over = True
            for run in self.runs:
                if run.body is not None:
                    run.body.abort()
            self.turn.notify_all()
        self.digest.stop()
        deadline = time.monotonic() + 2.0
        with self.turn:
            # A worker that still waits for an answer's first line holds no file; it ends by itself.
            while any(run.body is not None for run in self.runs) and time.monotonic() < deadline:
                self.turn.wait(0.1)

    # -- when the bytes are wrong -----------------------------------------------------------------------------

    def _on_damage(self, source: str, pinned: bool) -> None:
        """Take note that bytes of ``source`` were dropped; workers fetch them again."""
        with self.turn:
            if pinned:
                self._distrust(source)
            else:
                self.tell(Event("damaged_on_disk", source))
            self.turn.notify_all()

    def _distrust(self, source: str) -> None:
        """Leave the source of a block with the wrong digest, for good when it is the second one."""
        for standing in self.board.standings:
            if standing.source.name == source:
                attempt = Attempt(source, "wrong_block", {})
                standing.gone = attempt in self.board.attempts
                self.board.record(attempt)
                self.board.leave(standing, attempt)
                self._turn_to_another_source()

    def _wake(self) -> None:
        with self.turn:
            self.turn.notify_all()

    def _on_difference(self, position: int) -> None:
        with self.turn:
            self.changed_from = position if self.changed_from is None else min(self.changed_from, position)

    def _convince(self) -> None:
        """Return when the digest agrees; else compare everything with other sources until it does.

        Without pinned block digests nobody can tell which bytes are wrong, so a second source's bytes are laid
        over the first one's; this ends as soon as the digest agrees, usually long before the last byte.
        Raises DigestDiffers, with the file kept as ``.bad``, when every source's bytes are wrong.
        """
        judged: list[str] = []
        while self.digest.hexdigest() != self.file.sha256:
            got = self.digest.hexdigest()
            for name in self.part.sources():
                self.board.record(Attempt(name, "wrong_digest", {"got": got, "expected": self.file.sha256}))
            names = list(self.part.sources())
            if len(names) == 1:
                judged += names
            reference = self._reference(judged, names)
            if reference is None:
                self._end_threads()
                raise DigestDiffers(self.file.name, self.file.sha256, got, self.part.set_aside(), self.board.attempts)
            judged.append(reference.source.name)
            self.tell(Event("compare_with", reference.source.name, value=", ".join(names)))
            self._compare_with(reference)

    def _rewind_to_change(self) -> bool:
        """Take the digest back to the lowest changed byte; False when nothing has changed."""
        with self.turn:
            changed, self.changed_from = self.changed_from, None
        if changed is None:
            return False
        self.digest.rewind(changed)
        return True

    def _reference(self, judged: list[str], suspects: list[str]) -> Standing | None:
        """Return a source to compare with: one that sent nothing yet if possible; None when all are used up."""
        usable = [s for s in self.board.standings if not s.gone and s.source.name not in judged]
        return min(usable, key=lambda standing: standing.source.name in suspects, default=None)

    def _compare_with(self, reference: Standing) -> None:
        """Lay the bytes of ``reference`` over all others until the digest agrees or nothing is left to compare."""
        with self.turn:
            reference.left, reference.strikes = False, 0
            self.board.only, self.board.active, self.changed_from = reference, None, None
            self.turn.notify_all()
        while self.digest.hexdigest() != self.file.sha256:
            try:
                self._watch()
            except AllSourcesFailed:
                break
            with self.turn:
                holes = self._holes()
            if not self.digest.running and self._rewind_to_change():
                self.digest.start()
            elif not holes and not self.digest.running:
                break
        with self.turn:
            self.board.only, self.board.active, self.fatal = None, None, None
