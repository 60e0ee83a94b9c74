"""Files that were fetched by hand: recognised by size and digest, whatever a browser called them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

from oneclick.bundle_info import CatalogueModel

UNFINISHED_SUFFIXES = (
    ".crdownload",  # Chrome, Edge and their relatives
    ".opdownload",
    ".download",
    ".partial",
    ".aria2",
    ".xltd",  # Xunlei
    ".td",
    ".downloading",  # Baidu's net disk
    ".tdl",
    ".!ut",
)


def candidates(folder: Path, model: CatalogueModel) -> Iterator[Path]:
    """Yield files in ``folder`` that may be ``model``, whatever their name: of exactly its size and first bytes."""
    header = bytes.fromhex(model.header_hex)
    for path in sorted(folder.iterdir()):
        if path.name.startswith(model.file_name + ".part"):
            continue
        try:
            if not path.is_file() or path.stat().st_size != model.size_bytes:
                continue
            with path.open("rb") as stream:
                start = stream.read(len(header))
        except OSError:
            continue  # Another program holds it, so nobody could use it now.
        if start == header:
            yield path  # Closed by now: Windows renames no open file.


def unfinished(folder: Path, model: CatalogueModel) -> list[Path]:
    """Return the unfinished downloads of browsers and other tools in ``folder`` that look like ``model``."""
    stem = Path(model.file_name).stem
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in UNFINISHED_SUFFIXES
        and (path.name.startswith((stem, "chatglm", "Unconfirmed", "未确认")) or model.file_name in path.name)
    )


def in_downloads_folder(model: CatalogueModel) -> Path | None:
    """Return a file of the model's size in the user's Downloads folder; it is only looked at, never moved."""
    home = os.environ.get("USERPROFILE") or os.environ.get("HOME")
    if not home:
        return None
    try:
        return next(candidates(Path(home) / "Downloads", model), None)
    except OSError:
        return None
