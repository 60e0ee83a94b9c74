"""Our own engine, the same bytes whoever gives them: from the cache, from a mirror, or compiled here."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.engine.compile.build import build_engine, read_wheels, wheel_folder
from bundle.engine.compile.headers import host_include
from bundle.engine.compile.inputs import input_digest
from bundle.engine.compile.parts import first_difference
from bundle.engine.compile.tools import LOCK as TOOLS_LOCK
from bundle.engine.request import EngineRequest, header_file, required_files
from bundle.errors import BundleError, DigestMismatch, SourceError
from bundle.fetch.sources import Sources
from bundle.log import Log
from bundle.recipe.lock import EnginePin, EngineWheel, Lock, PinnedFile
from oneclick.update.integrity import file_sha256


class EngineDiffers(DigestMismatch):
    """A compile that gives other bytes than the lock pins for the same source."""


def our_engine(request: EngineRequest, lock: Lock, sources: Sources, log: Log, *, mirrors: bool = True) -> list[Path]:
    """Return the wheels of ``request``, one per CPU level in its order, with the digests that ``lock`` demands.

    mirrors: whether the mirrors of engines are asked before anything is compiled. Where the lock pins nothing for this
    source, the engine is compiled and no digest is demanded. Raises EngineDiffers for a compile that gives other
    bytes, SourceError with every reason where the engine can neither be fetched nor compiled.
    """
    inputs = input_digest(request, lock.digests)
    pin = valid_pin(request, lock)
    refused = ""
    if pin is None:
        what = f"our engine for Python {request.python_minor} made of this source"
        log.line(f"the lock has no pin of {what}: it is compared with nobody else's (build.py lock --engine pins it)")
    elif mirrors and not read_wheels(wheel_folder(sources.cache.root, inputs), request):
        wheels, refused = _from_mirrors(pin, sources, log)
        if wheels:
            return wheels
    try:
        made = build_engine(
            request, inputs, sources.fetch, sources.cache.root, log.line, uv_options=sources.uv_options()
        )
    except BundleError as error:
        if not refused:
            raise
        raise SourceError(error.what, why=f"{error.why}; before that, {refused}", do=error.do) from error
    for wheel, wanted in zip(made, pin.wheel if pin else (), strict=pin is not None):
        _require_pinned(wheel, wanted)
    return made


def valid_pin(request: EngineRequest, lock: Lock) -> EnginePin | None:
    """Return the lock's pin of ``request``; None where it has none, or one of other inputs."""
    pin = lock.engine.get(request.python_minor)
    return pin if pin and pin.inputs == input_digest(request, lock.digests) else None


def wanted_files(request: EngineRequest, lock: Lock, sources: Sources) -> list[PinnedFile]:
    """Return the locked files that our engine still takes; only OpenBLAS, which is no part of it, once it is here."""
    needed = required_files(request)
    if host_include(request.python_minor):
        needed.remove(header_file(request))
    files = [lock.get(file.name) for file in needed if file.name in lock.digests]
    pin = valid_pin(request, lock)
    compiled = read_wheels(wheel_folder(sources.cache.root, input_digest(request, lock.digests)), request)
    here = compiled or (pin and all(sources.cache.find(wheel.file) for wheel in pin.wheel))
    return [file for file in files if not here or "openblas" in file.name]


def find_wheels(request: EngineRequest, lock: Lock, sources: Sources) -> list[Path]:
    """Return the pinned wheels of ``request`` that the cache holds; none where one is missing or nothing is pinned."""
    pin = valid_pin(request, lock)
    if pin is None:
        return []
    fetched = [sources.cache.find(wheel.file) for wheel in pin.wheel]
    if all(fetched):
        return [path for path in fetched if path]
    made = read_wheels(wheel_folder(sources.cache.root, pin.inputs), request)
    return made if [file_sha256(path) for path in made] == [wheel.sha256 for wheel in pin.wheel] else []


def _from_mirrors(pin: EnginePin, sources: Sources, log: Log) -> tuple[list[Path], str]:
    """Return the wheels of ``pin`` from the mirrors of engines, else none and why."""
    if not sources.has_mirrors("engine") and not all(sources.cache.find(wheel.file) for wheel in pin.wheel):
        return [], ""
    wheels = []
    for wheel in pin.wheel:
        try:
            wheels.append(sources.fetch_pinned(wheel.file))
        except (SourceError, DigestMismatch) as error:
            log.line(f"our engine is compiled here: {error.what} ({error.why})")
            return [], f"{error.what} ({error.why})"
    return wheels, ""


def _require_pinned(wheel: Path, wanted: EngineWheel) -> None:
    """Raise EngineDiffers, with all that helps to find the reason, where ``wheel`` is not the one that is pinned."""
    got = file_sha256(wheel)
    if got != wanted.sha256:
        raise EngineDiffers(
            "the engine that was compiled here is not the one the lock pins",
            why=f"{wheel} has sha256 {got}, the lock {wanted.sha256}; they begin to differ in "
            f"{first_difference(wheel, wanted.parts)}; made by {', '.join(tool_versions())} on {sys.platform} from the "
            "same source, patches and flags",
            do="run build.py clean and build again; if it repeats, this machine compiles differently: tell the "
            "maintainers, or pin what it makes with python build.py lock --engine",
        )


def tool_versions() -> Sequence[str]:
    """Return name and version of the tools that compile, such as ``ziglang 0.17.1``."""
    pins = re.findall(r"^([a-z]+)==([^ \\]+)", TOOLS_LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return [f"{name} {version}" for name, version in pins]
