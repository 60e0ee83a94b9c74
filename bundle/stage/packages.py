"""Locked Windows packages into the staging folder, through uv, every hash checked."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename

from bundle.errors import UsageError
from bundle.recipe.lock import PinnedFile

PLATFORM = "x86_64-pc-windows-msvc"
INSTALLER_FILES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
"""Notes of the installation in ``*.dist-info``: they describe the build machine, not the package."""
UNUSED_FOLDERS = {"tests", "test", "__pycache__"}


def uv_program() -> str:
    """Return the path of the uv that is among the builder's requirements."""
    from uv import find_uv_bin

    return str(find_uv_bin())


def stage_packages(wheels: Mapping[PinnedFile, Path], python: str, target: Path) -> None:
    """Install ``wheels`` (pinned file -> its verified copy) for Windows and the minor version ``python``.

    No pip, no Scripts: launchers there would carry paths of this machine.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch_name:
        house = Path(scratch_name)
        lines = []
        for pinned, path in wheels.items():
            name, version, _, _ = parse_wheel_filename(pinned.name)
            shutil.copyfile(path, house / pinned.name)
            lines.append(f"{canonicalize_name(name)}=={version} --hash=sha256:{pinned.sha256}")
        requirements = house / "requirements.txt"
        requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")
        _run_uv(
            ["pip", "install", "--quiet", "--no-index", "--find-links", str(house), "--no-deps", "--no-cache"],
            ["--require-hashes", "--only-binary", ":all:", "--link-mode", "copy"],
            ["--python-platform", PLATFORM, "--python-version", python, "--target", str(target)],
            ["--requirements", str(requirements)],
        )
    _remove_unused(target)


def _run_uv(*arguments: Sequence[str]) -> None:
    command = [uv_program(), *(argument for group in arguments for argument in group)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        raise UsageError("uv could not install the locked packages", why=done.stderr.strip(), do="run: build.py lock")


def _remove_unused(target: Path) -> None:
    """Drop launchers, tests, caches and the installer's notes."""
    for folder in ("bin", "Scripts"):
        shutil.rmtree(target / folder, ignore_errors=True)
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_dir() and path.name in UNUSED_FOLDERS:
            shutil.rmtree(path)
        elif path.parent.name.endswith(".dist-info") and path.name in INSTALLER_FILES:
            path.unlink()
    (target / ".lock").unlink(missing_ok=True)
