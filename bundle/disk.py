"""The disk: trouble with it in words, and folders to work in that never stay behind."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Container, Iterator
from pathlib import Path

import psutil

from bundle.errors import StorageError
from oneclick.files import is_held

DISK_TROUBLE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
)
"""What a full, closed or unfit disk says; where much else is done, other errors are mistakes of ours."""


@contextlib.contextmanager
def disk_named(target: Path, do: str, *, only: Container[int | None] | None = None) -> Iterator[None]:
    """Turn an OSError while ``target`` is written into a StorageError that says to ``do`` something.

    only: the numbers of the errors that are turned; all of them without it.
    """
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        why = error.strerror or str(error)
        if error.filename and str(error.filename) != str(target):
            why += f": {error.filename}"
        if is_held(error):
            do = "wait until the antivirus program or indexer that holds it is done, or exclude this folder there"
        raise StorageError(f"{target} cannot be written", why=why, do=do) from error


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Give the folder ``<parent>/<prefix><process id>``, removed afterwards.

    Those of processes that no longer run were left by a power cut or a kill; they are removed first.
    """
    for left in parent.glob(f"{prefix}*"):
        pid = left.name.removeprefix(prefix)
        if pid.isdecimal() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
            shutil.rmtree(left, ignore_errors=True)
    folder = parent / f"{prefix}{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
