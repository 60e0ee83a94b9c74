"""chatglm_cpp compiled for the machine the tests run on: as released, and with our patches.

The bundle's engine is a Windows program; these are the same sources for this machine's Python, built once and kept in
the builder's cache folder. ``python -m tests.support.native_engine`` builds them all (about two minutes on two cores).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from bundle.archive.unpack import unpack_tar
from bundle.engine.compile.source_patches import apply_patch, patch_files
from bundle.engine.compile.tools import install_tools
from bundle.engine.exclusive import hold_exclusively
from bundle.fetch.cache import default_cache_dir
from bundle.fetch.pypi import find_file, own_index
from oneclick.update.integrity import file_sha256

RECIPE = 1
"""Part of the cache's key: raise it when the way of building changes."""


@dataclass(frozen=True)
class Sdist:
    """A source archive of chatglm-cpp on PyPI."""

    version: str
    name: str
    sha256: str


SDISTS = {
    "0.3.0": Sdist(
        "0.3.0", "chatglm-cpp-0.3.0.tar.gz", "1e767c5a695e0d718ff6dc08d1b37bc83920e511a2ce72a576e2deedc5e1cd70"
    ),
    "0.3.4": Sdist(
        "0.3.4", "chatglm_cpp-0.3.4.tar.gz", "f99595029cf5ee3988075351889f52399489e6d3ab78e95adbcac97e189f32f3"
    ),
    "0.4.2": Sdist(
        "0.4.2", "chatglm_cpp-0.4.2.tar.gz", "8c70215eafdcd60895d1b72db517f584ba2db21d5a5f09a2396ba49bd65104d0"
    ),
}


def native_engine(version: str = "0.3.0", *, patched: bool, cache_dir: Path | None = None) -> Path:
    """Return a folder for ``sys.path`` that holds the package chatglm_cpp; builds it when it is not there yet.

    Both kinds of one version come from one tree: the patched one compiles only what the patches touch.
    """
    sdist = SDISTS[version]
    root = (cache_dir or default_cache_dir()) / "native-engine"
    folders = {kind: root / _key(sdist, kind) for kind in (False, True)}
    if not folders[patched].is_dir():
        root.mkdir(parents=True, exist_ok=True)
        with hold_exclusively(root / f"{version}.lock"):
            if not folders[patched].is_dir():
                _build(sdist, folders, root)
    return folders[patched]


def _key(sdist: Sdist, patched: bool) -> str:
    digest = hashlib.sha256(
        f"{RECIPE} {sdist.sha256} {sysconfig.get_platform()} {sys.implementation.cache_tag}".encode()
    )
    for patch in patch_files(sdist.version) if patched else []:
        digest.update(patch.read_bytes())
    kind = "ours" if patched else "released"
    return f"{sdist.version}-{kind}-{digest.hexdigest()[:16]}"


def _build(sdist: Sdist, folders: dict[bool, Path], root: Path) -> None:
    archive = download_sdist(sdist, root)
    with tempfile.TemporaryDirectory(dir=root, prefix="making-") as making:
        unpack_tar(archive, Path(making, "sdist"))
        (source,) = [path for path in Path(making, "sdist").iterdir() if path.is_dir()]
        build = Path(making, "build")
        for kind in (False, True):
            if kind:
                for patch in patch_files(sdist.version):
                    apply_patch(patch, source)
            module = _compile(source, build, root / f"{folders[kind].name}.log")
            if folders[kind].is_dir():
                continue
            staged = Path(making, folders[kind].name)
            package = staged / "chatglm_cpp"
            shutil.copytree(source / "chatglm_cpp", package)
            shutil.copy(module, package / module.name)
            staged.rename(folders[kind])


def download_sdist(sdist: Sdist, root: Path) -> Path:
    """Return the path of ``sdist`` in the folder ``root``, downloaded from the package index when it is not there."""
    path = root / sdist.name
    if path.is_file() and file_sha256(path) == sdist.sha256:
        return path
    listed = find_file(own_index(), "chatglm-cpp", sdist.name)
    answer = requests.get(listed.url, timeout=60)
    answer.raise_for_status()
    if hashlib.sha256(answer.content).hexdigest() != sdist.sha256:
        raise RuntimeError(f"{sdist.name}: not the file we pinned")
    path.write_bytes(answer.content)
    return path


def _compile(source: Path, build: Path, log: Path) -> Path:
    """Compile the extension module and return it."""
    tools = install_tools(default_cache_dir(), print)
    output = build / "module"
    configure = [
        *(str(tools.cmake), "-S", str(source), "-B", str(build), "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={tools.ninja}",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_CXX_FLAGS_RELEASE=-O2 -DNDEBUG -g0",
        "-DCHATGLM_ENABLE_PYBIND=ON",
        "-DCHATGLM_ENABLE_EXAMPLES=OFF",
        "-DBUILD_SHARED_LIBS=OFF",
        "-DCMAKE_POLICY_VERSION_MINIMUM=3.5",
        "-DCMAKE_POLICY_DEFAULT_CMP0148=OLD",
        f"-DPYTHON_EXECUTABLE={sys.executable}",
        f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={output}",
        # pybind11 would link with -flto, which doubles the time and changes nothing for tests.
        "-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=OFF",
    ]
    if shutil.which("c++") is None:
        configure += [f"-DCMAKE_C{kind}_COMPILER={tools.zig}" for kind in ("", "XX")]
        configure += ["-DCMAKE_C_COMPILER_ARG1=cc", "-DCMAKE_CXX_COMPILER_ARG1=c++"]
    _run(configure, log)
    _run([str(tools.cmake), "--build", str(build), "--target", "_C"], log)
    (module,) = output.glob("_C*")
    return module


def _run(command: Sequence[str], log: Path) -> None:
    with log.open("ab") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed, see {log}")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ["0.3.0"]:
        print(native_engine(wanted, patched=False))
        print(native_engine(wanted, patched=True))
