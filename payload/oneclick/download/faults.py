"""How a request can go wrong, and how much that speaks against its source."""

from __future__ import annotations

from oneclick.download.errors import Attempt

LESSON = 0
"""Something to know about the source, not a failure."""
HICCUP = 1
"""Worth asking the same source again at once."""
STALL = 3
"""As bad as three hiccups: time was lost."""
GONE = 1000
"""This source cannot have the file."""
PATIENCE = 3
"""Hiccups in a row, without a new byte between, after which a source is left."""


class Fault(Exception):
    """A request that did not go as it should; ``weight`` says how much it speaks against the source."""

    def __init__(self, key: str, weight: int, *, retry_after_s: float | None = None, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.weight = weight
        self.retry_after_s = retry_after_s
        self.values = values

    def attempt(self, source: str) -> Attempt:
        """Return this fault as told to the user about ``source``."""
        return Attempt(source, self.key, self.values)


class Refused(Fault):
    """401, 403, 404 or 410: final at the source's own address, but an expired link after a redirect."""


class TooMany(Fault):
    """429, or 503 with ``Retry-After``: fewer connections, later."""
