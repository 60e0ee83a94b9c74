"""How fast bytes arrive, smoothed for people and as a plain average over a window for decisions."""

from __future__ import annotations

import collections
import time

SMOOTH_S = 8.0
SHORTEST_S = 0.02
"""Windows' clock moves in steps of 16 ms: a rate over less means nothing."""


class RateMeter:
    """Fed with a growing byte count; a count that shrinks (bytes dropped) starts anew."""

    def __init__(self, window_s: float) -> None:
        self._window_s = max(window_s, SMOOTH_S)
        self._points: collections.deque[tuple[float, int]] = collections.deque()

    def restart(self) -> None:
        """Forget everything, as after a change of source."""
        self._points.clear()

    def note(self, count_bytes: int, now: float | None = None) -> None:
        """Take in that ``count_bytes`` are there at ``now`` (monotonic seconds)."""
        now = time.monotonic() if now is None else now
        if self._points and count_bytes < self._points[-1][1]:
            self._points.clear()
        if self._points and now - self._points[-1][0] < SHORTEST_S:
            self._points.pop()
        self._points.append((now, count_bytes))
        while len(self._points) > 2 and self._points[1][0] <= now - self._window_s:
            self._points.popleft()

    def rate_bytes_s(self, seconds: float = SMOOTH_S) -> float:
        """Return the average of the last ``seconds``, or of as much of them as is known."""
        if len(self._points) < 2:
            return 0.0
        last_time, last_count = self._points[-1]
        first_time, first_count = next(point for point in self._points if point[0] >= last_time - seconds)
        if first_time == last_time:
            first_time, first_count = self._points[-2]
        return (last_count - first_count) / max(1e-6, last_time - first_time)

    def covers(self, seconds: float) -> bool:
        """Tell whether the last ``seconds`` are known in full."""
        return len(self._points) >= 2 and self._points[-1][0] - self._points[0][0] >= seconds
