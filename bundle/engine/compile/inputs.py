"""Everything that decides the engine's bytes, as one digest: the key of the cache, and what a pin is good for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from bundle.engine.compile.source_patches import patch_files
from bundle.engine.compile.tools import LOCK as TOOLS_LOCK
from bundle.engine.request import LEVELS, EngineRequest, required_files

_NOT_IN_THE_WHEEL = {"__init__.py", "build.py", "inputs.py", "parts.py", "pinned.py", "tools.py"}
"""Modules of this folder that decide when and where to compile, not what comes out."""


def input_digest(request: EngineRequest, digests: Mapping[str, str]) -> str:
    """Return the digest of what decides the bytes of the wheels of ``request``: files, patches, tools, flags, our code.

    digests: file name -> sha256 of the lock's files. Nothing is fetched for it, and of the bundle's Python the version
    counts, so that it is known before anything is downloaded.
    """
    here = Path(__file__).parent
    code = [path for path in sorted(here.glob("*.py")) if path.name not in _NOT_IN_THE_WHEEL]
    parts = {
        "python": request.python,
        "levels": {name: LEVELS[name].flags for name in request.levels},
        "files": {file.name: digests.get(file.name, "") for file in required_files(request)},
        "tools": _text_digest(TOOLS_LOCK),
        "code": {path.name: _text_digest(path) for path in [*code, here / "pyconfig_windows.h"]},
        "patches": {patch.name: _text_digest(patch) for patch in patch_files(request.version)},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _text_digest(path: Path) -> str:
    # A checkout with CRLF must not compile anew.
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
