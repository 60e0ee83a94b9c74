"""The engine's wheels, one per CPU level: taken from the cache, or compiled there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from bundle.disk import scratch_folder
from bundle.engine.compile.pack import pack_wheel
from bundle.engine.compile.tools import install_tools
from bundle.engine.compile.zig import CompileFailed, compile_level, unpack_tree
from bundle.engine.exclusive import hold_exclusively
from bundle.engine.request import LEVELS, EngineRequest, Fetch, Log, required_files
from oneclick.files import move


def build_engine(
    request: EngineRequest, inputs: str, fetch: Fetch, cache_dir: Path, log: Log, *, uv_options: Sequence[str] = ()
) -> list[Path]:
    """Wheels of ``request``, one per CPU level in its order, under ``cache_dir``/engine/<inputs>/<level>/.

    inputs: see input_digest. Compiled when the cache lacks them (2 to 4 minutes on 2 cores); a folder of the cache
    appears only when all wheels in it are whole. uv_options: see install_tools. Raises BundleError; a failed compile
    keeps its log as ``cache_dir``/engine/last-failure.log.
    """
    required_files(request)
    folder = wheel_folder(cache_dir, inputs)
    wheels = read_wheels(folder, request)
    if wheels:
        return wheels
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Another builder may be at it: wait for its wheels instead of making them twice.
    with hold_exclusively(folder.with_name(f"{folder.name}.lock")):
        wheels = read_wheels(folder, request)
        if not wheels:
            _compile(request, fetch, cache_dir, folder, log, uv_options)
            wheels = read_wheels(folder, request)
    return wheels


def _compile(
    request: EngineRequest, fetch: Fetch, cache_dir: Path, folder: Path, log: Log, uv_options: Sequence[str]
) -> None:
    """Make all wheels of ``request`` beside ``folder``, which then gets them at once."""
    tools = install_tools(cache_dir, log, uv_options)
    with scratch_folder(folder.parent, "making-") as scratch:
        made = scratch / "wheels"
        log_file = scratch / "compile.log"
        try:
            tree = unpack_tree(request, scratch.resolve(), tools, fetch, log)
            for name in request.levels:
                log(f"Compiling chatglm_cpp {request.version} for {request.tag} and {name}")
                module = compile_level(request, LEVELS[name], tree, tools, cache_dir / "zig", log_file)
                (made / name).mkdir(parents=True)
                pack_wheel(request, name, tree, module, made / name, tools)
        except CompileFailed as error:
            kept = folder.with_name("last-failure.log")
            shutil.copyfile(log_file, kept)
            raise CompileFailed(kept, error.returncode) from None
        _write_digests(made)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged entry
        move(made, folder)


def wheel_folder(cache_dir: Path, inputs: str) -> Path:
    """Return the cache's folder for the wheels made of ``inputs``."""
    return cache_dir / "engine" / inputs[:24]


def read_wheels(folder: Path, request: EngineRequest) -> list[Path]:
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
