"""What benchmarks need besides this repository: the finished archive, Debian's programs, other makers' packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build import builder_environment
from bundle.fetch.cache import default_cache_dir

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = ROOT / "dist" / "ChatGLM3_cpp.7z"
PEERS = Path(__file__).with_name("peers")
LLAMA_PACKAGES = ("xllamacpp==2026.10.11549", "gguf==0.19.0")


class Missing(Exception):
    """Another program cannot be had; the text is what its rows say."""


def finished_archive() -> Path:
    """``dist/ChatGLM3_cpp.7z`` of the sources as they are now.

    build.py says in 0.3 s that nothing changed; else it builds, in half a minute, or six where the engine is compiled.
    """
    print("making sure that dist/ is built of these sources (python3 build.py --no-smoke)", flush=True)
    command = [sys.executable, str(ROOT / "build.py"), "--no-smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"dist/ cannot be built:\n{done.stderr}")
    return ARCHIVE


def program(name: str, package: str, *others: str) -> str:
    """The path of a program; where we may, Debian's ``package`` (or several) is installed. Raises Missing.

    ``others`` are names it goes by elsewhere.
    """
    for tries_left in (1, 0):
        found = next((path for one in (name, *others) if (path := shutil.which(one))), None)
        if found:
            return found
        if tries_left and os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
            quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            command = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *package.split()]
            subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    raise Missing(f"{name} is not installed (Debian: apt install {package})")


@dataclass(frozen=True)
class Timed:
    """One run of a command."""

    seconds: float
    cpu_s: float
    """Processor time of it and all it started."""
    done: subprocess.CompletedProcess[str]


def timed(command: Sequence[str]) -> Timed:
    """Run ``command`` once, whether it fails or not; ours (this Python) as build.py starts the builder.

    Not on Windows, which has no ``resource``.
    """
    import resource

    env = builder_environment() if command[0] == sys.executable else None
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Timed(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done)


def need_windows() -> None:
    """Raise Missing where neither Windows nor Wine is."""
    if os.name != "nt":
        program("wine", "wine wine64")


def environment(name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment that has ``packages`` (pinned); made once and kept in the builder's cache."""
    digest = hashlib.sha256(" ".join((*packages, sys.version)).encode()).hexdigest()[:16]
    folder = default_cache_dir() / "bench" / f"{name}-{digest}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"
    if not ready.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        uv = [sys.executable, "-m", "uv"]
        install = [*uv, "pip", "install", "-q", "--python", str(python), *packages]
        for command in ([*uv, "venv", "-q", "--python", sys.executable, str(folder)], install):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Missing(
                    f"{packages[0]} cannot be installed: {(done.stderr.strip() or 'no message').splitlines()[-1]}"
                )
        ready.touch()
    return python
