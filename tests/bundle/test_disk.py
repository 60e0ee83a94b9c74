"""Trouble with the disk is said in words: which file, why, and what to do."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from bundle.disk import DISK_TROUBLE, disk_named
from bundle.errors import StorageError


def test_the_cause_and_the_file_it_met_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError) as caught, disk_named(tmp_path, "make room"):
        (tmp_path / "file").mkdir()
    assert (caught.value.what, caught.value.do) == (f"{tmp_path} cannot be written", "make room")
    assert caught.value.why == f"File exists: {tmp_path / 'file'}"


def test_of_chosen_troubles_others_pass(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No space left"), disk_named(tmp_path, "make room", only=DISK_TROUBLE):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), disk_named(tmp_path, "make room", only=DISK_TROUBLE):
        (tmp_path / "nothing").read_bytes()


def test_a_file_that_a_scanner_holds_is_no_full_disk(tmp_path: Path) -> None:
    held = PermissionError(13, "The process cannot access the file")
    held.winerror = 32  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="antivirus program or indexer") as caught, disk_named(tmp_path, "make room"):
        raise held
    assert "make room" not in str(caught.value)
