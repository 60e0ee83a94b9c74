"""Small facts found out once on this PC, kept in ``logs/remembered.json``: the best threads, the CPU level."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from oneclick.files import write_whole


class Remembered:
    """Sections of JSON-able facts; losing the file only costs finding them out again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._data = self._read()

    def get(self, section: str, key: str) -> Any | None:
        """Return what was remembered of ``key`` in ``section``, None where nothing was."""
        found = self._data.get(section)
        return found.get(key) if isinstance(found, dict) else None

    def put(self, section: str, key: str, value: Any) -> None:
        """Remember ``value``; a folder that cannot be written forgets it at the end of this run."""
        kept = self._data.get(section)
        self._data[section] = {**(kept if isinstance(kept, dict) else {}), key: value}
        with suppress(OSError):
            self._file.parent.mkdir(exist_ok=True)
            write_whole(self._file, json.dumps(self._data, ensure_ascii=False, indent=1).encode())

    def _read(self) -> dict[str, Any]:
        try:
            data = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}
