"""Files on a disk that an antivirus program and an indexer read along, and that may lose power at any moment."""

from __future__ import annotations

import ctypes
import json
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterator, Mapping, TypeVar

from oneclick.errors import OneClickError

Result = TypeVar("Result")

PATIENCE_S = 10.0
"""How long another program may hold a file: a scan of a fresh program takes seconds."""

SHARING = (32, 33)
"""ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION: another program has the file open.
https://learn.microsoft.com/windows/win32/debug/system-error-codes--0-499-"""
HELD = (5, *SHARING)
"""ERROR_ACCESS_DENIED, too: renaming a folder with an open file in it, or a file that is being deleted."""


def is_held(error: OSError) -> bool:
    """Tell whether another program's handle may be the cause; no only where the system is not Windows."""
    return getattr(error, "winerror", None) in HELD


def patiently(
    act: Callable[[], Result], patience_s: float = PATIENCE_S, sleep: Callable[[float], None] = time.sleep
) -> Result:
    """Return ``act()``, done again while Windows says that another program holds the file.

    Raises the PermissionError after ``patience_s``.
    """
    give_up, wait_s = time.monotonic() + patience_s, 0.05
    while True:
        try:
            return act()
        except PermissionError:
            if time.monotonic() >= give_up:
                raise
        sleep(wait_s)
        wait_s = min(2.0, wait_s * 2)


def move(
    source: Path, target: Path, patience_s: float = PATIENCE_S, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Give ``source`` the name ``target``, in place of a file of that name, as ``patiently`` as a scanner asks for."""
    patiently(lambda: source.replace(target), patience_s, sleep)


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that it is whole or as it was before, also after the power went.

    Raises OSError. Where the name is refused nothing is left beside it; where the disk is full, the half is.
    """
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    try:
        move(partial, path)
    except OSError:
        partial.unlink()
        raise


def read_facts(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``, an empty one where that cannot be read."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a JSON object that is only convenient to have: a folder that cannot be written forgets it."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(facts, ensure_ascii=False, indent=1).encode())


def flush(path: Path) -> None:
    """Bring what was written to ``path`` to the disk."""
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


GENERIC_READ, FILE_SHARE_READ, FILE_SHARE_DELETE, OPEN_EXISTING = 0x80000000, 0x1, 0x4, 3
INVALID_HANDLE = ctypes.c_void_p(-1).value


def is_being_written(path: Path) -> bool:
    """Tell whether another program holds ``path`` so that the engine, which lets nobody write to the weights it maps,
    could not open it. Windows only: elsewhere everybody may write.

    https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew
    """
    load: Any = getattr(ctypes, "WinDLL", None)
    if load is None:
        return False
    library = load("kernel32", use_last_error=True)
    pointer, text, number = ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_uint32
    library.CreateFileW.restype, library.CloseHandle.argtypes = pointer, [pointer]
    library.CreateFileW.argtypes = [text, number, number, pointer, number, number, pointer]
    handle = library.CreateFileW(
        str(path), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, None, OPEN_EXISTING, 0, None
    )
    if handle == INVALID_HANDLE:
        last_error: Any = getattr(ctypes, "get_last_error")  # noqa: B009 - Linux's ctypes has none
        return last_error() in SHARING
    library.CloseHandle(handle)
    return False


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the system's refusals (a drive that went away, a bad sector, another program's lock) into sentences."""
    try:
        yield
    except FileNotFoundError as error:
        raise OneClickError("model.missing", name=path.name) from error
    except OSError as error:
        # open() knows no winerror: it asks the C library, which has one word for all refusals.
        if isinstance(error, PermissionError) and is_being_written(path):
            raise OneClickError("model.held", name=path.name) from error
        raise OneClickError("model.unreadable", name=path.name, reason=error.strerror or error) from error


def open_to_read(path: Path) -> BinaryIO:
    with reading(path):
        if path.is_dir():
            raise OneClickError("model.not_a_file", name=path.name)
        return path.open("rb")
