"""What the recipe trims is gone, nothing else is, and nothing that ships needs it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bundle.errors import UsageError
from bundle.recipe import Trim, read_recipe
from bundle.trim import trim_tree
from tests.trust.trees import stage

ROOT = Path(__file__).resolve().parents[2]
TRIMMED_MODULES = {"python/_sqlite3.pyd": "sqlite3", "python/_msi.pyd": "msilib", "python/winsound.pyd": "winsound"}
"""Trimmed file -> standard library module that needs it."""


def test_named_files_go_and_others_stay(tmp_path: Path) -> None:
    tree = stage(tmp_path, {"app/packages/a/b/c.pyi": b"", "app/packages/x.pyi": b""})
    before = {path for path in tree.rglob("*") if path.is_file()}
    gone = ["app/packages/a/b/c.pyi", "app/packages/x.pyi", "python/python310.dll"]
    trims = [Trim(path="app/packages/**/*.pyi", why="editors"), Trim(path="python/python310.dll", why="a test")]
    assert trim_tree(tree, trims) == gone
    assert {path for path in tree.rglob("*") if path.is_file()} == before - {tree / name for name in gone}


@pytest.mark.parametrize("path", ["python/nothing.dll", "../outside", "/etc/passwd", "logs", ""])
def test_a_trim_that_hits_nothing_or_leaves_the_bundle_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").write_bytes(b"")
    with pytest.raises(UsageError, match="which cannot be"):
        trim_tree(stage(tmp_path / "tree"), [Trim(path=path, why="")])
    assert (tmp_path / "outside").exists()


def test_every_trim_of_the_recipe_has_a_reason() -> None:
    trims = read_recipe("chatglm3").trim
    assert trims
    assert all(len(trim.why) > 10 for trim in trims)
    assert {trim.path for trim in trims} >= set(TRIMMED_MODULES)


def test_nothing_that_ships_imports_a_trimmed_module(real_bundle: Path) -> None:
    for name in TRIMMED_MODULES:
        assert not (real_bundle / name).exists()
    importers = []
    for path in (real_bundle / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            importers += [(path, name) for name in names if name.split(".")[0] in TRIMMED_MODULES.values()]
    assert importers == []
