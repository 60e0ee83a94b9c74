"""Compile chatglm_cpp for Windows on any machine: pinned source, our patches, zig as the cross compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.archive.unpack import unpack_tar, unpack_zip
from bundle.engine.compile.headers import write_headers
from bundle.engine.compile.import_library import write_import_library
from bundle.engine.compile.source_patches import apply_patch, patch_files
from bundle.engine.compile.tools import Tools
from bundle.engine.request import (
    OPENBLAS_VERSIONS,
    OPENBLAS_WHEEL,
    SDISTS,
    CpuLevel,
    EngineRequest,
    Fetch,
    Log,
)
from bundle.errors import BundleError
from oneclick.files import move

_OPENBLAS_FUNCTIONS = ("cblas_sgemm", "openblas_set_num_threads")
"""What ggml calls; all symbols of scipy-openblas32 carry the prefix ``scipy_``."""

_TOOLCHAIN = """\
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR AMD64)
set(CMAKE_C_COMPILER "{zig}" cc -target x86_64-windows-gnu -mcpu=x86_64)
set(CMAKE_CXX_COMPILER "{zig}" c++ -target x86_64-windows-gnu -mcpu=x86_64)
# Nothing here has Windows resources, but CMake insists on a compiler for them.
set(CMAKE_RC_COMPILER "{zig}")
# zig's archiver and ranlib are subcommands, which CMAKE_AR cannot say; D: no time stamps.
foreach(language C CXX)
  set(CMAKE_${{language}}_ARCHIVE_CREATE "\\"{zig}\\" ar qcD <TARGET> <LINK_FLAGS> <OBJECTS>")
  set(CMAKE_${{language}}_ARCHIVE_APPEND "\\"{zig}\\" ar qD <TARGET> <LINK_FLAGS> <OBJECTS>")
  set(CMAKE_${{language}}_ARCHIVE_FINISH "\\"{zig}\\" ranlib -D <TARGET>")
