"""Building the engine: patches, headers, the cache, and what a failing compiler says."""

from __future__ import annotations

import io
import shlex
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from bundle.engine.compile import headers, zig
from bundle.engine.compile.build import build_engine
from bundle.engine.compile.import_library import read_exports
from bundle.engine.compile.source_patches import FOLDER, apply_patch, patch_files, read_patch
from bundle.engine.compile.tools import Tools, install_tools
from bundle.engine.compile.zig import CompileFailed
from bundle.engine.request import LEVELS, SDISTS, EngineRequest, header_file, required_files
from bundle.errors import BundleError, SourceError, UsageError
from bundle.fetch.cache import default_cache_dir
from tests.support.tiny_pe import tiny_dll

SOURCE = "one\ntwo\nthree\nfour\nfive\n"
PATCH = """\
Say why.

--- a/folder/file.c
+++ b/folder/file.c
@@ -2,3 +2,4 @@
 two
-three
+3
+3.5
 four
"""


def test_a_patch_changes_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file.c").write_text(SOURCE)
    (tmp_path / "0001.patch").write_text(PATCH)
    apply_patch(tmp_path / "0001.patch", tmp_path)
    assert (tmp_path / "folder" / "file.c").read_text() == "one\ntwo\n3\n3.5\nfour\nfive\n"


@pytest.mark.parametrize("source", [SOURCE.replace("two", "2"), SOURCE.replace("one\n", ""), ""])
def test_a_patch_that_does_not_fit_exactly_is_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file.c").write_text(source)
    (tmp_path / "0001.patch").write_text(PATCH)
    with pytest.raises(BundleError, match="does not fit"):
        apply_patch(tmp_path / "0001.patch", tmp_path)
    assert (tmp_path / "folder" / "file.c").read_text() == source


@pytest.mark.parametrize("version", sorted(SDISTS))
def test_every_patch_says_why_and_changes_something(version: str) -> None:
    for patch in patch_files(version):
        reason = patch.read_text(encoding="utf-8").split("--- a/")[0]
        assert len(reason.split()) > 15, patch.name
        assert read_patch(patch), patch.name
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == set(SDISTS)


def request_for(python_dll: Path, **changes: object) -> EngineRequest:
    values: dict[str, object] = {"version": "0.3.0", "python": "3.10.11", "python_dll": python_dll, **changes}
    return EngineRequest(**values)  # type: ignore[arg-type]


def test_unknown_levels_and_versions_are_refused() -> None:
    with pytest.raises(UsageError, match="no CPU level avx1024"):
        request_for(Path(), levels=("avx1024",))
    with pytest.raises(UsageError, match=r"0\.9\.9 cannot be compiled"):
        required_files(request_for(Path(), version="0.9.9"))


def test_the_headers_of_each_python_have_one_place() -> None:
    pythons = {"3.9.13": "python-sources-0.0.1.tar.gz", "3.10.11": "python-sources-0.0.1.tar.gz"}
    pythons |= {"3.8.10": "python.3.8.10.nupkg", "3.11.9": "python.3.11.9.nupkg", "3.12.9": "python.3.12.10.nupkg"}
    assert {python: header_file(request_for(Path(), python=python)).name for python in pythons} == pythons


def test_each_kind_of_header_archive_gives_the_wanted_python_with_our_pyconfig(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "python-sources-0.0.1.tar.gz", "w:gz") as sdist:
        for name in ("Python-3.9.12/Include/Python.h", "Python-3.10.4/Include/Python.h", "Python-3.10.4/PC/pyconfig.h"):
            member = tarfile.TarInfo(f"python-sources-0.0.1/{name}")
            member.size = len(name)
            sdist.addfile(member, io.BytesIO(name.encode()))
    with zipfile.ZipFile(tmp_path / "python.3.11.9.nupkg", "w") as nupkg:
        nupkg.writestr("tools/include/Python.h", "3.11")
        nupkg.writestr("tools/include/pyconfig.h", "another")
    for python, text in {"3.10.11": "Python-3.10.4/Include/Python.h", "3.11.9": "3.11"}.items():
        target = tmp_path / python
        headers.write_headers(request_for(Path(), python=python), target, lambda name: tmp_path / name, print)
        assert (target / "Python.h").read_text() == text
        assert "MS_WINDOWS" in (target / "pyconfig.h").read_text(encoding="utf-8")


