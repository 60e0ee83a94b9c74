"""What is looked at before the first byte: room, file system, write permission."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from oneclick.download.errors import DiskFull, FileTooBig, NotWritable

FAT32_MAX_BYTES = 4_294_967_295
ENOSPC_CODES = (28, 122)
"""ENOSPC, and EDQUOT as Linux numbers it."""
WINDOWS_FULL_CODES = (39, 112)
"""ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL."""


def is_full(error: OSError) -> bool:
    """Tell whether ``error`` means that the disk has no room left."""
    return error.errno in ENOSPC_CODES or getattr(error, "winerror", None) in WINDOWS_FULL_CODES


def check_folder(folder: Path, name: str, size_bytes: int | None, missing_bytes: int, reserve_bytes: int) -> None:
    """Raise NotWritable, FileTooBig or DiskFull when ``folder`` cannot take ``missing_bytes`` more of ``name``."""
    check_writable(folder)
    kind = file_system(folder)
    if size_bytes is not None and size_bytes > FAT32_MAX_BYTES and kind.upper() in ("FAT32", "FAT", "VFAT", "MSDOS"):
        raise FileTooBig(name, size_bytes, kind)
    free_bytes = shutil.disk_usage(folder).free
    if missing_bytes and free_bytes < missing_bytes + reserve_bytes:
        raise DiskFull(folder, missing_bytes + reserve_bytes - free_bytes)


def check_writable(folder: Path) -> None:
    """Raise NotWritable unless a file can be created in ``folder``; asks by doing it, permissions lie on Windows."""
    attempt = folder / f".write-test-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        attempt.write_bytes(b"")
        attempt.unlink()
    except OSError as error:
        if is_full(error):
            return  # The room is looked at next, with a better sentence.
        raise NotWritable(folder, error.strerror or str(error)) from error


def file_system(folder: Path) -> str:
    """Return the file system's name, such as ``NTFS``, ``FAT32`` or ``ext4``; empty when it cannot be found out."""
    return _windows_file_system(folder) if sys.platform == "win32" else _linux_file_system(folder)


def _linux_file_system(folder: Path) -> str:
    """Look ``folder`` up in /proc/mounts; other systems have none and get an empty name."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    path, best = str(folder.resolve()), ("", "")
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        mount = fields[1].replace("\\040", " ")
        inside = mount == "/" or path == mount or path.startswith(mount + "/")
        if inside and len(mount) >= len(best[0]):
            best = (mount, fields[2])
    return best[1]


def _windows_file_system(folder: Path) -> str:
    import ctypes

    kernel32 = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    volume = ctypes.create_unicode_buffer(1024)
    name = ctypes.create_unicode_buffer(64)
    if not kernel32.GetVolumePathNameW(str(folder.absolute()), volume, len(volume)):
        return ""
    if not kernel32.GetVolumeInformationW(volume, None, 0, None, None, None, name, len(name)):
        return ""
    return name.value
