"""The lock: nothing without a digest, nothing unused, the same text for the same facts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bundle.errors import UsageError
from bundle.pin.refresh import hub_differences, target_tags, wanted_files
from bundle.recipe.lock import Lock, PinnedFile, lock_text, read_lock
from bundle.recipe.recipe import ModelSource, Recipe, read_recipe, recipe_files
from tests.support.bad_server import BadServer

RECIPE_NAMES = [path.stem for path in recipe_files()]


def beside(tmp_path: Path, text: str) -> Recipe:
    """Return the default recipe with a lock of its own that holds ``text``."""
    recipe = dataclasses.replace(read_recipe("chatglm3"), path=tmp_path / "mine.toml")
    recipe.lock_path.write_text(text, encoding="utf-8")
    return recipe


def entry(**values: object) -> str:
    lines = "\n".join(f"{key} = {value!r}".replace("'", '"') for key, value in values.items())
    return f"format = 1\n[needs]\n[packages]\n[[file]]\n{lines}\n"


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_every_locked_name_is_pinned_and_every_pin_is_used(name: str) -> None:
    lock = read_lock(read_recipe(name))
    used = {file for files in (*lock.needs.values(), *lock.packages.values()) for file in files}
    assert used == {pinned.name for pinned in lock.file}


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_the_default_python_can_be_built_from_a_package_index_alone(name: str) -> None:
    recipe = read_recipe(name)
    lock, python = read_lock(recipe), recipe.python.default
    for need in (f"python@{python}", f"compile@{python}"):
        assert any(pinned.project for pinned in lock.alternatives(need)), need
    assert all(pinned.project for pinned in lock.wheels(python))


def test_mirrors_come_before_the_package_index() -> None:
    alternatives = read_lock(read_recipe("chatglm3")).alternatives("python@3.10")
    assert [bool(pinned.mirror) for pinned in alternatives] == [True, False]


@pytest.mark.parametrize("digest", ["", "abc", "X" * 64, "A" * 64])
def test_a_file_without_a_usable_digest_is_refused(tmp_path: Path, digest: str) -> None:
    text = entry(name="a.zip", mirror="python", path="a.zip", sha256=digest, size_bytes=3)
    with pytest.raises(UsageError, match="has no digest"):
        read_lock(beside(tmp_path, text))


def test_a_file_without_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no source"):
        read_lock(beside(tmp_path, entry(name="a.zip", sha256="0" * 64, size_bytes=3)))


def test_an_unknown_mirror_names_the_nearest_one(tmp_path: Path) -> None:
    text = entry(name="a.zip", mirror="pyton", path="a.zip", sha256="0" * 64, size_bytes=3)
    with pytest.raises(UsageError, match="did you mean 'python'"):
        read_lock(beside(tmp_path, text))


def test_a_missing_lock_says_how_to_make_one(tmp_path: Path) -> None:
    recipe = dataclasses.replace(read_recipe("chatglm3"), path=tmp_path / "mine.toml")
    with pytest.raises(UsageError, match=r"build\.py lock"):
        read_lock(recipe)


def test_a_lock_written_and_read_is_the_same(tmp_path: Path) -> None:
    recipe = read_recipe("chatglm3")
    lock = read_lock(recipe)
    again = read_lock(beside(tmp_path, lock_text(lock)))
    assert lock_text(again) == lock_text(lock) == recipe.lock_path.read_text(encoding="utf-8")


def test_the_order_of_pins_does_not_change_the_text() -> None:
    pins = [PinnedFile(name=name, sha256="0" * 64, size_bytes=1, project="p") for name in ("b", "A", "c")]
    texts = {
        lock_text(Lock(format=1, file=tuple(order), needs={}, packages={}))
        for order in (pins, pins[::-1], [pins[1], pins[2], pins[0]])
    }
    assert len(texts) == 1


def test_the_recipe_wants_every_python_from_two_kinds_of_places() -> None:
    recipe = read_recipe("chatglm3")
    for python in recipe.python.versions:
        kinds = [bool(wanted.mirror) for wanted in wanted_files(recipe) if wanted.need == f"python@{python}"]
        assert kinds == [True, False]


def test_wheels_for_the_target_are_preferred_over_pure_ones() -> None:
    names = [str(tag) for tag in target_tags("3.10")]
    assert names[0] == "cp310-cp310-win_amd64"
    assert "cp38-abi3-win_amd64" in names
    assert names.index("cp310-none-win_amd64") < names.index("py3-none-any")
    assert not any("linux" in name for name in names)


def test_what_hubs_announce_is_compared_with_the_catalogue(server: BadServer) -> None:
    recipe = read_recipe("chatglm3")
    model = recipe.model("q4_0")
    server.modelscope("a/b", "model.bin", b"", sha256="1" * 64, size_bytes=model.size_bytes)
    server.huggingface("c/d", "model.bin", b"", sha256=model.sha256, size_bytes=5)
    where = {"path": "model.bin", "endpoint": server.base}
    sources = (
        ModelSource(name="M", kind="modelscope", repo="a/b", revision="master", **where),
        ModelSource(name="H", kind="huggingface", repo="c/d", revision="main", **where),
        ModelSource(name="dead", kind="huggingface", repo="c/d", path="model.bin", endpoint="http://127.0.0.1:9"),
        ModelSource(name="file", kind="file", url="http://127.0.0.1:9/model.bin"),
    )
    mine = dataclasses.replace(recipe, models=(dataclasses.replace(model, sources=sources),))
    assert list(hub_differences(mine)) == [
        f'q4_0: M has sha256 = "{"1" * 64}", the recipe "{model.sha256}"',
        f"q4_0: H has size_bytes = 5, not {model.size_bytes}",
    ]
