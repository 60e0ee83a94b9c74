"""The compiler and its helpers for this machine: zig, CMake and Ninja, pinned in tools.lock, from PyPI."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

from bundle.engine.exclusive import hold_exclusively
from bundle.engine.request import Log
from bundle.errors import SourceError
from oneclick.files import move

LOCK = Path(__file__).with_name("tools.lock")
"""Versions and digests for every host; refreshed with:
uv pip compile tools.in --universal --generate-hashes --no-header --no-annotate --no-emit-index-url -o tools.lock
"""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """Programs of the host that make Windows binaries."""

    zig: Path
    cmake: Path
    ninja: Path


def install_tools(cache_dir: Path, log: Log, uv_options: Sequence[str] = ()) -> Tools:
    """The pinned tools under ``cache_dir``/tools, installed once (about 100 MB to download, 500 MB on disk).

    ``uv_options`` choose the index (``--index-url``) or ``--offline``.
    """
    digest = hashlib.sha256(LOCK.read_bytes().replace(b"\r\n", b"\n")).hexdigest()[:16]
    folder = cache_dir / "tools" / f"{sys.platform}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with hold_exclusively(folder.with_suffix(".lock")):
        if not folder.is_dir():
            log("Installing the cross compiler (zig, CMake, Ninja; about 100 MB)")
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as making:
                _install(Path(making) / "tools", uv_options)
                move(Path(making) / "tools", folder)
    exe = ".exe" if os.name == "nt" else ""
    return Tools(
        zig=_only(folder, f"ziglang/zig{exe}"),
        cmake=_only(folder, f"cmake/data/bin/cmake{exe}", f"cmake/data/CMake.app/Contents/bin/cmake{exe}"),
        ninja=_only(folder, f"bin/ninja{exe}", f"Scripts/ninja{exe}", f"ninja/data/bin/ninja{exe}"),
    )


def _install(target: Path, uv_options: Sequence[str]) -> None:
    command = [uv.find_uv_bin(), "pip", "install", "--target", str(target), "--python", sys.executable]
    command += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-progress", *uv_options]
    result = subprocess.run([*command, "-r", str(LOCK)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SourceError(
            "the cross compiler could not be installed",
            why=" / ".join(result.stderr.strip().splitlines()[-6:]) or f"uv ended with {result.returncode}",
            do="check the connection to the package index (or --mirrors), or build once without --offline",
        )


def _only(folder: Path, *candidates: str) -> Path:
    for candidate in candidates:
        if (folder / candidate).is_file():
            return folder / candidate
    raise SourceError(
        f"{Path(candidates[0]).name} is missing from the installed cross compiler",
        why=f"none of {', '.join(candidates)} exists in {folder}",
        do=f"delete {folder} and build again",
    )
