"""The real bundle, extracted once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import py7zr
import pytest


@pytest.fixture(scope="session")
def real_bundle(built_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extracted")
    with built_archive.open("rb") as file, py7zr.SevenZipFile(file) as source:
        source.extractall(folder)
    return folder / "ChatGLM3_cpp"
