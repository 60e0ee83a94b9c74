"""A folder and the patch that lies in it."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest

from bundle.release.patch import make_patch
from oneclick.console import Console
from oneclick.folder import BundleFolder
from oneclick.update.apply import Update
from tests.bundle.release.releases import archive_of
from tests.support.wine import extract


def update_of(folder: Path) -> Update:
    return Update(BundleFolder(folder), Console(io.StringIO()))


@pytest.fixture(scope="session")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 1.0.0 with the patch to 1.1.0 extracted into it."""
    tmp_path = tmp_path_factory.mktemp("patched")
    files_of_a = {"python/python.exe": b"MZ", "app/changed.txt": b"1", "app/gone/a.txt": b"1"}
    old = archive_of(tmp_path, "old", files_of_a)
    new = archive_of(
        tmp_path, "new", {"python/python.exe": b"MZ", "app/changed.txt": b"2", "app/new.txt": b"2"}, "1.1.0"
    )
    folder = extract(old.path, tmp_path / "x")
    patch = make_patch(old.path, new.path, tmp_path / "p").archive
    shutil.copytree(extract(patch.path, tmp_path / "y"), folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def prepared(patched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 1.0.0 whose update to 1.1.0 is prepared."""
    folder = tmp_path_factory.mktemp("prepared") / "x"
    shutil.copytree(patched, folder)
    update_of(folder).prepare()
    return folder
