"""The engine's wheel around a compiled module: upstream's Python files and every licence."""

from __future__ import annotations

import re
from pathlib import Path

from bundle.engine.compile.tools import Tools
from bundle.engine.compile.write_wheel import write_wheel
from bundle.engine.compile.zig import BuildTree
from bundle.engine.request import PACKAGE, EngineRequest
from bundle.errors import BundleError

LOCAL_VERSION = "oneclick.1"
"""Marks the wheels as ours: 0.3.0+oneclick.1."""

_COMPILER_LICENCES = {
    "libcxx-LICENSE.txt": "lib/libcxx/LICENSE.TXT",
    "mingw-w64-LICENSE.txt": "lib/libc/mingw/COPYING",
}
"""Of the C and C++ libraries that zig links into every module (name in the wheel -> file beside zig)."""


def pack_wheel(request: EngineRequest, level: str, tree: BuildTree, module: Path, folder: Path, tools: Tools) -> Path:
    """The wheel around the compiled ``module``: upstream's Python files and every licence.

    OpenBLAS's DLL is not in it: every level's would carry the same 22 MB, so staging adds it from its own wheel.
    """
    version = f"{request.version}+{LOCAL_VERSION}"
    files = {f"{PACKAGE}/{module.name}": module.read_bytes()}
    for file in sorted((tree.source / PACKAGE).glob("*.py*")):
        if file.suffix in (".py", ".pyi"):
            files[f"{PACKAGE}/{file.name}"] = file.read_bytes()
    init = files[f"{PACKAGE}/__init__.py"]
    declared = f'__version__ = "{request.version}"'.encode()
    if init.count(declared) != 1:
        raise BundleError(
            "the engine's source does not say its version where it used to",
            why=f"{PACKAGE}/__init__.py holds {declared!r} {init.count(declared)} times",
            do="look at the sdist and mend pack_wheel",
        )
    files[f"{PACKAGE}/__init__.py"] = init.replace(declared, f'__version__ = "{version}"'.encode())
    licences = f"{PACKAGE}-{version}.dist-info/licenses"
    files |= {f"{licences}/{name}": path.read_bytes() for name, path in licence_files(tree, tools).items()}
    metadata = (tree.source / "PKG-INFO").read_text(encoding="utf-8")
    metadata = re.sub(r"^Version: .*$", f"Version: {version}", metadata, count=1, flags=re.M)
    return write_wheel(folder, version=version, tag=request.tag, files=files, metadata=metadata, level=level)


def licence_files(tree: BuildTree, tools: Tools) -> dict[str, Path]:
    """Licences of what is linked into the engine (name in the wheel -> file); all must exist."""
    found = {"chatglm.cpp-LICENSE.txt": tree.source / "LICENSE"}
    for path in sorted((tree.source / "third_party").rglob("LICENSE*")):
        parts = path.relative_to(tree.source / "third_party").parts[:-1]
        if "examples" not in parts and "python" not in parts and path.is_file():
            found[f"{'-'.join(part for part in parts if part != 'third_party')}-LICENSE.txt"] = path
    found |= {name: tools.zig.parent / path for name, path in _COMPILER_LICENCES.items()}
    return found
