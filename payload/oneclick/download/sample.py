"""Which source is fastest: the first missing bytes, fetched from all of them at once, a piece each."""

from __future__ import annotations

import threading
import time
from typing import Sequence

from oneclick.download.faults import GONE, Fault
from oneclick.download.fetch import Run
from oneclick.download.sources import Standing
from oneclick.download.workers import Crew

OVER = 0.0
"""As ``Run.until``: the sample has ended."""


class Sample:
    """One comparison; what it fetches is part of the file."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def start(self, standings: Sequence[Standing]) -> list[threading.Thread]:
        """Fetch from all ``standings`` for ``tuning.sample_s``; no threads when too little is left to share."""
        crew = self._crew
        pieces = self._pieces(len(standings))
        if len(pieces) < len(standings):
            return []
        until = time.monotonic() + crew.tuning.sample_s
        runs = [Run(standing, *piece, until=until) for standing, piece in zip(standings, pieces)]
        with crew.turn:
            crew.runs.extend(runs)
        threads = [threading.Thread(target=self._fetch, args=(run,), daemon=True) for run in runs]
        for thread in threads:
            thread.start()
        return threads

    def end(self) -> None:
        """Cut it. What a silent source was asked for is free again; what it may still send is not taken."""
        with self._crew.turn:
            for run in self._crew.runs:
                run.until = OVER
                if run.body is not None:
                    run.body.abort()
            self._crew.runs.clear()

    def _pieces(self, count: int) -> list[tuple[int, int]]:
        size = self._crew.tuning.sample_bytes
        pieces: list[tuple[int, int]] = []
        for start, stop in self._crew.holes():
            while start + size <= stop and len(pieces) < count:
                pieces.append((start, start + size))
                start += size
        return pieces

    def _fetch(self, run: Run) -> None:
        crew = self._crew
        try:
            crew.fetch(run)
        except Fault as fault:
            with crew.turn:
                if run.until != OVER:  # Else we cut it ourselves: being slow is no fault.
                    crew.board.record(fault.attempt(run.standing.source.name))
                    run.standing.gone = run.standing.gone or fault.weight >= GONE
        except BaseException as error:
            crew.die(error)
        finally:
            elapsed_s = max(0.001, time.monotonic() - run.began_at)
            run.standing.rate_bytes_s = run.new_bytes / elapsed_s
            crew.release(run)
