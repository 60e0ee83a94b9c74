"""CPython's headers for Windows: from the one pinned place of each Python, else from the host's own Python."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import uv

from bundle.archive.unpack import unpack_tar, unpack_zip
from bundle.engine.request import HEADER_SDISTS, EngineRequest, Fetch, Log, header_file
from bundle.errors import BundleError, SourceError
from oneclick.files import move

_PYCONFIG = Path(__file__).with_name("pyconfig_windows.h")


def write_headers(request: EngineRequest, target: Path, fetch: Fetch, log: Log) -> str:
    """Fill ``target`` with Python.h and its like for ``request.python`` on Windows; returns where they came from.

    The compiled engine does not depend on where that is: it uses nothing that differs between the patch levels of one
    minor version (3.10.4 and 3.10.5, 3.11.2 and 3.11.7 were compared), and pyconfig.h, which does differ between
    systems, is always ours.
    """
    file = header_file(request)
    try:
        _unpack_headers(fetch(file.name), request.python_minor, target)
        origin = file.name
    except SourceError as error:
        include = host_include(request.python_minor)
        if include is None:
            raise SourceError(
                f"no headers of Python {request.python_minor} to compile the engine with",
                why=f"{file.name}: {error.why}; no Python {request.python_minor} with headers on this machine",
                do=f"install Python {request.python_minor} with its headers (python{request.python_minor}-dev), "
                f"or choose Python {' or '.join(HEADER_SDISTS)}, whose headers are on PyPI",
            ) from error
        log(f"headers of this machine's own Python {request.python_minor}: {include}")
        shutil.copytree(include, target, ignore=shutil.ignore_patterns("*.so", "*.a"))
        origin = f"Python {request.python_minor} of this machine"
    shutil.copyfile(_PYCONFIG, target / "pyconfig.h")
    return origin


def _unpack_headers(archive: Path, minor: str, target: Path) -> None:
    """Put the headers of Python ``minor`` in ``archive``, an sdist with CPython's sources or a nupkg, at ``target``."""
    scratch = target.with_name(target.name + ".unpacked")
    if archive.suffix == ".nupkg":
        unpack_zip(archive, scratch, select=lambda name: name.startswith("tools/include/"))
        includes = list(scratch.glob("tools/include"))
    else:
        unpack_tar(archive, scratch, select=lambda name: name.endswith(".h") and "/Include/" in name)
        includes = sorted(scratch.glob(f"*/Python-{minor}.*/Include"))
    if len(includes) != 1:
        raise BundleError(
            f"{archive.name} does not hold CPython's headers",
            why=f"found {len(includes)} Include folders of Python {minor}",
            do="correct HEADER_SDISTS in bundle/engine/request.py",
        )
    move(includes[0], target)


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
