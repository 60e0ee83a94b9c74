"""Small facts found out once on this PC, kept in ``logs/remembered.json``: the best threads, the CPU level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oneclick.files import read_facts, write_facts


class Remembered:
    """Sections of JSON-able facts; losing the file only costs finding them out again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._data = read_facts(file)

    def get(self, section: str, key: str) -> Any | None:
        """Return what was remembered of ``key`` in ``section``, None where nothing was."""
        found = self._data.get(section)
        return found.get(key) if isinstance(found, dict) else None

    def put(self, section: str, key: str, value: Any) -> None:
        """Remember ``value``; a folder that cannot be written forgets it at the end of this run."""
        kept = self._data.get(section)
        self._data[section] = {**(kept if isinstance(kept, dict) else {}), key: value}
        write_facts(self._file, self._data)
