"""Import the engine in a process of its own, as the worker will, to see whether Windows can load its DLLs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60.0
PROGRAM = (
    "import sys; from oneclick.engine.engine import import_engine; "
    "module = import_engine(sys.argv[1], sys.argv[2:]); print('version', module.__version__)"
)
WORDS_SHOWN = 300


@dataclass(frozen=True)
class EngineTest:
    """``exit_code`` 0 and a version, or a code (see ``server.exit_codes``) and the last words of Python."""

    exit_code: int
    version: str
    last_words: str


def load_engine(folder: Path, dll_folders: list[Path]) -> EngineTest:
    """Import chatglm_cpp from ``folder``; never raises for an engine that cannot be loaded."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).absolute().parents[2]), "PYTHONUTF8": "1"}
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows only
    try:
        done = subprocess.run(
            [sys.executable, "-X", "utf8", "-B", "-c", PROGRAM, str(folder), *map(str, dll_folders)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            env=environment,
            creationflags=flags,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return EngineTest(-1, "", str(error))
    words = done.stderr.decode("utf-8", "replace").strip()[-WORDS_SHOWN:]
    version = done.stdout.decode("utf-8", "replace").rpartition("version ")[2].strip()
    return EngineTest(done.returncode, version if done.returncode == 0 else "", words)
