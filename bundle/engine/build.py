"""The engine's wheels, one per CPU level: taken from the cache, or compiled there."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bundle.engine import tools as tools_module
from bundle.engine.compile import BuildTree, CompileFailed, compile_level, unpack_tree
from bundle.engine.patches import patch_files
from bundle.engine.request import (
    LEVELS,
    OPENBLAS_VERSIONS,
    OPENBLAS_WHEEL,
    PACKAGE,
    SDISTS,
    EngineRequest,
    Fetch,
    Log,
    required_files,
)
from bundle.engine.tools import install_tools
from bundle.engine.wheel import write_wheel
from bundle.errors import BundleError

LOCAL_VERSION = "oneclick.1"
"""Marks the wheels as ours: 0.3.0+oneclick.1."""

_RECIPE_MODULES = ("build.py", "compile.py", "headers.py", "import_library.py", "patches.py", "request.py", "wheel.py")
_OPENBLAS_DLL = "libscipy_openblas.dll"


def build_engine(
    request: EngineRequest, fetch: Fetch, cache_dir: Path, log: Log, *, uv_options: Sequence[str] = ()
) -> list[Path]:
    """Wheels of ``request``, one per CPU level in its order, under ``cache_dir``/engine/<digest>/<level>/.

    Compiled when the cache lacks them (2 to 4 minutes on 2 cores); a folder of the cache appears only when
    all wheels in it are whole. uv_options: see install_tools. Raises BundleError; a failed compile keeps its log
    as ``cache_dir``/engine/last-failure.log.
    """
    required_files(request)
    engines = cache_dir / "engine"
    folder = _cache_folder(request, fetch, cache_dir)
    wheels = _read_wheels(folder, request)
    if wheels:
        return wheels
    engines.mkdir(parents=True, exist_ok=True)
    tools = install_tools(cache_dir, log, uv_options)
    with tempfile.TemporaryDirectory(dir=engines, prefix="making-", ignore_cleanup_errors=True) as scratch:
        made = Path(scratch) / "wheels"
        log_file = Path(scratch) / "compile.log"
        try:
            tree = unpack_tree(request, Path(scratch).resolve(), tools, fetch, log)
            for name in request.levels:
                log(f"Compiling chatglm_cpp {request.version} for {request.tag} and {name}")
                module = compile_level(request, LEVELS[name], tree, tools, cache_dir / "zig", log_file)
                (made / name).mkdir(parents=True)
                pack_wheel(request, tree, module, made / name)
        except CompileFailed as error:
            kept = engines / "last-failure.log"
            shutil.copyfile(log_file, kept)
            raise CompileFailed(kept, error.returncode) from None
        _write_digests(made)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged entry
        made.rename(folder)
    return _read_wheels(folder, request)


def cached_wheels(request: EngineRequest, fetch: Fetch, cache_dir: Path) -> list[Path]:
    """Wheels of ``request`` that an earlier build compiled; empty when there are none. Nothing is compiled."""
    return _read_wheels(_cache_folder(request, fetch, cache_dir), request)


def _cache_folder(request: EngineRequest, fetch: Fetch, cache_dir: Path) -> Path:
    return cache_dir / "engine" / input_digest(request, fetch)[:24]


def input_digest(request: EngineRequest, fetch: Fetch) -> str:
    """Digest of everything that decides the wheels' bytes.

    CPython's headers are left out on purpose: any source of one minor version gives the same bytes (see headers.py).
    """
    here = Path(__file__).parent
    parts = {
        "python": request.tag,
        "levels": {name: LEVELS[name].flags for name in request.levels},
        "exports": _file_digest(request.python_dll),
        "sdist": _file_digest(fetch(SDISTS[request.version])),
        "openblas": _file_digest(fetch(OPENBLAS_WHEEL)) if _has_openblas(request) else None,
        "tools": _text_digest(tools_module.LOCK),
        "code": [_text_digest(here / name) for name in _RECIPE_MODULES],
        "patches": {patch.name: _text_digest(patch) for patch in patch_files(request.version)},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def pack_wheel(request: EngineRequest, tree: BuildTree, module: Path, folder: Path) -> Path:
    """The wheel around the compiled ``module``: upstream's Python files, OpenBLAS's DLL, every licence."""
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
    if tree.openblas is not None:
        files[f"{PACKAGE}/{_OPENBLAS_DLL}"] = (tree.openblas / "lib" / _OPENBLAS_DLL).read_bytes()
    licences = f"{PACKAGE}-{version}.dist-info/licenses"
    files |= {f"{licences}/{name}": path.read_bytes() for name, path in licence_files(tree).items()}
    metadata = (tree.source / "PKG-INFO").read_text(encoding="utf-8")
    metadata = re.sub(r"^Version: .*$", f"Version: {version}", metadata, count=1, flags=re.M)
    return write_wheel(folder, version=version, tag=request.tag, files=files, metadata=metadata)


def licence_files(tree: BuildTree) -> dict[str, Path]:
    """Licences of what is linked into the engine (name in the wheel -> file); all must exist."""
    found = {"chatglm.cpp-LICENSE.txt": tree.source / "LICENSE"}
    for path in sorted((tree.source / "third_party").rglob("LICENSE*")):
        parts = path.relative_to(tree.source / "third_party").parts[:-1]
        if "examples" not in parts and "python" not in parts and path.is_file():
            found[f"{'-'.join(part for part in parts if part != 'third_party')}-LICENSE.txt"] = path
    if tree.openblas is not None:
        (openblas,) = tree.openblas.parent.glob("*.dist-info/licenses/LICENSE.txt")
        found["openblas-LICENSE.txt"] = openblas
    return found


def _has_openblas(request: EngineRequest) -> bool:
    return request.openblas and request.version in OPENBLAS_VERSIONS


def _read_wheels(folder: Path, request: EngineRequest) -> list[Path]:
    """The wheels in ``folder``, or nothing when one is missing or not as it was written."""
    try:
        digests: dict[str, str] = json.loads((folder / "digests.json").read_text(encoding="utf-8"))
        wheels = [next(folder.joinpath(name).glob("*.whl")) for name in request.levels]
    except (OSError, ValueError, StopIteration):
        return []
    good = all(digests.get(wheel.relative_to(folder).as_posix()) == _file_digest(wheel) for wheel in wheels)
    return wheels if good else []


def _write_digests(folder: Path) -> None:
    digests = {wheel.relative_to(folder).as_posix(): _file_digest(wheel) for wheel in sorted(folder.glob("*/*.whl"))}
    (folder / "digests.json").write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _text_digest(path: Path) -> str:
    # A checkout with CRLF must not compile anew.
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
