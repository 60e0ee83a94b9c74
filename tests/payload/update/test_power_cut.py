"""The power goes at any moment: what was not flushed is zeros then, and the folder still ends as A or B."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from oneclick import settings, settings_file
from oneclick.errors import OneClickError
from tests.payload.update.conftest import update_of
from tests.support.language import english  # noqa: F401 - a fixture of all tests here

MOST_MOVES = 30
"""More than this update has renames and deletions."""


class PowerCut(BaseException):
    """Nothing of the program runs after it."""


class Disk:
    """A write-back cache: names are on the disk at once, as NTFS journals them, content only once it was flushed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._flushed = {path.stat().st_ino for path in self._files() if not self._is_fresh(path)}
        self._left: int | None = None
        fsync = os.fsync

        def flushing(descriptor: int) -> None:
            fsync(descriptor)
            self._flushed.add(os.fstat(descriptor).st_ino)

        monkeypatch.setattr(os, "fsync", flushing)
        for name in ("replace", "unlink"):
            monkeypatch.setattr(Path, name, self._counting(getattr(Path, name)))

    def _files(self) -> Iterator[Path]:
        return (path for path in self._folder.rglob("*") if path.is_file())

    def _is_fresh(self, path: Path) -> bool:
        """The patch was extracted a moment ago, by a program that flushes nothing."""
        return "new" in path.relative_to(self._folder).parts[:2]

    def _counting(self, method: Any) -> Any:
        def call(path: Path, *arguments: Any, **options: Any) -> Any:
            done = method(path, *arguments, **options)
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise PowerCut
            return done

        return call

    def cut_after(self, moves: int) -> None:
        """Let the power go right after so many more renames and deletions, plus one."""
        self._left = moves

    def lose_what_was_not_flushed(self) -> None:
        """The PC starts again."""
        self._left = None
        for path in self._files():
            if path.stat().st_ino not in self._flushed:
                path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("moves", range(MOST_MOVES))
def test_a_power_cut_while_files_are_moved_leaves_a_or_b(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    folder = tmp_path / "x"
    shutil.copytree(prepared, folder)
    disk = Disk(folder, monkeypatch)
    disk.cut_after(moves)
    with suppress(PowerCut):
        update_of(folder).apply()
    disk.lose_what_was_not_flushed()
    with suppress(OneClickError):
        update_of(folder).apply()
    assert not (folder / "update" / "journal.json").exists()
    is_b = (folder / "app" / "new.txt").exists()
    assert (folder / "app" / "changed.txt").read_bytes() == (b"2" if is_b else b"1")
    assert update_of(folder)._differences("") == []


def test_a_journal_that_outlives_a_power_cut_finds_its_runner_whole(
    patched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "x"
    shutil.copytree(patched, folder)
    disk = Disk(folder, monkeypatch)
    update_of(folder).prepare()
    disk.lose_what_was_not_flushed()
    assert (folder / "update" / "journal.json").exists()
    assert (folder / "update/runner/python/python.exe").read_bytes() == (folder / "python/python.exe").read_bytes()


@pytest.mark.parametrize("moves", [0, 1])
def test_settings_are_the_old_or_the_new_ones_after_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    path = tmp_path / "设置.toml"
    path.write_text("port = 8001\n", encoding="utf-8")
    disk = Disk(tmp_path, monkeypatch)
    disk.cut_after(moves)
    with suppress(PowerCut):
        settings_file.set_value(path, "port", 8002)
    disk.lose_what_was_not_flushed()
    read = settings.read_settings(path)
    assert read.problems == () and read.port == 8002
