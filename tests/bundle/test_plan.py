"""Options become a plan, or are refused before any work begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bundle.errors import StorageError, UsageError
from bundle.model.random_model import write_random_model
from bundle.plan import own_sources, parse_size, resolve_plan


def test_the_default_plan_is_the_default_recipe(tmp_path: Path) -> None:
    plan = resolve_plan(output=tmp_path)
    assert (plan.python, plan.wheel, plan.archive.name) == ("3.10", "auto", "ChatGLM3_cpp.7z")


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("64000000", 64_000_000), ("700m", 700 << 20), ("2g", 2 << 30), ("2GB", 2 << 30)]
)
def test_sizes_are_read_as_7zip_reads_them(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"python": "3.13"}, "unknown Python"),
        ({"wheel": "releas"}, "did you mean 'release'"),
        ({"wheel": "none.whl"}, "does not exist"),
        ({"with_model": "q4"}, "did you mean 'q4_"),
        ({"volume_size": "1m"}, "too small"),
        ({"volume_size": "2 gigs"}, "not a size"),
        ({"recipe_name": "chatglm"}, "did you mean 'chatglm3'"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        resolve_plan(output=tmp_path, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(UsageError, match="not a model this bundle can run"):
        resolve_plan(output=tmp_path, with_model=str(tmp_path / "m.gguf"))


def test_a_model_of_ones_own_is_taken(tmp_path: Path) -> None:
    write_random_model(tmp_path / "mine.bin")
    assert resolve_plan(output=tmp_path, with_model=str(tmp_path / "mine.bin")).model_file == tmp_path / "mine.bin"


def test_an_output_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "dist").write_text("")
    with pytest.raises(StorageError) as caught:
        resolve_plan(output=tmp_path / "dist")
    assert caught.value.exit_code == 7


def test_a_fingerprint_changes_with_what_is_packed_and_with_nothing_else(tmp_path: Path) -> None:
    write_random_model(tmp_path / "mine.bin")
    one = resolve_plan(output=tmp_path).fingerprint()
    assert resolve_plan(output=tmp_path / "elsewhere").fingerprint() == one
    assert resolve_plan(output=tmp_path, python="3.11").fingerprint() != one
    with_model = resolve_plan(output=tmp_path, with_model=str(tmp_path / "mine.bin")).fingerprint()
    assert with_model != one
    os.utime(tmp_path / "mine.bin", ns=(1, 1))
    assert resolve_plan(output=tmp_path, with_model=str(tmp_path / "mine.bin")).fingerprint() != with_model


def test_a_file_that_only_moved_is_another_plan_and_documents_that_do_not_ship_are_none(tmp_path: Path) -> None:
    recipe = resolve_plan(output=tmp_path).recipe
    for name in ("requirements.txt", "bundle/a.py", "docs/help/picture.png", "docs/PERFORMANCE.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    names = [name for name, _ in own_sources(recipe, tmp_path)]
    assert names == ["recipe", "lock", "requirements.txt", "bundle/a.py", "docs/help/picture.png"]
    (tmp_path / "bundle" / "sub").mkdir()
    (tmp_path / "bundle" / "a.py").rename(tmp_path / "bundle" / "sub" / "a.py")
    assert "bundle/sub/a.py" in [name for name, _ in own_sources(recipe, tmp_path)]