def unreachable(name: str) -> Path:
    raise SourceError(f"{name} cannot be had", why="no network", do="")


def test_without_a_source_the_headers_of_this_machines_python_serve(tmp_path: Path) -> None:
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if headers.host_include(minor) is None:
        pytest.skip("this machine's Python came without headers")
    request = request_for(Path(), python=f"{minor}.0")
    said: list[str] = []
    headers.write_headers(request, tmp_path / "include", unreachable, said.append)
    assert (tmp_path / "include" / "Python.h").is_file()
    assert "MS_WINDOWS" in (tmp_path / "include" / "pyconfig.h").read_text(encoding="utf-8")
    assert said


def test_missing_headers_name_every_source_that_was_tried(tmp_path: Path) -> None:
    request = request_for(Path(), python="3.99.1")
    with pytest.raises(SourceError, match=r"python\.3\.99\.1\.nupkg: no network; no Python 3\.99") as caught:
        headers.write_headers(request, tmp_path / "include", unreachable, print)
    assert "choose Python 3.9 or 3.10" in caught.value.do


def test_a_file_that_is_no_dll_cannot_be_linked_against(tmp_path: Path) -> None:
    (tmp_path / "python310.dll").write_bytes(b"<html>")
    with pytest.raises(UsageError, match="not a DLL"):
        read_exports(tmp_path / "python310.dll")
    (tmp_path / "python310.dll").write_bytes(tiny_dll())
    with pytest.raises(UsageError, match="not a DLL"):
        read_exports(tmp_path / "python310.dll")


def test_a_cache_in_a_folder_with_spaces_stays_one_word_for_the_compiler(tmp_path: Path) -> None:
    root, tools = tmp_path / "Li Hua" / "making", tmp_path / "Li Hua" / "tools" / "zig"
    tree = zig.BuildTree(root=root, source=root, include=root, python_lib=root, openblas=None)
    found = Tools(zig=tools, cmake=tools, ninja=tools)
    variables = zig._cmake_variables(LEVELS["avx2"], tree, found, root / "zig.cmake", ".pyd")
    for name in ("CMAKE_C_FLAGS", "CMAKE_CXX_FLAGS"):
        words = shlex.split(variables[name])
        assert f"-ffile-prefix-map={root.as_posix()}=." in words
        assert f"-ffile-prefix-map={tools.parent.as_posix()}=zig" in words


def test_a_failing_compiler_is_quoted_and_leaves_no_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cmake = 'cmake_minimum_required(VERSION 3.12)\nproject(x NONE)\nmessage(FATAL_ERROR "the moon is full")\n'
    with tarfile.open(tmp_path / SDISTS["0.3.0"], "w:gz") as sdist:
        member = tarfile.TarInfo("chatglm-cpp-0.3.0/CMakeLists.txt")
        member.size = len(cmake)
        sdist.addfile(member, io.BytesIO(cmake.encode()))
    cache = tmp_path / "cache"
    tools = install_tools(default_cache_dir(), print)
    monkeypatch.setattr("bundle.engine.compile.build.install_tools", lambda *_arguments: tools)
    monkeypatch.setattr("bundle.engine.compile.zig.patch_files", lambda _version: [])
    monkeypatch.setattr("bundle.engine.compile.zig.write_headers", lambda *_arguments: "")
    monkeypatch.setattr("bundle.engine.compile.zig.write_import_library", lambda *_arguments: None)
    (tmp_path / "python310.dll").write_bytes(b"dll")
    request = request_for(tmp_path / "python310.dll", openblas=False)
    with pytest.raises(CompileFailed, match="the moon is full") as caught:
        build_engine(request, "0" * 64, lambda name: tmp_path / name, cache, print)
    log_file = cache / "engine" / "last-failure.log"
    assert str(log_file) in caught.value.do
    assert "the moon is full" in log_file.read_text(encoding="utf-8")
    assert [path.suffix for path in (cache / "engine").iterdir() if path != log_file] == [".lock"]
