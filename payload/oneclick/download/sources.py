"""Which source is asked now, which ones were left and why."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable, Sequence

from oneclick.download.errors import Attempt
from oneclick.download.faults import GONE, HICCUP, PATIENCE, Fault, Refused, TooMany
from oneclick.download.files import Event, Source, Tuning

MAX_WAIT_S = 8.0
SHORT_WAIT_S = 10.0
"""A ``Retry-After`` up to this is waited for even when another source is there."""
MAX_ATTEMPTS_KEPT = 200
NEARLY_AS_FAST = 1.3
MUCH_SLOWER = 0.25


@dataclass
class Standing:
    """What this run has learnt about one source."""

    source: Source
    connections: int
    gone: bool = False
    """It cannot have the file."""
    left: bool = False
    """It failed or was slow; asked again only when all others have been left too."""
    ranges: bool = True
    strikes: int = 0
    struck_at: float = 0.0
    retry_at: float = 0.0
    rate_bytes_s: float | None = None
    """Measured, by a sample or while it was the active source."""
    address: str = ""
    direct: str = ""
    """Where ``address`` redirected to; expires, so never written down."""


@dataclass
class Board:
    """All sources of one download. Not locked: its owner holds a lock around every call."""

    standings: list[Standing]
    tuning: Tuning
    tell: Callable[[Event], None]
    attempts: list[Attempt] = field(default_factory=list)
    active: Standing | None = None
    only: Standing | None = None
    """When set, no other source is asked."""
    last_byte_at: float = field(default_factory=time.monotonic)
    _progressed: bool = False
    _pause_s: float = 0.0

    @classmethod
    def of(cls, sources: Sequence[Source], connections: int, tuning: Tuning, tell: Callable[[Event], None]) -> Board:
        return cls([Standing(source, connections) for source in sources], tuning, tell)

    def others(self, standing: Standing) -> list[Standing]:
        """Return the sources that could be asked instead of ``standing``, best first."""
        usable = [other for other in self.standings if not (other.gone or other.left) and other is not standing]
        return [] if self.only is not None else sorted(usable, key=lambda other: not other.ranges)

    def choose(self) -> Standing | None:
        """Make the best usable source active and return it; None when every source has failed for good.

        When all have been left, a new round begins if bytes arrived in the last one or patience is not used up.
        """
        if self.active is not None:
            return self.active
        pool = [self.only] if self.only is not None else self.standings
        usable = [standing for standing in pool if not (standing.gone or standing.left)]
        if not usable:
            usable = self._new_round(pool)
        if not usable:
            return None
        self.active = min(usable, key=lambda standing: not standing.ranges)
        self.active.struck_at = time.monotonic()
        return self.active

    def _new_round(self, pool: Sequence[Standing]) -> list[Standing]:
        usable = [standing for standing in pool if not standing.gone]
        patient = time.monotonic() - self.last_byte_at < self.tuning.patience_s
        if not usable or not (self._progressed or patient):
            return []
        self._pause_s = 0.0 if self._progressed else min(MAX_WAIT_S, max(self.tuning.retry_wait_s, self._pause_s * 2))
        if not self._progressed:
            self.tell(Event("waiting", value=f"{self._pause_s:.0f}"))
        self._progressed = False
        for standing in usable:
            standing.left, standing.strikes = False, 0
            standing.retry_at = max(standing.retry_at, time.monotonic() + self._pause_s)
        return usable

    def arrived(self, standing: Standing) -> None:
        """Note that new bytes came from ``standing``: its failures are forgiven."""
        standing.strikes = 0
        self._progressed = True
        self.last_byte_at = time.monotonic()

    def record(self, attempt: Attempt) -> None:
        """Remember ``attempt`` unless it repeats what the same source did last."""
        if attempt not in self.attempts[-4:] and len(self.attempts) < MAX_ATTEMPTS_KEPT:
            self.attempts.append(attempt)

    def strike(self, standing: Standing, fault: Fault, began_at: float) -> None:
        """Weigh a failed request that began at ``began_at`` (monotonic): ask again, more gently, or leave."""
        now = time.monotonic()
        attempt = fault.attempt(standing.source.name)
        self.record(attempt)
        if fault.weight >= GONE:
            standing.gone = True
            self.leave(standing, attempt)
            return
        if began_at < standing.struck_at:
            return  # Four connections break at once when a server restarts: that is one failure.
        standing.struck_at = now
        wait_s = fault.retry_after_s
        if isinstance(fault, (TooMany, Refused)) and standing.connections > 1:
            standing.connections = 1
            self.tell(Event("fewer_connections", standing.source.name, attempt))
            standing.strikes += HICCUP
        elif isinstance(fault, TooMany) and wait_s is not None and wait_s <= self._patience_with(standing):
            standing.strikes += HICCUP
        else:
            standing.strikes += fault.weight
        if standing.strikes >= PATIENCE or (wait_s is not None and wait_s > self._patience_with(standing)):
            self.leave(standing, attempt)
        backoff_s: float = min(MAX_WAIT_S, self.tuning.retry_wait_s * 2 ** max(0, standing.strikes - 1))
        standing.retry_at = now + (backoff_s if wait_s is None else max(wait_s, 0.05))

    def _patience_with(self, standing: Standing) -> float:
        limit = self.tuning.retry_after_max_s
        return min(limit, SHORT_WAIT_S) if self.others(standing) else limit

    def leave(self, standing: Standing, attempt: Attempt) -> None:
        """Stop asking ``standing`` in this round; the next source is named to the user."""
        if standing.left:
            return
        standing.left = True
        if self.active is standing:
            self.active = None
            following = self.others(standing)
            if following:
                self.tell(Event("next_source", following[0].source.name, attempt, value=standing.source.name))

    def leave_if_slow(self, rate_bytes_s: float) -> bool:
        """Leave the active source when ``rate_bytes_s``, over the whole window, is poor and another one is there."""
        standing = self.active
        if standing is None:
            return False
        others = self.others(standing)
        best = max((other.rate_bytes_s or 0.0 for other in others), default=0.0)
        if not others or rate_bytes_s >= max(self.tuning.slow_bytes_s, best * MUCH_SLOWER):
            return False
        standing.rate_bytes_s = rate_bytes_s
        attempt = Attempt(standing.source.name, "slow", {"rate": f"{rate_bytes_s / 1000:.0f}"})
        self.record(attempt)
        self.leave(standing, attempt)
        return True

    def rank(self) -> None:
        """Order the sources by measured speed; a listed order is kept among those nearly as fast as the best."""
        best = max((standing.rate_bytes_s or 0.0 for standing in self.standings), default=0.0)

        def place(standing: Standing) -> float:
            rate = standing.rate_bytes_s or 0.0
            return -best if rate * NEARLY_AS_FAST >= best else -rate

        self.standings.sort(key=place)
