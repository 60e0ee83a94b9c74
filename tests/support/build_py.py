"""build.py, run as a maintainer does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build_py(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run build.py in the default cache, with ``environment`` above that of the tests."""
    return subprocess.run(
        [sys.executable, ROOT / "build.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        check=False,
    )
