"""Trouble with the disk, in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bundle.errors import StorageError


@contextlib.contextmanager
def disk_named(target: Path, do: str) -> Iterator[None]:
    """Turn an OSError while ``target`` is written into a StorageError that says to ``do`` something."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{target} cannot be written", why=error.strerror or str(error), do=do) from error
