"""CPython's headers for Windows: from NuGet, from an sdist that carries them, or from the host's own Python."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path, PurePosixPath

import uv

from bundle.archive.unpack import unpack_tar, unpack_zip
from bundle.engine.request import EngineRequest, Fetch, Log, header_files
from bundle.errors import BundleError, SourceError
from oneclick.files import move

_PYCONFIG = Path(__file__).with_name("pyconfig_windows.h")


def write_headers(request: EngineRequest, target: Path, fetch: Fetch, log: Log) -> str:
    """Fill ``target`` with Python.h and its like for ``request.python`` on Windows; returns where they came from.

    The compiled engine does not depend on which source was taken: headers of one minor version differ in
    PY_VERSION only, which pybind11 does not use.
    """
    tried: list[str] = []
    for file in header_files(request):
        try:
            archive = fetch(file.name)
        except SourceError as error:
            tried.append(f"{file.name}: {error.why}")
            continue
        _unpack_headers(archive, target)
        return file.name
    include = host_include(request.python_minor)
    if include is None:
        tried.append(f"no Python {request.python_minor} with headers on this machine")
        raise SourceError(
            f"no headers of Python {request.python_minor} to compile the engine with",
            why="; ".join(tried),
            do=f"install Python {request.python_minor} with its headers (python{request.python_minor}-dev), "
            "or choose Python 3.10, whose headers are on PyPI",
        )
    log(f"headers of this machine's own Python {request.python_minor}: {include}")
    shutil.copytree(include, target, ignore=shutil.ignore_patterns("*.so", "*.a"))
    config = target / "pyconfig.h"
    if "MS_WINDOWS" not in config.read_text(encoding="utf-8"):
        shutil.copyfile(_PYCONFIG, config)
    return f"Python {request.python_minor} of this machine"


def _unpack_headers(archive: Path, target: Path) -> None:
    scratch = target.with_name(target.name + ".unpacked")
    if archive.suffix == ".nupkg":
        unpack_zip(archive, scratch, select=lambda name: name.startswith("tools/include/"))
        move(scratch / "tools" / "include", target)
        return
    unpack_tar(archive, scratch, select=_is_header)
    includes = sorted(scratch.glob("*/*/Include"))
    configs = sorted(scratch.glob("*/*/PC/pyconfig.h"))
    if len(includes) != 1 or len(configs) != 1:
        raise BundleError(
            f"{archive.name} does not hold CPython's headers",
            why=f"found {len(includes)} Include folders and {len(configs)} PC/pyconfig.h",
            do="correct HEADER_SOURCES in bundle/engine/request.py",
        )
    move(includes[0], target)
    move(configs[0], target / "pyconfig.h")


def _is_header(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.endswith(".h") and (parts[2:3] == ("Include",) or parts[2:] == ("PC", "pyconfig.h"))


def host_include(minor: str) -> Path | None:
    """Folder with Python.h of a Python ``minor`` (such as ``3.11``) installed on this machine, if there is one."""
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == minor:
        candidates = [sysconfig.get_path("include")]
    else:
        candidates = [_ask_include(python) for python in _installed_pythons(minor)]
    for candidate in candidates:
        folder = Path(candidate)
        patchlevel = folder / "patchlevel.h"
        if candidate and (folder / "Python.h").is_file() and patchlevel.is_file():
            found = re.search(r'#define PY_VERSION\s+"(\d+\.\d+)\.', patchlevel.read_text(encoding="utf-8"))
            if found and found.group(1) == minor:
                return folder
    return None


def _installed_pythons(minor: str) -> list[str]:
    # uv knows the places where each system keeps its Pythons (PATH, py launcher, pyenv).
    command = [uv.find_uv_bin(), "python", "find", "--no-python-downloads", "--no-project", "--system", minor]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return [result.stdout.strip()] if result.returncode == 0 else []


def _ask_include(python: str) -> str:
    command = [python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('include'))"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""
