from __future__ import annotations

import importlib
import importlib.resources
import os
import sys
import zipfile
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from oneclick import module_cache
from oneclick.module_cache import ModuleCache

NAMES = ("oc_plain", "oc_package", "oc_zipped", "oc_engine")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A bundle's folder with one module of each kind, all of them importable; forgotten afterwards."""
    packages, engine, python = tmp_path / "app" / "packages", tmp_path / "app" / "engine", tmp_path / "python"
    for folder in (packages / "oc_package", engine, python):
        folder.mkdir(parents=True)
    (packages / "oc_plain.py").write_text("VALUE = 1\n")
    (packages / "oc_package" / "__init__.py").write_text("from oc_package.inner import VALUE\n")
    (packages / "oc_package" / "inner.py").write_text("VALUE = 2\n")
    (packages / "oc_package" / "data.txt").write_text("data")
    (engine / "oc_engine.py").write_text("VALUE = 3\n")
    with zipfile.ZipFile(python / "python.zip", "w") as archive:
        archive.writestr("oc_zipped/__init__.py", "from oc_zipped.inner import VALUE\n")
        archive.writestr("oc_zipped/inner.py", "VALUE = 4\n")
    for path in (packages, engine, python / "python.zip"):
        monkeypatch.syspath_prepend(path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield tmp_path
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in NAMES]:
        del sys.modules[name]
    importlib.invalidate_caches()


def start(root: Path) -> ModuleCache:
    """Do what a start does: install the cache, import, save."""
    forget()
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, ModuleCache)]
    cache = ModuleCache(str(root), str(root / "logs" / "cache" / "key" / "program"))
    sys.meta_path.insert(sys.meta_path.index(PathFinder), cache)
    for name in NAMES:
        importlib.import_module(name)
    cache.save()
    return cache


def value(name: str) -> object:
    return sys.modules[name].__dict__["VALUE"]


def change_unseen(path: Path, text: str) -> None:
    """Give a file another text of the same length and the same time, which only one who reads it can notice."""
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_second_start_does_not_read_the_sources(root: Path) -> None:
    start(root)
    change_unseen(root / "app" / "packages" / "oc_plain.py", "VALUE = 9\n")
    change_unseen(root / "app" / "packages" / "oc_package" / "inner.py", "VALUE = 9\n")
    start(root)
    assert [value(name) for name in NAMES] == [1, 2, 4, 3]


def test_the_engine_is_looked_for_at_each_start(root: Path) -> None:
    start(root)
    change_unseen(root / "app" / "engine" / "oc_engine.py", "VALUE = 9\n")
    start(root)
    assert value("oc_engine") == 9


@pytest.mark.parametrize("name", ["oc_plain.py", "oc_package/inner.py"])
def test_a_source_edited_by_hand_is_compiled_again(root: Path, name: str) -> None:
    start(root)
    (root / "app" / "packages" / name).write_text("VALUE = 10\n")
    start(root)
    assert 10 in [value(name) for name in NAMES]
    start(root)
    assert 10 in [value(name) for name in NAMES]


def test_a_source_that_is_gone_is_not_imported(root: Path) -> None:
    start(root)
    (root / "app" / "packages" / "oc_plain.py").unlink()
    with pytest.raises(ModuleNotFoundError):
        start(root)


def test_another_zip_of_the_standard_library_is_read_again(root: Path) -> None:
    start(root)
    with zipfile.ZipFile(root / "python" / "python.zip", "w") as archive:
        archive.writestr("oc_zipped/__init__.py", "VALUE = 'another'\n")
    start(root)
    assert value("oc_zipped") == "another"


def test_modules_look_as_if_python_had_imported_them(root: Path) -> None:
    def looks() -> list[object]:
        names = [name for name in sorted(sys.modules) if name.split(".")[0] in NAMES]
        modules = [sys.modules[name] for name in names]
        return [
            (name, module.__file__, list(getattr(module, "__path__", ())), module.__package__)
            for name, module in zip(names, modules, strict=True)
        ]

    forget()
    for name in NAMES:
        importlib.import_module(name)
    usual = looks()
    start(root)
    assert looks() == usual
    start(root)
    assert looks() == usual
    assert importlib.resources.files("oc_package").joinpath("data.txt").read_text() == "data"


def test_an_error_names_the_line_of_the_source(root: Path) -> None:
    source = root / "app" / "packages" / "oc_plain.py"
    source.write_text("VALUE = 1\ndef fail():\n    raise ValueError('no')\n")
    start(root)
    start(root)
    with pytest.raises(ValueError, match="no") as caught:
        sys.modules["oc_plain"].fail()
    assert str(caught.traceback[-1].path) == str(source)
    assert "raise ValueError('no')" in str(caught.traceback[-1].statement)


def test_a_damaged_file_is_made_anew(root: Path) -> None:
    start(root)
    file = root / "logs" / "cache" / "key" / "program"
    whole = file.read_bytes()
    for damaged in (b"", whole[:5], whole[:-1], whole[:8], whole[:100] + b"\xff" + whole[101:], b"\0" * len(whole)):
        file.write_bytes(damaged)
        start(root)
        assert [value(name) for name in NAMES] == [1, 2, 4, 3]
        assert file.read_bytes() != damaged
        assert list(file.parent.iterdir()) == [file]


def test_nothing_new_means_nothing_written(root: Path) -> None:
    start(root)
    file = root / "logs" / "cache" / "key" / "program"
    written = file.stat().st_mtime_ns
    start(root)
    assert file.stat().st_mtime_ns == written


def test_a_folder_that_cannot_be_written_costs_only_time(root: Path) -> None:
    (root / "logs").write_text("a file where the folder should be")
    start(root)
    start(root)
    assert [value(name) for name in NAMES] == [1, 2, 4, 3]


def test_another_version_drops_the_cache_of_the_old_one(root: Path) -> None:
    old = root / "logs" / "cache" / "old"
    old.mkdir(parents=True)
    (old / "program").write_bytes(b"old")
    start(root)
    assert [path.name for path in (root / "logs" / "cache").iterdir()] == ["key"]


def test_the_file_is_named_after_manifest_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(module_cache, "_installed", None)
    files = set()
    for folder, manifest in (("a", "1"), ("a", "2"), ("b", "1"), ("a", "1")):
        place = tmp_path / folder / "app" / "oneclick"
        place.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "MANIFEST.json").write_text(manifest)
        monkeypatch.setattr(module_cache, "__file__", str(place / "module_cache.py"))
        module_cache.install("program")
        cache = sys.meta_path[sys.meta_path.index(PathFinder) - 1]
        assert isinstance(cache, ModuleCache)
        files.add(cache.file)
    assert len(files) == 3


def test_outside_a_bundle_nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_cache, "__file__", str(tmp_path / "app" / "oneclick" / "module_cache.py"))
    before = list(sys.meta_path)
    module_cache.install("program")
    module_cache.save()
    assert sys.meta_path == before
    assert list(tmp_path.iterdir()) == []
