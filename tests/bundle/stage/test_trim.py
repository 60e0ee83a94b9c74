"""What the recipe trims is gone, nothing else is, and nothing that ships needs it."""

from __future__ import annotations

import io
import json
import zipfile
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from bundle.errors import UsageError
from bundle.recipe.recipe import Trim, read_recipe
from bundle.stage.trim import TrimmedZip, trim_tree
from oneclick.update.integrity import file_sha256
from tests.support.imports import modules_of_folder, modules_of_zip
from tests.support.trees import stage

LIBRARY = "python/python310.zip"
NEVER_RUN = {
    ("_sitebuiltins", "pydoc"): "help(), for people at a Python prompt",
    ("click.testing", "pdb"): "the part of click that tests programs, when somebody debugs one",
    ("difflib", "doctest"): "its own test",
    ("heapq", "doctest"): "its own test",
    ("pickle", "doctest"): "its own test",
    ("sentencepiece", "sentencepiece.sentencepiece_pb2"): "tokens as protobuf messages, which nobody asks for",
}
"""(module, what it imports) -> why that line never runs on a user's PC."""


def test_named_files_go_and_others_stay(tmp_path: Path) -> None:
    tree = stage(tmp_path, {"app/packages/a/b/c.pyi": b"", "app/packages/x.pyi": b""})
    before = {path for path in tree.rglob("*") if path.is_file()}
    gone = ["app/packages/a/b/c.pyi", "app/packages/x.pyi", "python/python310.dll"]
    trims = [Trim(path="app/packages/**/*.pyi", why="editors"), Trim(path="python/python310.dll", why="a test")]
    trimmed = trim_tree(tree, trims)
    assert (trimmed.files, trimmed.zips) == (gone, {})
    assert {path for path in tree.rglob("*") if path.is_file()} == before - {tree / name for name in gone}


def library(*names: str) -> bytes:
    """A zip whose members hold their own names, packed as Python's makers do."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, name)
    return data.getvalue()


def test_named_members_of_a_zip_go_and_the_manifest_can_say_so(tmp_path: Path) -> None:
    trees = [
        stage(tmp_path / "one", {LIBRARY: library("os.pyc", "mail/a.pyc", "mail/b/c.pyc", "wave.pyc", "z.pyc")}),
        stage(tmp_path / "two", {LIBRARY: library("z.pyc", "os.pyc")}),
    ]
    before = file_sha256(trees[0] / LIBRARY)
    trims = [Trim(path=LIBRARY, members=("wave.pyc",), why=""), Trim(path=LIBRARY, members=("mail/*",), why="")]
    trimmed = trim_tree(trees[0], trims)
    gone = ["mail/a.pyc", "mail/b/c.pyc", "wave.pyc"]
    assert trimmed.zips == {LIBRARY: TrimmedZip(before, gone)}
    assert trimmed.to_json() == {"files": [], "zips": {LIBRARY: {"sha256": before, "without": gone}}}
    with zipfile.ZipFile(trees[0] / LIBRARY) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"os.pyc": b"os.pyc", "z.pyc": b"z.pyc"}
    trim_tree(trees[1], [Trim(path=LIBRARY, members=("z.pyc",), why="")])
    trim_tree(trees[0], [Trim(path=LIBRARY, members=("z.pyc",), why="")])
    assert (trees[0] / LIBRARY).read_bytes() == (trees[1] / LIBRARY).read_bytes()


@pytest.mark.parametrize("path", ["python/nothing.dll", "../outside", "/etc/passwd", "logs", ""])
def test_a_trim_that_hits_nothing_or_leaves_the_bundle_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").write_bytes(b"")
    with pytest.raises(UsageError, match="which cannot be"):
        trim_tree(stage(tmp_path / "tree"), [Trim(path=path, why="")])
    assert (tmp_path / "outside").exists()


@pytest.mark.parametrize(("path", "member"), [(LIBRARY, "nothing.pyc"), ("bundle.json", "a.pyc")])
def test_a_member_that_is_not_there_and_a_file_without_members_are_refused(
    tmp_path: Path, path: str, member: str
) -> None:
    tree = stage(tmp_path, {LIBRARY: library("os.pyc")})
    with pytest.raises(UsageError, match=f"trims '{path}.*which cannot be"):
        trim_tree(tree, [Trim(path=path, members=("os.pyc", member), why="")])
    with zipfile.ZipFile(tree / LIBRARY) as archive:
        assert archive.namelist() == ["os.pyc"]


def test_a_trim_for_one_python_leaves_the_others_alone() -> None:
    recipe = read_recipe("chatglm3")
    assert {trim.python for trim in recipe.trim_of("3.10")} == {"", "3.10"}
    assert {trim.python for trim in recipe.trim_of("3.11")} == {""}


def test_every_trim_of_the_recipe_has_a_reason() -> None:
    trims = read_recipe("chatglm3").trim
    assert trims
    assert all(len(trim.why) > 10 for trim in trims)


def test_nothing_that_ships_imports_a_trimmed_module(real_bundle: Path) -> None:
    """Whatever is kept is looked at, needed or not, and every import in it counts, also one that may never run."""
    trims = read_recipe("chatglm3").trim_of("3.10")
    gone = [f"{trim.path}/{member}" for trim in trims for member in trim.members]
    gone += [trim.path for trim in trims if trim.path.endswith((".pyd", ".py"))]

    def is_gone(module: str) -> bool:
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            path = "/".join(parts[:end])
            files = [f"python/{path}.pyd", f"app/packages/{path}.py"]
            files += [f"{LIBRARY}/{path}.pyc", f"{LIBRARY}/{path}/__init__.pyc"]
            if any(fnmatchcase(file, glob) for file in files for glob in gone):
                return True
        return False

    app = real_bundle / "app"
    modules = [*modules_of_zip(real_bundle / LIBRARY), *modules_of_folder(app / "packages")]
    modules += [module for module in modules_of_folder(app) if module.name.startswith("oneclick")]
    modules += modules_of_folder(app / "engine" / "avx2")
    assert len(modules) > 500
    assert not [module.name for module in modules if is_gone(module.name)]
    found = {(module.name, name) for module in modules for name in (*module.imports, *module.strings) if is_gone(name)}
    assert found == set(NEVER_RUN)


def test_the_manifest_of_the_real_bundle_says_what_was_trimmed(real_bundle: Path) -> None:
    trimmed = json.loads((real_bundle / "MANIFEST.json").read_bytes())["build"]["trimmed"]
    assert not [name for name in trimmed["files"] if (real_bundle / name).exists()]
    with zipfile.ZipFile(real_bundle / LIBRARY) as archive:
        assert not set(archive.namelist()) & set(trimmed["zips"][LIBRARY]["without"])
    assert "pydoc_data/topics.pyc" in trimmed["zips"][LIBRARY]["without"]
