"""The download itself: workers fetch ranges, the digest follows, the caller's thread watches over both."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping

from oneclick.download.checks import check_folder, check_writable
from oneclick.download.digest import RunningDigest
from oneclick.download.errors import AllSourcesFailed, Attempt, Cancelled, DigestDiffers, NotWritable
from oneclick.download.faults import GONE
from oneclick.download.files import DownloadResult, Event, Progress, RemoteFile, Tuning
from oneclick.download.part import Part
from oneclick.download.probe import probe_all
from oneclick.download.proxy import Lines, with_direct_lines
from oneclick.download.rate import RateMeter
from oneclick.download.sample import Sample
from oneclick.download.sources import Board, Standing
from oneclick.download.stream import Watch, download_of_unknown_size
from oneclick.download.workers import Crew

if TYPE_CHECKING:
    import requests

MAX_CONNECTIONS = 8
SAMPLE_GRACE_S = 1.0


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
    lines = Lines(session)
    file = replace(file, sources=with_direct_lines(file.sources))
    tell = on_event or _ignore
    tuning = tuning or Tuning()
    try:
        if file.size_bytes is None:
            watch = Watch(progress, cancel, tell, (connect_timeout_s, idle_timeout_s))
            return download_of_unknown_size(file, target, lines, watch, tuning)
        small = file.size_bytes < tuning.small_bytes
        board = Board.of(file.sources, 1 if small else max(1, min(MAX_CONNECTIONS, connections)), tuning, tell)
        part = Part(file, target)
        crew = Crew(file, part, board, lines, tuning, (connect_timeout_s, idle_timeout_s))
        return _Job(crew, progress, cancel).run()
    finally:
        lines.close()


def _ignore(_: Event) -> None:
    """Stand in for an ``on_event`` that nobody gave."""


class _Job:
    """One call of ``download`` for a file of known size."""

    def __init__(self, crew: Crew, progress: Callable[[Progress], None] | None, cancel: threading.Event | None) -> None:
        self.crew = crew
        self.part = crew.part
        self.board = crew.board
        self.file = crew.file
        self.tuning = crew.tuning
        self.size_bytes = crew.size_bytes
        self.progress = progress
        self.cancel = cancel
        self.digest = RunningDigest(self.part, self.size_bytes, self.tuning.block_bytes, self._on_damage, crew.wake)
        self.meter = RateMeter(self.tuning.slow_window_s)

    def run(self) -> DownloadResult:
        check_writable(self.part.path.parent)
        self.part.open()
        try:
            self._check_room()
            self._fill()
            self._convince()
            sources = self.part.sources()
            self.part.finish(self.tuning.rename_patience_s)
        finally:
            self._stop()
            if self.part.done_bytes == 0 and self.size_bytes:
                self.part.discard()
            self.part.close()
        order = sorted(sources, key=lambda name: -sources[name])
        return DownloadResult(", ".join(order), tuple(self.board.attempts))

    def _stop(self) -> None:
        self.crew.stop()
        self.digest.stop()

    @property
    def _small(self) -> bool:
        return self.size_bytes < self.tuning.small_bytes

    def _check_room(self) -> None:
        missing = self.size_bytes - self.part.done_bytes
        reserve = 0 if self._small else self.tuning.reserve_bytes
        check_folder(self.part.path.parent, self.file.name, self.size_bytes, missing, reserve)

    def _fill(self) -> None:
        """Have every byte on the disk and hashed. Raises when that cannot be done."""
        self.digest.start()
        if self.crew.holes() and not self._small:
            self._look_at_sources()
        self.crew.start(max((standing.connections for standing in self.board.standings), default=1))
        while not self.digest.complete:
            self._watch()

    def _watch(self) -> None:
        """Wait a moment, then look after everything that is not a worker's business."""
        crew = self.crew
        with crew.turn:
            hashing = self.digest.running
            crew.turn.wait_for(lambda: crew.fatal or self.digest.running != hashing, self.tuning.tick_s)
            if self.cancel is not None and self.cancel.is_set():
                raise Cancelled(self.file.name)
            if self.digest.failure is not None:
                raise NotWritable(self.part.path, str(self.digest.failure)) from self.digest.failure
            if crew.fatal is not None:
                raise crew.fatal
            holes = crew.holes()
            if holes:
                self._leave_slow_source()
        self._report("downloading" if holes else "checking")

    def _leave_slow_source(self) -> None:
        window_s = self.tuning.slow_window_s
        if self.meter.covers(window_s) and self.board.leave_if_slow(self.meter.rate_bytes_s(window_s)):
            self.meter.restart()
            self.crew.turn_to_another_source()

    def _report(self, phase: str) -> None:
        done = self.digest.position if phase == "checking" else self.crew.done_bytes()
        self.meter.note(done)
        rate = self.meter.rate_bytes_s()
        if self.progress is not None:
            active = self.board.active
            left = (self.size_bytes - done) / rate if rate > 0 else None
            name = active.source.name if active else ""
            self.progress(Progress(done, self.size_bytes, rate, left, name, phase))

    def _look_at_sources(self) -> None:
        """Probe all sources and time those that have the file; the fastest becomes the first."""
        self._report("probing")
        connect_timeout_s, idle_timeout_s = self.crew.timeouts
        results = probe_all(
            self.file.sources,
            cancel=self.cancel,
            lines=self.crew.lines,
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
        """Time all ``standings`` at once; each keeps its rate."""
        sample = Sample(self.crew)
        threads = sample.start(standings)
        give_up = time.monotonic() + self.tuning.sample_s + SAMPLE_GRACE_S
        while any(thread.is_alive() for thread in threads) and time.monotonic() < give_up:
            self._watch()
        sample.end()

    def _on_damage(self, source: str, pinned: bool) -> None:
        """Take note that bytes of ``source`` were dropped; workers fetch them again."""
        with self.crew.turn:
            if pinned:
                self.crew.distrust(source)
            else:
                self.board.tell(Event("damaged_on_disk", source))
            self.crew.turn.notify_all()

    def _convince(self) -> None:
        """Return when the digest agrees; else compare everything with other sources until it does.

        Without pinned block digests nobody can tell which bytes are wrong, so a second source's bytes are laid
        over the first one's; this ends as soon as the digest agrees, usually long before the last byte.
        Raises DigestDiffers, with the file kept as ``.bad``, when every source's bytes are wrong.
        """
        judged: list[str] = []
        while self.digest.hexdigest() != self.file.sha256:
            got = self.digest.hexdigest()
            shares = self.part.sources()
            for name in shares:
                self.board.record(Attempt(name, "wrong_digest", {"got": got, "expected": self.file.sha256}))
            if len(shares) == 1:
                judged += shares
            reference = self._reference(judged, shares)
            if reference is None:
                self._stop()
                raise DigestDiffers(self.file.name, self.file.sha256, got, self.part.set_aside(), self.board.attempts)
            judged.append(reference.source.name)
            self.board.tell(Event("compare_with", reference.source.name, value=", ".join(shares)))
            self._compare_with(reference)

    def _reference(self, judged: list[str], shares: Mapping[str, int]) -> Standing | None:
        """Return the source to compare with, the one that sent least so far; None when all are used up."""
        usable = [s for s in self.board.standings if not s.gone and s.source.name not in judged]
        return min(usable, key=lambda standing: shares.get(standing.source.name, 0), default=None)

    def _compare_with(self, reference: Standing) -> None:
        """Lay the bytes of ``reference`` over all others until the digest agrees or nothing is left to compare."""
        self.crew.ask_only(reference)
        while self.digest.hexdigest() != self.file.sha256:
            try:
                self._watch()
            except AllSourcesFailed:
                break
            if self.digest.running:
                continue
            nothing_left = not self.crew.holes()
            changed = self.crew.take_change()
            if changed is not None:
                self.digest.rewind(changed)
                self.digest.start()
            elif nothing_left:
                break
        self.crew.ask_only(None)
