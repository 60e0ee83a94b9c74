"""Upstream's convert.py, run as it is in an environment of its own: what our quantiser must equal byte for byte."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

from bundle.archive.unpack import unpack_tar
from bundle.fetch.cache import default_cache_dir
from tests.support.native_engine import SDISTS, download_sdist

REQUIREMENTS = Path(__file__).parents[1] / "requirements-convert.txt"
RUNNER = Path(__file__).parents[1] / "bundle" / "model" / "quantize" / "run_upstream.py"
WAIT_S = 900


def convert_python() -> Path:
    """Return a Python that has torch and transformers; its environment is made once (about a minute) and kept."""
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    root = default_cache_dir() / "convert-env"
    folder = root / key
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"
    root.mkdir(parents=True, exist_ok=True)
    lock = root / f"{key}.lock"
    while not ready.exists():
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            if time.time() - lock.stat().st_mtime > WAIT_S:
                lock.unlink(missing_ok=True)
            time.sleep(0.5)
            continue
        try:
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=True)
            install = [str(python), "-m", "pip", "install", "-q", "-r", str(REQUIREMENTS)]
            done = subprocess.run(install, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"pip could not make the environment of convert.py:\n{done.stderr[-2000:]}")
            ready.touch()
        finally:
            lock.unlink(missing_ok=True)
    return python


def convert_script(version: str = "0.3.0") -> Path:
    """Return chatglm_cpp/convert.py of a release, out of its pinned sdist."""
    sdist = SDISTS[version]
    root = default_cache_dir() / "convert-py" / sdist.sha256[:16]
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        making = root.with_name(f"{root.name}.{os.getpid()}")
        unpack_tar(download_sdist(sdist, root.parent), making)
        making.replace(root)
    (script,) = root.glob("*/chatglm_cpp/convert.py")
    return script


def run_upstream(folders: Sequence[Path], types: Sequence[str], output: Path, version: str = "0.3.0") -> None:
    """Convert every one of ``folders`` to every type: ``output`` / ``FOLDER.TYPE``."""
    _run("convert", str(convert_script(version)), str(output), ",".join(map(str, folders)), ",".join(types))


def save_with_transformers(folder: Path, output: Path) -> None:
    """Save the checkpoint ``folder`` again in every layout that torch and transformers write: ``output`` / LAYOUT."""
    _run("save", str(folder), str(output))


def _run(*arguments: str) -> None:
    environment = {**os.environ, "TRANSFORMERS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    environment["HF_MODULES_CACHE"] = str(default_cache_dir() / "convert-env" / f"modules-{os.getpid()}")
    try:
        command = [str(convert_python()), str(RUNNER), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    finally:
        shutil.rmtree(environment["HF_MODULES_CACHE"], ignore_errors=True)
    if done.returncode:
        raise RuntimeError(f"upstream failed:\n{done.stderr[-3000:]}")
