"""An antivirus program holds files while an update works: the folder ends as A or B."""

from __future__ import annotations

import io
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oneclick import files
from oneclick.console import Console
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from oneclick.update import apply
from oneclick.update.apply import Update
from tests.support.language import english  # noqa: F401 - a fixture of all tests here

pytestmark = pytest.mark.slow

FOR_EVER = 1 << 60
ATTEMPTS = 60
"""More than an update has moves and deletions."""


def refusing(method: Callable[..., Any], at: int, times: int) -> Callable[..., Any]:
    """Return ``method`` as it is while a scanner holds the file of its ``at``-th call for ``times`` calls."""
    count = itertools.count()

    def call(self: Path, *arguments: Any, **options: Any) -> Any:
        if at <= next(count) < at + times:
            raise PermissionError(13, "held by a scanner", str(self))
        return method(self, *arguments, **options)

    return call


@pytest.mark.parametrize("name", ["unlink", "replace"])
@pytest.mark.parametrize("times", [1, 2, FOR_EVER])
def test_whichever_call_is_refused_the_folder_is_a_or_b(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, times: int
) -> None:
    monkeypatch.setattr(apply, "patiently", lambda act: files.patiently(act, 0.02, lambda _: None))
    monkeypatch.setattr(apply, "write_whole", lambda path, data: path.write_bytes(data))
    ended = set()
    for at in range(0, ATTEMPTS, 1 if times < 3 else 4):
        folder = tmp_path / f"{at}"
        shutil.copytree(prepared, folder)
        (folder / "logs" / "cache" / "key").mkdir(parents=True)
        with monkeypatch.context() as patched:
            patched.setattr(Path, name, refusing(getattr(Path, name), at, times))
            try:
                Update(BundleFolder(folder), Console(io.StringIO())).apply()
            except OneClickError:
                assert times > 2
        if (folder / "update" / "journal.json").exists():  # what the next double-click does
            with pytest.raises(OneClickError, match="The update was undone"):
                Update(BundleFolder(folder), Console(io.StringIO())).apply()
        assert not (folder / "update" / "journal.json").exists()
        is_b = (folder / "app" / "new.txt").exists()
        assert (folder / "app" / "changed.txt").read_bytes() == (b"2" if is_b else b"1")
        assert (folder / "app" / "gone" / "a.txt").exists() is not is_b
        assert Update(BundleFolder(folder), Console(io.StringIO()))._differences("") == []
        assert not (folder / "logs" / "cache").exists(), "compiled modules of the release that was"
        ended.add(is_b)
        shutil.rmtree(folder)
    assert True in ended and (times < 3) is (ended == {True})


def test_a_scanner_that_holds_the_fresh_programs_is_not_called_a_full_disk(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "x"
    shutil.copytree(prepared, folder)
    (folder / "update" / "journal.json").unlink()
    monkeypatch.setattr(apply, "patiently", lambda act: files.patiently(act, 0.05, lambda _: None))
    monkeypatch.setattr(Path, "replace", refusing(Path.replace, 0, FOR_EVER))
    with pytest.raises(OneClickError) as told:
        Update(BundleFolder(folder), Console(io.StringIO())).prepare()
    assert told.value.key == "update.held" and "virus scanner" in str(told.value)


def test_a_file_is_whole_or_as_it_was_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    files.write_whole(path, b"one")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        files.write_whole(path, b"two")
    assert path.read_bytes() == b"one"
