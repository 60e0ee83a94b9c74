"""Whether the folder the user extracted to is a good place: writable, short, local, whole, with room."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from oneclick.pc.findings import OK, WARNING, Finding
from oneclick.pc.machine import Disk, full_name
from oneclick.sizes import in_words

MAX_PATH = 259
"""Longest path that every Windows program can open."""
FEW_BYTES = 512 << 20
"""Less free space than this and logs, downloads and the page file suffer."""
ONLINE_ONLY = 0x00001000 | 0x00040000 | 0x00400000
"""FILE_ATTRIBUTE_OFFLINE, RECALL_ON_OPEN, RECALL_ON_DATA_ACCESS: the content is not on this disk."""
PROBE_PREFIX = ".writable-"
ZONE_STREAM = ":Zone.Identifier"


def check_folder(root: Path, disk: Disk, longest_inside: int) -> list[Finding]:
    """Return what there is to say about ``root``; ``longest_inside`` is the bundle's longest relative path."""
    return [
        check_writable(root),
        check_path_length(root, longest_inside),
        check_place(root, disk.kind),
        check_disk(disk),
    ]


def check_writable(root: Path) -> Finding:
    """Try to create a file: attributes and permissions tell only half of it on Windows.

    ``tempfile`` is no help here: in a folder that refuses it tries two thousand million names
    (https://github.com/python/cpython/issues/66305).
    """
    probe = root / f"{PROBE_PREFIX}{os.getpid()}"
    try:
        with probe.open("xb"):
            pass
        probe.unlink()
    except OSError as error:
        return Finding(WARNING, "machine.folder_read_only", {"reason": error.strerror or str(error)})
    return Finding(OK, "machine.folder_writable")


def check_path_length(root: Path, longest_inside: int) -> Finding:
    """Tell when the bundle's deepest file lies beyond what Windows programs can open."""
    length = len(str(root)) + 1 + longest_inside
    values = {"length": length, "limit": MAX_PATH}
    return Finding(
        OK if length <= MAX_PATH else WARNING, f"machine.path_{'ok' if length <= MAX_PATH else 'long'}", values
    )


def check_place(root: Path, drive_kind: str) -> Finding:
    """Tell when the folder is one that Windows empties, synchronises or has on another computer.

    ``drive_kind`` as in ``Disk``: the .bat files give a share a letter, so the path alone looks local.
    """
    if _is_inside(root, "TEMP"):
        return Finding(WARNING, "machine.in_temp")
    if any(_is_inside(root, name) for name in ("OneDrive", "OneDriveConsumer", "OneDriveCommercial")):
        return Finding(WARNING, "machine.in_onedrive")
    if drive_kind == "network":
        return Finding(WARNING, "machine.on_network")
    return Finding(OK, "machine.place_ok")


def _is_inside(root: Path, variable: str) -> bool:
    """Tell whether ``root`` is the folder that an environment variable names, or lies in it."""
    folder = os.environ.get(variable, "")
    if not folder:
        return False
    where, outer = (Path(full_name(path).casefold()).parts for path in (str(root), folder))
    return where[: len(outer)] == outer


def check_disk(disk: Disk) -> Finding:
    """Tell when the drive is nearly full or cannot hold large files."""
    values = {"free": in_words(disk.free_bytes), "file_system": disk.file_system or "?"}
    if disk.free_bytes < FEW_BYTES:
        return Finding(WARNING, "machine.disk_full", values)
    if disk.file_system.upper() in ("FAT", "FAT32"):
        return Finding(WARNING, "machine.fat32", values)
    return Finding(OK, "machine.disk_ok", values)


def check_online_only(file: Path) -> Finding | None:
    """Tell when the file is only a placeholder that OneDrive would download on reading."""
    attributes = getattr(file.stat(), "st_file_attributes", 0)
    if attributes & ONLINE_ONLY and stat.S_ISREG(file.stat().st_mode):
        return Finding(WARNING, "machine.online_only", {"name": file.name})
    return None


def is_marked_as_downloaded(file: Path) -> bool:
    """Tell whether Windows' attachment manager marked ``file`` as coming from the internet (NTFS only)."""
    try:
        with open(str(file) + ZONE_STREAM, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            text = stream.read()
    except (OSError, ValueError):
        return False
    return "ZoneId=3" in text or "ZoneId=4" in text


def check_mark(files: list[Path]) -> Finding:
    """Tell when extracted programs carry the mark, so that SmartScreen may ask or refuse."""
    marked = [file.name for file in files if is_marked_as_downloaded(file)]
    if marked:
        return Finding(WARNING, "machine.marked", {"names": "、".join(marked[:3])})
    return Finding(OK, "machine.not_marked")
