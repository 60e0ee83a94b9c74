"""Block digests: made from a verified model only, kept in the lock, carried by bundle.json to the downloader."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from bundle.assemble import catalogue_entry
from bundle.cli import main as cli
from bundle.errors import UsageError
from bundle.pin.blocks import block_digests, pin_blocks
from bundle.recipe.lock import lock_text, read_lock, with_blocks
from bundle.recipe.recipe import Recipe, read_recipe
from oneclick.download.files import BLOCK_BYTES


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One block of zeros and a short one of ones."""
    path = tmp_path_factory.mktemp("model") / "chatglm3-ggml.bin"
    path.write_bytes(bytes(BLOCK_BYTES) + b"1" * 1000)
    return path


@pytest.fixture
def recipe(tmp_path: Path, model: Path) -> Recipe:
    """The default recipe and lock in a folder of the test's own, whose q4_0 is ``model``."""
    default, text = read_recipe("chatglm3"), read_recipe("chatglm3").path.read_text(encoding="utf-8")
    known = default.model("q4_0")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    text = text.replace(known.sha256, digest).replace(str(known.size_bytes), str(model.stat().st_size), 1)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    (tmp_path / "mine.lock").write_bytes(default.lock_path.read_bytes())
    return read_recipe(str(tmp_path / "mine.toml"))


def test_each_block_is_hashed_and_the_whole_too(model: Path) -> None:
    whole, blocks = block_digests(model)
    data = model.read_bytes()
    assert whole == hashlib.sha256(data).hexdigest()
    assert blocks == (
        hashlib.sha256(data[:BLOCK_BYTES]).hexdigest(),
        hashlib.sha256(data[BLOCK_BYTES:]).hexdigest(),
    )


def test_the_command_pins_the_blocks_and_bundle_json_carries_them(recipe: Recipe, model: Path) -> None:
    assert cli.main(["lock", "--recipe", str(recipe.path), "--model", str(model)]) == 0
    lock = read_lock(recipe)
    assert list(lock.blocks) == [recipe.model("q4_0").sha256]
    assert recipe.lock_path.read_text(encoding="utf-8") == lock_text(lock)
    entries = {model.id: catalogue_entry(model) for model in with_blocks(recipe, lock).models}
    assert entries["q4_0"]["block_sha256"] == list(block_digests(model)[1])
    assert "block_sha256" not in entries["q8_0"]


def test_a_file_that_is_not_the_catalogues_pins_nothing(recipe: Recipe, model: Path, tmp_path: Path) -> None:
    lock = read_lock(recipe)
    other = tmp_path / "other.bin"
    other.write_bytes(b"2" * model.stat().st_size)
    with pytest.raises(UsageError, match="its sha256 is"):
        pin_blocks(recipe, lock, other)
    other.write_bytes(b"2")
    with pytest.raises(UsageError, match="size of 1 bytes"):
        pin_blocks(recipe, lock, other)


@pytest.mark.parametrize("blocks", [("0" * 64,), ("0" * 64, "x" * 64), ("0" * 64,) * 3])
def test_block_digests_of_another_file_are_refused(recipe: Recipe, blocks: tuple[str, ...]) -> None:
    lock = dataclasses.replace(read_lock(recipe), blocks={recipe.model("q4_0").sha256: blocks})
    recipe.lock_path.write_text(lock_text(lock), encoding="utf-8")
    with pytest.raises(UsageError, match="block digests of q4_0 are of another file"):
        read_lock(recipe)
