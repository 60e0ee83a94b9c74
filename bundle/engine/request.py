"""What an engine build is asked for, what it hands back, and which pinned files it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundle.errors import UsageError
from oneclick.pc.levels import FEATURES

PACKAGE = "chatglm_cpp"
"""Import name; the project is called chatglm-cpp on PyPI."""

Fetch = Callable[[str], Path]
"""Gives the path of a locked file by its file name; raises SourceError when no source has it."""

Log = Callable[[str], None]
"""Takes one line of progress."""


_COMPILED = ("avx", "avx2", "fma", "f16c")
"""Features that code is compiled for: ggml's loops are vector code. The others of a level were not measured to win."""


@dataclass(frozen=True, kw_only=True)
class CpuLevel:
    """An instruction set the engine is compiled for; levels are ordered, the best one first."""

    name: str
    flags: tuple[str, ...]
    """Compiler flags for ggml's C files, the only ones with vector code; everything else stays plain x86-64."""
    requires: tuple[str, ...]
    """What a PC has, in the words of bundle.json."""


LEVELS = {
    name: CpuLevel(name=name, flags=tuple(f"-m{one}" for one in _COMPILED if one in features), requires=features)
    for name, features in FEATURES.items()
}


@dataclass(frozen=True, kw_only=True)
class EngineRequest:
    """One engine: a version of chatglm_cpp for one Windows Python, compiled for some CPU levels."""

    version: str
    """Upstream's version; patches/<version>/ says what we change."""
    python: str
    """Full version of the bundle's Python, such as ``3.10.11``."""
    python_dll: Path
    """The bundle's own python310.dll: its export table becomes the import library."""
    levels: tuple[str, ...] = ("avx2",)
    openblas: bool = True

    def __post_init__(self) -> None:
        unknown = [name for name in self.levels if name not in LEVELS]
        if unknown or not self.levels:
            raise UsageError(
                f"no CPU level {', '.join(unknown) or '(none given)'}",
                why=f"the engine can be compiled for {', '.join(LEVELS)}",
                do="correct `cpu` in the recipe",
            )

    @property
    def tag(self) -> str:
        """``cp310`` for Python 3.10.x."""
        major, minor = self.python.split(".")[:2]
        return f"cp{major}{minor}"

    @property
    def python_minor(self) -> str:
        """``3.10`` for Python 3.10.x."""
        return ".".join(self.python.split(".")[:2])


@dataclass(frozen=True, kw_only=True)
class NeededFile:
    """A file the lock must hold."""

    name: str
    """File name in the lock, what ``fetch`` is called with."""
    project: str
    version: str
    index: str
    """``pypi`` or ``nuget``."""
    why: str
    licence: str = ""
    """What its licence text is called in a bundle; empty: the project."""


@dataclass(frozen=True, kw_only=True)
class StagedLevel:
    """One CPU level in a bundle."""

    name: str
    folder: str
    """Relative to the bundle, with forward slashes."""
    requires: tuple[str, ...]
    """Instruction sets found in its binaries by disassembling them."""


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """The engine as staged: what bundle.json's ``engine`` says."""

    version: str
    kind: str
    """``compile``, ``release`` or ``file``."""
    openblas: bool
    levels: tuple[StagedLevel, ...]
    licences: tuple[Path, ...] = field(default=())
    """Licence texts that were staged under licenses/engine."""

    def to_json(self) -> dict[str, object]:
        """The value of ``engine`` in bundle.json."""
        return {
            "package": PACKAGE,
            "version": self.version,
            "kind": self.kind,
            "openblas": self.openblas,
            "levels": [
                {"name": level.name, "folder": level.folder, "requires": list(level.requires)} for level in self.levels
            ],
        }


SDISTS = {"0.3.0": "chatglm-cpp-0.3.0.tar.gz", "0.4.2": "chatglm_cpp-0.4.2.tar.gz"}
"""Versions we have patches for, and their sdists' names on PyPI."""

OPENBLAS_VERSION = "0.3.34.481.3"
OPENBLAS_WHEEL = f"scipy_openblas32-{OPENBLAS_VERSION}-py3-none-win_amd64.whl"
OPENBLAS_VERSIONS = ("0.3.0",)
"""Versions whose ggml can hand big products to OpenBLAS; 0.4's needs a backend that chatglm.cpp does not use."""

MSVC_RUNTIME_VERSION = "14.42.34433"
MSVC_RUNTIME_WHEEL = f"msvc_runtime-{MSVC_RUNTIME_VERSION}-cp310-cp310-win_amd64.whl"
"""The DLLs in it are the same for every Python, so one file serves all."""

HEADER_SDISTS = dict.fromkeys(("3.9", "3.10"), ("python-sources", "0.0.1", "python-sources-0.0.1.tar.gz"))
"""Python minor version -> PyPI sdist that holds CPython's headers: 3.9.12 and 3.10.4."""

HEADER_NUGETS = {"3.8": "3.8.10", "3.11": "3.11.9", "3.12": "3.12.10"}
"""Python minor version -> version of NuGet's package ``python`` whose headers are taken; PyPI has none of these."""


def required_files(request: EngineRequest) -> list[NeededFile]:
    """Files a compile of ``request`` takes from the lock, beside the host tools (tools.lock)."""
    sdist = SDISTS.get(request.version)
    if sdist is None:
        raise UsageError(
            f"chatglm_cpp {request.version} cannot be compiled",
            why=f"there are patches for {', '.join(SDISTS)} only",
            do="set one of these versions in the recipe, or use --wheel with a wheel you have",
        )
    files = [
        NeededFile(name=sdist, project="chatglm-cpp", version=request.version, index="pypi", why="the engine's source"),
        header_file(request),
    ]
    if request.openblas and request.version in OPENBLAS_VERSIONS:
        files.append(_OPENBLAS)
    return files


_OPENBLAS = NeededFile(
    name=OPENBLAS_WHEEL,
    project="scipy-openblas32",
    version=OPENBLAS_VERSION,
    index="pypi",
    why="fast products for prompts",
    licence="openblas",
)
_MSVC_RUNTIME = NeededFile(
    name=MSVC_RUNTIME_WHEEL,
    project="msvc-runtime",
    version=MSVC_RUNTIME_VERSION,
    index="pypi",
    why="MSVCP140.dll and its like, which the embeddable Python lacks",
)


def header_file(request: EngineRequest) -> NeededFile:
    """Where CPython's headers come from: one place for each Python, whatever this machine reaches.

    Where nobody gives it, this machine's own Python of the same minor version may (headers.py).
    """
    if request.python_minor in HEADER_SDISTS:
        project, version, name = HEADER_SDISTS[request.python_minor]
        return NeededFile(name=name, project=project, version=version, index="pypi", why="CPython's headers")
    version = HEADER_NUGETS.get(request.python_minor, request.python)
    name = f"python.{version}.nupkg"
    return NeededFile(name=name, project="python", version=version, index="nuget", why="CPython's headers")


def runtime_files() -> Sequence[NeededFile]:
    """Files ``stage_engine`` takes when a wheel was made with Visual Studio (release wheels, --wheel FILE)."""
    return (_MSVC_RUNTIME,)


def dll_file(dll: str) -> NeededFile:
    """The file that holds ``dll`` (lower case), which an engine imports and neither the bundle nor Windows has."""
    return _OPENBLAS if "openblas" in dll else _MSVC_RUNTIME
