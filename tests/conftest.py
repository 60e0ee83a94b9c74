"""What tests of all areas share: the finished archive, and which tests this machine can run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NEEDS = {"wine": ("wine",), "browser": ("chromium",)}
"""Marker -> programs without which its tests cannot run; tests/run.py installs them or says so."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs a program that this machine lacks, and say which."""
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
