"""Any TOML in place of a recipe, a lock, a matrix or a user's settings: a sentence, or a default; never a traceback."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.errors import BundleError
from bundle.recipe.lock import read_lock
from bundle.recipe.recipe import RECIPES, read_recipe, read_toml
from bundle.release.matrix import MATRIX, read_matrix
from oneclick.settings import CHECKS, parse_settings

pytestmark = pytest.mark.slow

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
).filter(lambda value: value is not None)
FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def without_none(value: object) -> object:
    """TOML has no null."""
    if isinstance(value, dict):
        return {key: without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_none(inner) for inner in value if inner is not None]
    return value


def damaged(data: st.DataObject, table: dict[str, object]) -> dict[str, object]:
    """Return ``table`` with one value, somewhere in it, replaced by another one or taken out."""
    copy = dict(table)
    key = data.draw(st.sampled_from(sorted(copy) or [""]))
    inner = copy.get(key)
    if isinstance(inner, dict) and inner and data.draw(st.booleans()):
        copy[key] = damaged(data, inner)
    elif isinstance(inner, list) and inner and isinstance(inner[0], dict) and data.draw(st.booleans()):
        copy[key] = [damaged(data, inner[0]), *inner[1:]]
    elif data.draw(st.integers(0, 4)):
        copy[key] = without_none(data.draw(VALUES))
    else:
        copy.pop(key, None)
    return copy


@FEW
@given(data=st.data())
@pytest.mark.parametrize("kind", ["recipe", "lock", "matrix"])
def test_a_maintainers_file_with_any_value_anywhere_is_read_or_refused(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    source = {"recipe": RECIPES / "chatglm3.toml", "lock": RECIPES / "chatglm3.lock", "matrix": MATRIX}[kind]
    path = tmp_path / ("mine.toml" if kind != "lock" else "mine.lock")
    path.write_text(tomli_w.dumps(damaged(data, read_toml(source))), encoding="utf-8")
    with contextlib.suppress(BundleError):
        if kind == "recipe":
            read_recipe(str(path))
        elif kind == "lock":
            read_lock(dataclasses.replace(read_recipe("chatglm3"), path=tmp_path / "mine.toml"))
        else:
            read_matrix(path)


@FEW
@given(content=st.binary(max_size=200))
def test_bytes_that_are_no_recipe_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(BundleError):
        read_recipe(str(path))


@FEW
@given(values=st.dictionaries(st.sampled_from(sorted(CHECKS)) | st.text(max_size=8), VALUES, max_size=4))
def test_settings_of_any_value_are_read_with_a_problem_for_each_that_is_not_taken(values: dict[str, object]) -> None:
    parse_settings(tomli_w.dumps(without_none(values)))  # type: ignore[arg-type]


@FEW
@given(text=st.text(max_size=200))
def test_settings_of_any_text_are_read_and_problems_name_their_line(text: str) -> None:
    lines = len(text.splitlines()) + 1
    for problem in parse_settings(text).problems:
        assert 0 <= problem.line <= lines
