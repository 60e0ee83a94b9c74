"""Work folders: gone afterwards, those of killed builds too, those of running builds left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.disk import scratch_folder


def test_a_folder_is_given_and_removed(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, ".work-") as folder:
        (folder / "sub").mkdir()
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_it_is_removed_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path, ".work-"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_a_running_one_is_not_disturbed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".work-{dead.pid}").mkdir()
    (tmp_path / f".work-{os.getppid()}").mkdir()
    (tmp_path / ".work-notes").mkdir()
    with scratch_folder(tmp_path, ".work-"):
        names = {path.name for path in tmp_path.iterdir()}
    assert names == {f".work-{os.getpid()}", f".work-{os.getppid()}", ".work-notes"}
