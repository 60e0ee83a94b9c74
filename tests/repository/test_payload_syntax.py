"""The payload runs on the oldest Python a maintainer may choose."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PAYLOAD = Path(__file__).parents[2] / "payload"
FILES = sorted(path.relative_to(PAYLOAD).as_posix() for path in PAYLOAD.rglob("*.py"))


@pytest.mark.parametrize("name", FILES)
def test_python_3_8_can_read_it(name: str) -> None:
    tree = ast.parse((PAYLOAD / name).read_text("utf-8"), feature_version=(3, 8))
    imported = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert not [name for name in imported if name.split(".")[0] == "bundle"]


def annotations_are_strings(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)


@pytest.mark.parametrize("name", FILES)
def test_annotations_are_never_evaluated(name: str) -> None:
    """``int | None`` in an annotation is fine on 3.8 only as a string."""
    tree = ast.parse((PAYLOAD / name).read_text("utf-8"))
    annotated = any(isinstance(node, (ast.AnnAssign, ast.FunctionDef, ast.AsyncFunctionDef)) for node in ast.walk(tree))
    assert not annotated or annotations_are_strings(tree)
