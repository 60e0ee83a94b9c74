"""Take single small members out of a finished archive."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bundle.archive.read import ArchiveReader
from bundle.errors import AuditFailed

MAX_BYTES = 32 << 20
"""Largest member handed out in one piece."""


def read_members(archive: Path, names: Collection[str]) -> dict[str, bytes]:
    """name inside the root folder -> content, for every one of ``names``.

    Raises AuditFailed when one is missing or larger than ``MAX_BYTES``.
    """
    found: dict[str, bytes] = {}
    with ArchiveReader(archive) as reader:
        for entry, chunks in reader.members():
            inside = entry.name.partition("/")[2]
            if inside in names and entry.size_bytes <= MAX_BYTES:
                found[inside] = b"".join(chunks)
    missing = sorted(set(names) - set(found))
    if missing:
        raise AuditFailed(
            f"{archive.name} has no usable {missing[0]}", why="every bundle holds one", do="build the archive again"
        )
    return found
