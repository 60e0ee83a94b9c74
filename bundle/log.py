"""Progress and log lines for people: steps with durations, bars on a terminal, everything on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO


def human_bytes(size_bytes: float) -> str:
    """Return a size as people write it: ``940 B``, ``12.8 MB``, ``3.51 GB`` (decimal units)."""
    for unit, divisor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= divisor:
            return f"{size_bytes / divisor:.2f} {unit}" if unit == "GB" else f"{size_bytes / divisor:.1f} {unit}"
    return f"{int(size_bytes)} B"


def human_seconds(duration_s: float) -> str:
    """Return a duration as people say it: ``0.4 s``, ``12 s``, ``3 min 05 s``."""
    if duration_s < 10:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


@dataclass
class Log:
    """Writes what the builder does; remembers each step's duration for the summary.

    Colour is never used, so ``NO_COLOR`` needs nothing. Bars appear only on a terminal.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    durations_s: dict[str, float] = field(default_factory=dict)
    """step name -> seconds, in the order in which the steps ended."""
    warnings: list[str] = field(default_factory=list)
    """What the maintainer must read at the end too."""
    _depth: int = 0

    @property
    def is_terminal(self) -> bool:
        return self.stream.isatty() and os.environ.get("TERM") != "dumb"

    def line(self, text: str) -> None:
        """Write one line, in characters the stream can show."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        shown = text.encode(encoding, "replace").decode(encoding)
        self.stream.write("  " * self._depth + shown + "\n")
        self.stream.flush()

    def warn(self, text: str) -> None:
        """Write a line now and again in the summary."""
        self.warnings.append(text)
        self.line(f"warning: {text}")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Name a step, then its duration when it is done."""
        self.line(name)
        self._depth += 1
        start = time.monotonic()
        try:
            yield
        finally:
            self._depth -= 1
            self.durations_s[name] = self.durations_s.get(name, 0.0) + time.monotonic() - start
        self.line(f"  done in {human_seconds(time.monotonic() - start)}")

    @contextmanager
    def bar(self, name: str, total_bytes: int | None) -> Iterator[Bar]:
        """Show a byte count that grows: a tqdm bar on a terminal, silence elsewhere (the step's lines say enough)."""
        if not self.is_terminal:
            yield Bar(None)
            return
        from tqdm import tqdm

        ascii_only = not (getattr(self.stream, "encoding", "") or "").lower().startswith("utf")
        with tqdm(
            desc="  " * self._depth + name,
            total=total_bytes,
            unit="B",
            unit_scale=True,
            file=self.stream,
            ascii=ascii_only,
            leave=False,
            dynamic_ncols=True,
        ) as shown:
            yield Bar(shown)


class Bar:
    """A byte count on its way to a total; ``shown`` is a tqdm bar or None."""

    def __init__(self, shown: object | None) -> None:
        self._shown = shown

    def at(self, done_bytes: int, total_bytes: int | None = None) -> None:
        """Show ``done_bytes`` of ``total_bytes`` (None: as announced)."""
        if self._shown is None:
            return
        if total_bytes is not None:
            self._shown.total = total_bytes  # type: ignore[attr-defined]
        self._shown.n = done_bytes  # type: ignore[attr-defined]
        self._shown.refresh()  # type: ignore[attr-defined]
