"""Sizes as people read them."""

from __future__ import annotations


def in_words(size_bytes: float) -> str:
    """Return a size in the unit that Windows' own file properties would take."""
    for limit, unit in ((1 << 10, "B"), (1 << 20, "KB"), (1 << 30, "MB")):
        if size_bytes < limit:
            return f"{size_bytes * 1024 / limit:.{0 if unit == 'B' else 1}f} {unit}"
    return f"{size_bytes / (1 << 30):.2f} GB"
