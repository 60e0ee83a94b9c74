"""What tests of all areas share: the finished archive, and which tests this machine can run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import py7zr
import pytest

ROOT = Path(__file__).resolve().parent.parent
NEEDS = {"wine": ("wine",), "browser": ("chromium",)}
"""Marker -> programs without which its tests cannot run; tests/run.py installs them or says so."""


SLOW_FIXTURES = {"built_archive", "real_bundle", "engine", "our_engine", "released_engine", "program", "slow_program"}
"""What takes a build, a compiler, a browser or another person's client to have; ``--fast`` does without."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only tests that need no engine, archive, Wine or browser")


def is_slow(item: pytest.Item) -> bool:
    """Tell whether ``--fast`` leaves the test out."""
    marked = any(item.get_closest_marker(name) for name in ("wine", "browser", "slow"))
    return marked or bool(SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what ``--fast`` is not for, and what needs a program that this machine lacks, and say which."""
    if config.getoption("--fast"):
        slow = [item for item in items if is_slow(item)]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not is_slow(item)]
    for item in items:
        for marker, programs in NEEDS.items():
            missing = [program for program in programs if not shutil.which(program)]
            if item.get_closest_marker(marker) and missing and sys.platform != "win32":
                item.add_marker(pytest.mark.skip(reason=f"needs {missing[0]}: see tests/run.py"))


@pytest.fixture(scope="session")
def built_archive() -> Path:
    """The archive that ``python build.py`` makes here; built once, and not at all when it is current."""
    done = subprocess.run(
        [sys.executable, ROOT / "build.py", "--no-smoke"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return ROOT / "dist" / "ChatGLM3_cpp.7z"


@pytest.fixture(scope="session")
def real_bundle(built_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive's folder, extracted once."""
    folder = tmp_path_factory.mktemp("extracted")
    with built_archive.open("rb") as file, py7zr.SevenZipFile(file) as source:
        source.extractall(folder)
    return folder / "ChatGLM3_cpp"
