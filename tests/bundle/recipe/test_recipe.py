"""Recipes: read into dataclasses, anything unknown refused with the nearest known name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bundle.errors import UsageError
from bundle.recipe.recipe import RECIPES, read_recipe, recipe_files

TEXT = (RECIPES / "chatglm3.toml").read_text(encoding="utf-8")


def changed(tmp_path: Path, old: str, new: str) -> str:
    """Write the default recipe with ``old`` replaced by ``new`` and return its path."""
    assert old in TEXT
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("path", recipe_files(), ids=lambda path: path.stem)
def test_every_recipe_in_the_repository_is_read(path: Path) -> None:
    recipe = read_recipe(path.stem)
    assert recipe.python.default in recipe.python.versions
    assert all(re.fullmatch(r"[0-9a-f]{64}", model.sha256) for model in recipe.models)
    assert all(bytes.fromhex(model.header_hex)[:4] == b"ggml" for model in recipe.models)


def test_a_recipe_is_found_by_name_and_by_path() -> None:
    assert read_recipe("chatglm3") == read_recipe(str(RECIPES / "chatglm3.toml"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("openblas = true", "openblass = true", "did you mean 'openblas'"),
        ('wheel = "auto"', 'wheel = "realease"', "did you mean 'release'"),
        ('cpu = ["avx2", "avx"]', 'cpu = ["avx512"]', "unknown CPU level"),
        ('default_model = "q4_0"', 'default_model = "q4_9"', "did you mean 'q4_"),
        ('default = "3.10"', 'default = "3.7"', "unknown Python"),
        ("format = 1", "format = 9", "format 9"),
        ("openblas = true", 'openblas = "yes"', "wrong type"),
        ("size_bytes = 3514297136", "size_bytes = true", "wrong type"),
        ('name = "ChatGLM3_cpp"', "", "lacks name"),
        ('page = ""', 'page = "https://example.org/chat"', "page is not the address of a folder"),
        ('page = ""', 'page = "https://example.org/chat/index.html"', "page is not the address of a folder"),
        ('page = ""', 'page = "example.org/chat/"', "page is not the address of a folder"),
        ('page = ""', 'mirrors = {"魔搭" = "https://example.org/a"}', "mirrors.魔搭 is not the address of a folder"),
        ("format = 1", "format = ", "not valid TOML"),
    ],
)
def test_a_mistake_is_refused_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_recipe(changed(tmp_path, old, new))


def test_addresses_of_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    text = 'page = "https://example.org/chat/"\nmirrors = {"魔搭" = "https://example.org/a/resolve/master/"}'
    release = read_recipe(changed(tmp_path, 'page = ""', text)).release
    assert release.page == "https://example.org/chat/"
    assert release.mirrors == {"魔搭": "https://example.org/a/resolve/master/"}


def test_an_unknown_recipe_names_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'chatglm3'"):
        read_recipe("chatglm33")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_recipe(str(tmp_path / "none.toml"))


def test_a_recipe_that_extends_another_changes_only_what_it_names() -> None:
    base, newer = read_recipe("chatglm3"), read_recipe("chatglm3-0.4")
    assert newer.engine.version == "0.4.2" and newer.engine.package == base.engine.package
    assert (newer.python, newer.models, newer.mirrors) == (base.python, base.models, base.mirrors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "chatglm33.toml"', "did you mean 'chatglm3.toml'"),
        ("extends = 3", "unknown recipe to extend"),
        ('extends = "child.toml"', "extends another one"),
    ],
)
def test_a_recipe_that_extends_nothing_readable_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "chatglm3.toml").write_text(TEXT, encoding="utf-8")
    (tmp_path / "child.toml").write_text('extends = "chatglm3.toml"', encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_recipe(str(tmp_path / "mine.toml"))
