"""What a benchmark measured: rows of ours against another program, printed for people and as one line of JSON.

Ratios are ours divided by theirs, of medians, so for times and sizes less is better and for speeds more is.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MARK = "RESULT "
"""Begins the line of JSON, which bench/run.py keeps and does not show."""
NOT_MEASURED = "not measured: "


@dataclass(frozen=True)
class Row:
    """One figure of ours beside the same figure of another program."""

    what: str
    against: str
    """The other program; empty where there is none."""
    unit: str
    ours: list[float]
    """One value a round."""
    theirs: list[float]
    goal: str = ""
    """Such as ``<= 1.05``: for the ratio, or for ours where nothing is compared."""
    note: str = ""
    """Why a side is empty (NOT_MEASURED and the reason), or what the reader must know."""

    @property
    def ratio(self) -> float | None:
        """Ours / theirs, of medians."""
        if not self.ours or not self.theirs or not statistics.median(self.theirs):
            return None
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal or a figure."""
        value = self.ratio if self.against else statistics.median(self.ours) if self.ours else None
        if not self.goal or value is None:
            return None
        sign, limit = self.goal.split()
        return value <= float(limit) if sign == "<=" else value >= float(limit)


def not_measured(what: str, against: str, why: str) -> Row:
    """A row that says why it is empty."""
    return Row(what, against, "", [], [], note=NOT_MEASURED + why)


def spread(values: Sequence[float]) -> str:
    """``minimum / median / maximum``, or the one value, or a dash."""
    if len(values) < 2:
        return number(values[0]) if values else "–"
    return " / ".join(number(value) for value in (min(values), statistics.median(values), max(values)))


def number(value: float) -> str:
    """Three figures that count: 0.123, 1.23, 12.3, 1234; a count as it is."""
    if value == int(value):
        return str(int(value))
    for limit, places in ((1, 3), (10, 2), (100, 1)):
        if abs(value) < limit:
            return f"{value:.{places}f}"
    return f"{value:.0f}"


def shown_ratio(row: Row) -> str:
    return "–" if row.ratio is None else f"{row.ratio:.3f}" if row.ratio < 0.1 else f"{row.ratio:.2f}"


def print_rows(rows: Sequence[Row]) -> None:
    """The table for people: each side as minimum / median / maximum."""
    cells = [("", "against", "unit", "ours", "theirs", "ratio", "goal")]
    for row in rows:
        verdict = {True: " met", False: " MISSED", None: ""}[row.met]
        sides = (spread(row.ours), spread(row.theirs), shown_ratio(row))
        cells.append((row.what, row.against, row.unit, *sides, row.goal + verdict))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    notes = ["", *(row.note for row in rows)]
    print("(ours and theirs: minimum / median / maximum)")
    for line, note in zip(cells, notes, strict=True):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        print(f"{text}  [{note}]" if note else text)


def finish(rows: Sequence[Row], details: Mapping[str, Any] | None = None) -> int:
    """Print everything; return 1 when a goal is missed."""
    print_rows(rows)
    print(MARK + json.dumps({"rows": [asdict(row) for row in rows], **(details or {})}), flush=True)
    return 1 if any(row.met is False for row in rows) else 0


def read_rows(figures: Mapping[str, Any]) -> list[Row]:
    """The rows in a benchmark's figures."""
    return [Row(**row) for row in figures.get("rows", [])]
