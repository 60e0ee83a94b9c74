"""Put the engine's wheels into a bundle: one folder per CPU level, DLLs common to them once, licences beside."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bundle.archive.unpack import unpack_zip
from bundle.engine.request import LEVELS, PACKAGE, EngineInfo, Fetch, NeededFile, StagedLevel, dll_file
from bundle.engine.wheel import WheelInfo, check_wheel
from bundle.errors import BundleError, UsageError
from bundle.windows.instruction_set import read_instruction_sets, smallest_level
from bundle.windows.pe import is_windows_dll, read_imports
from oneclick.files import move

_LEFT_OUT = {"convert.py", "openai_api.py", "langchain_api.py", "_C.pyi"}
"""Files of the package that no user of a bundle needs. ``chatglm_cpp/__init__.py`` imports ``convert`` (and PyTorch)
only for a model that is no file, which the payload rules out before; the two servers need packages that no bundle
carries and are replaced by our own; the stub is for editors."""


def stage_engine(
    wheels: Sequence[Path], bundle_dir: Path, *, python_tag: str, python_dir: Path, kind: str, fetch: Fetch
) -> EngineInfo:
    """Fill ``app/engine`` and ``licenses/engine`` of ``bundle_dir`` from ``wheels``, the best CPU level first.

    python_tag: ``cp310``. python_dir: the bundle's embeddable Python, whose DLLs the engine may use.
    kind: ``compile``, ``release`` or ``file``, only written down. fetch is called only for DLLs (OpenBLAS, Microsoft's
    C++ runtime) that a wheel imports and neither the bundle nor Windows has.
    Raises UsageError for a wheel that does not fit, BundleError for an engine that could not be loaded.
    """
    engine = bundle_dir / "app" / "engine"
    shared = engine / "shared"
    shared.mkdir(parents=True)
    levels, infos = [], []
    with tempfile.TemporaryDirectory(dir=engine, prefix="making-", ignore_cleanup_errors=True) as scratch:
        for number, wheel in enumerate(wheels):
            unpacked = Path(scratch) / str(number)
            infos.append(check_wheel(wheel, python_tag, unpacked))
            levels.append(_stage_level(wheel, unpacked, engine))
            _stage_licences(unpacked, infos[-1], bundle_dir / "licenses" / "engine")
    _check_levels(infos, levels)
    add_missing_dlls(bundle_dir, python_dir, fetch)
    openblas = any("openblas" in dll.name for dll in shared.iterdir())
    if not any(shared.iterdir()):
        shared.rmdir()
    return EngineInfo(version=infos[0].version, kind=kind, openblas=openblas, levels=tuple(levels))


def _stage_level(wheel: Path, unpacked: Path, engine: Path) -> StagedLevel:
    """Move the package out of ``unpacked`` into the folder of the level its code is for."""
    package = unpacked / PACKAGE
    used = tuple(sorted({name for module in package.glob("*.pyd") for name in read_instruction_sets(module)}))
    level = smallest_level(used, wheel.name)
    target = engine / level / PACKAGE
    if target.exists():
        raise UsageError(
            f"{wheel.name} is for the same CPU level as another wheel of this bundle",
            why=f"both are for {level}",
            do="give one wheel per level",
        )
    target.mkdir(parents=True)
    for file in sorted(package.iterdir()):
        if file.suffix.lower() == ".dll":
            _share(file, engine / "shared")
        elif file.is_file() and file.name not in _LEFT_OUT:
            move(file, target / file.name)
    return StagedLevel(name=level, folder=f"app/engine/{level}", requires=used)


def _share(dll: Path, shared: Path) -> None:
    """Keep one copy of a DLL that every level brings; they must be the same."""
    target = shared / dll.name
    if target.exists() and target.read_bytes() != dll.read_bytes():
        raise BundleError(
            f"two engines of one bundle bring different {dll.name}",
            why="they share the folder app/engine/shared",
            do="use wheels that were made together",
        )
    move(dll, target)


def _stage_licences(unpacked: Path, info: WheelInfo, target: Path) -> None:
    """Copy the licence texts of the wheel; release wheels have theirs right in the dist-info folder."""
    for file in sorted(unpacked.glob("*.dist-info/**/*")):
        if file.is_file() and ("licenses" in file.parts or file.name.upper().startswith(("LICENSE", "COPYING"))):
            target.mkdir(parents=True, exist_ok=True)
            name = file.name if "-LICENSE" in file.name else f"{PACKAGE}-{file.name}"
            shutil.copyfile(file, target / name)


def _check_levels(infos: Sequence[WheelInfo], levels: Sequence[StagedLevel]) -> None:
    versions = {info.version for info in infos}
    if len(versions) != 1:
        raise UsageError(
            "the engine's wheels do not belong together",
            why=f"their versions are {', '.join(sorted(versions)) or '(no wheel)'}",
            do="use wheels of one version",
        )
    order = [list(LEVELS).index(level.name) for level in levels]
    if order != sorted(order):
        raise UsageError(
            "the engine's wheels are in the wrong order",
            why=f"they are for {', '.join(level.name for level in levels)}; the best level comes first",
            do="change their order",
        )


def add_missing_dlls(bundle_dir: Path, python_dir: Path, fetch: Fetch) -> list[str]:
    """Add what the bundle's binaries import and nobody has, from ``dll_file``; return the names added.

    For the engine into its folder ``shared``, for a package beside the module that needs it: there Windows looks first.
    """
    engine = bundle_dir / "app" / "engine"
    shared = engine / "shared"
    packages = [path for ending in ("pyd", "dll") for path in (bundle_dir / "app" / "packages").rglob(f"*.{ending}")]
    queue = [(path, shared) for path in sorted([*engine.glob("*/*/*.pyd"), *shared.glob("*.dll")])]
    queue += [(path, path.parent) for path in sorted(packages)]
    everywhere = {file.name.lower() for file in python_dir.glob("*.dll")}
    everywhere |= {file.name.lower() for file in bundle_dir.glob("app/packages/*.libs/*.dll")}
    added: list[str] = []
    unpacked: dict[str, dict[str, Path]] = {}
    with tempfile.TemporaryDirectory(dir=engine, prefix="making-", ignore_cleanup_errors=True) as scratch:
        while queue:
            binary, target = queue.pop()
            for name in read_imports(binary):
                if name in everywhere or is_windows_dll(name) or _holds(target, name):
                    continue
                needed = dll_file(name)
                if needed.name not in unpacked:
                    licences = bundle_dir / "licenses" / "engine"
                    unpacked[needed.name] = _unpack_dlls(needed, Path(scratch) / needed.project, licences, fetch)
                dll = unpacked[needed.name].get(name)
                if dll is None:
                    raise BundleError(
                        f"{binary.name} cannot be loaded from this bundle",
                        why=f"it imports {name}, which neither the bundle, nor Windows, nor Microsoft's runtime has",
                        do="use another wheel, or compile the engine (--wheel compile)",
                    )
                shutil.copyfile(dll, target / dll.name)
                added.append(name)
                queue.append((target / dll.name, target))
    return added


def _holds(folder: Path, name: str) -> bool:
    """Whether ``folder`` has the DLL ``name`` (lower case), however it is written there."""
    return any(file.name.lower() == name for file in folder.glob("*.[dD][lL][lL]"))


def _unpack_dlls(needed: NeededFile, unpacked: Path, licences: Path, fetch: Fetch) -> dict[str, Path]:
    """DLLs of the wheel ``needed`` (lower-case name -> file), and its licence into ``licences``."""
    unpack_zip(fetch(needed.name), unpacked, select=lambda name: not name.endswith((".pyd", ".lib")))
    licences.mkdir(parents=True, exist_ok=True)
    for licence in unpacked.glob("*.dist-info/**/LICENSE*"):
        shutil.copyfile(licence, licences / f"{needed.licence or needed.project}-LICENSE.txt")
    return {dll.name.lower(): dll for dll in sorted(unpacked.rglob("*.dll"))}