endforeach()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
"""


@dataclass(frozen=True, kw_only=True)
class BuildTree:
    """Everything a compile reads, unpacked in one folder."""

    root: Path
    source: Path
    include: Path
    python_lib: Path
    openblas: Path | None
    """Folder with include/ and lib/ of scipy-openblas32."""

    @property
    def build(self) -> Path:
        return self.root / "build"


def unpack_tree(request: EngineRequest, root: Path, tools: Tools, fetch: Fetch, log: Log) -> BuildTree:
    """Unpack and patch the source, write the headers and the import library under ``root``."""
    sdist = fetch(SDISTS[request.version])
    unpack_tar(sdist, root / "sdist")
    tops = [folder for folder in (root / "sdist").iterdir() if (folder / "CMakeLists.txt").is_file()]
    if len(tops) != 1:
        raise BundleError(
            f"{sdist.name} is not the engine's source",
            why="it does not hold exactly one folder with a CMakeLists.txt",
            do="delete it from the cache and build again",
        )
    source = root / "source"
    move(tops[0], source)
    for patch in patch_files(request.version):
        apply_patch(patch, source)
    write_headers(request, root / "include", fetch, log)
    python_lib = root / request.python_dll.with_suffix(".lib").name
    write_import_library(request.python_dll, python_lib, tools.zig)
    openblas = None
    if request.openblas and request.version in OPENBLAS_VERSIONS:
        unpack_zip(fetch(OPENBLAS_WHEEL), root / "openblas")
        openblas = root / "openblas" / "scipy_openblas32"
    return BuildTree(root=root, source=source, include=root / "include", python_lib=python_lib, openblas=openblas)


def compile_level(
    request: EngineRequest, level: CpuLevel, tree: BuildTree, tools: Tools, zig_cache: Path, log_file: Path
) -> Path:
    """The extension module for ``level``; a second level in the same tree recompiles only ggml."""
    toolchain = tree.root / "zig.cmake"
    toolchain.write_text(_TOOLCHAIN.format(zig=tools.zig.as_posix()), encoding="utf-8", newline="\n")
    suffix = f".{request.tag}-win_amd64.pyd"
    environment = _environment(tree, zig_cache)
    configure = [str(tools.cmake), "-G", "Ninja", "-S", str(tree.source), "-B", str(tree.build)]
    configure += [
        f"-D{name}={value}" for name, value in _cmake_variables(level, tree, tools, toolchain, suffix).items()
    ]
    build = [str(tools.cmake), "--build", str(tree.build), "--target", "_C"]
    for command in (configure, build):
        _run(command, environment, log_file)
    built = tree.build / "lib" / f"_C{suffix}"
    result = tree.root / level.name / built.name
    result.parent.mkdir()
    shutil.copyfile(built, result)
    return result


def _cmake_variables(level: CpuLevel, tree: BuildTree, tools: Tools, toolchain: Path, suffix: str) -> dict[str, str]:
    # No path of this machine may reach the binary: __FILE__ is used in error messages. A shell reads the flags, and
    # people's names, which are in the path of their cache, have spaces in them.
    renamed = {tree.root: ".", tools.zig.parent: "zig"}
    prefix_map = " ".join(f'"-ffile-prefix-map={path.as_posix()}={name}"' for path, name in renamed.items())
    c_flags = cxx_flags = f"{prefix_map} -DMS_WIN64"
    variables = {
        "CMAKE_TOOLCHAIN_FILE": toolchain.as_posix(),
        "CMAKE_MAKE_PROGRAM": tools.ninja.as_posix(),
        "CMAKE_BUILD_TYPE": "Release",
        # After CMakeLists' own -g: no debug information, it would be a 21 MB .pdb.
        "CMAKE_CXX_FLAGS_RELEASE": "-O3 -DNDEBUG -g0",
        "CMAKE_C_FLAGS_RELEASE": "-O3 -DNDEBUG -g0",
        "CMAKE_MODULE_LINKER_FLAGS": "-s",
        "CMAKE_POLICY_VERSION_MINIMUM": "3.5",
        "CMAKE_POLICY_DEFAULT_CMP0148": "OLD",
        "BUILD_SHARED_LIBS": "OFF",
        "CHATGLM_ENABLE_PYBIND": "ON",
        "CHATGLM_ENABLE_EXAMPLES": "OFF",
        "GGML_CPU_FLAGS": " ".join(level.flags),
        "PYTHON_EXECUTABLE": Path(sys.executable).as_posix(),
        "PYTHON_INCLUDE_DIR": tree.include.as_posix(),
        "PYTHON_INCLUDE_DIRS": tree.include.as_posix(),
        "PYTHON_LIBRARY": tree.python_lib.as_posix(),
        "PYTHON_LIBRARIES": tree.python_lib.as_posix(),
        "PYTHON_MODULE_EXTENSION": suffix,
        "PYBIND11_PYTHONLIBS_OVERWRITE": "OFF",
    }
    if tree.openblas is not None:
        variables |= {
            "GGML_OPENBLAS": "ON",
            "OPENBLAS_LIB": (tree.openblas / "lib" / "libscipy_openblas.lib").as_posix(),
            "OPENBLAS_INC": (tree.openblas / "include").as_posix(),
        }
        c_flags += "".join(f" -D{name}=scipy_{name}" for name in _OPENBLAS_FUNCTIONS)
    return variables | {"CMAKE_C_FLAGS": c_flags, "CMAKE_CXX_FLAGS": cxx_flags}


def _environment(tree: BuildTree, zig_cache: Path) -> dict[str, str]:
    # Variables such as CFLAGS, CPATH or CMAKE_GENERATOR would change the result.
    kept = ("PATH", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP", "TMPDIR", "HOME")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return environment | {
        "ZIG_GLOBAL_CACHE_DIR": str(zig_cache),
        "ZIG_LOCAL_CACHE_DIR": str(tree.root / "zig-local"),
        "SOURCE_DATE_EPOCH": "315532800",
        "LC_ALL": "C",
    }


def _run(command: Sequence[str], environment: Mapping[str, str], log_file: Path) -> None:
    with log_file.open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        result = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
        )
    if result.returncode != 0:
        raise CompileFailed(log_file, result.returncode)


class CompileFailed(BundleError):
    """The compiler, CMake or Ninja ended with an error; ``log_file`` has all they said."""

    def __init__(self, log_file: Path, returncode: int) -> None:
        self.returncode = returncode
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if "error:" in line.lower() or "CMake Error" in line][:4]
        tail = [line for line in lines if line.strip()][-8:]
        super().__init__(
            "the engine could not be compiled",
            why="\n       ".join([f"the compiler ended with {returncode}:", *dict.fromkeys(errors + tail)]),
            do=f"the whole output is in {log_file}; --wheel release takes the precompiled engine instead",
        )
