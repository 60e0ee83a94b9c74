"""Side by side with upstream's convert.py and transformers, as they are installed now."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.model.quantize import quantize
from tests.bundle.model.quantize.checkpoints import write_case
from tests.support.upstream import run_upstream, save_with_transformers

pytestmark = pytest.mark.slow

TYPES = ("q4_0", "q5_1", "f16")
CHECKED = ("half", "bfloat", "int8", "int4", "single-loaded-as-half")


@pytest.mark.slow
def test_both_make_the_same_files(tmp_path: Path) -> None:
    folders = [write_case(case, tmp_path) for case in CHECKED]
    (tmp_path / "upstream").mkdir()
    run_upstream(folders, TYPES, tmp_path / "upstream")
    different = []
    for folder in folders:
        for dtype in TYPES:
            quantize(folder, dtype, tmp_path / "ours")
            if (tmp_path / "ours").read_bytes() != (tmp_path / "upstream" / f"{folder.name}.{dtype}").read_bytes():
                different.append(f"{folder.name} {dtype}")
    assert different == []


@pytest.mark.slow
@pytest.mark.parametrize("case", ["half", "int4"])
def test_every_layout_that_transformers_and_torch_write_is_read(case: str, tmp_path: Path) -> None:
    folder = write_case(case, tmp_path)
    save_with_transformers(folder, tmp_path / "layouts")
    quantize(folder, "q4_0", tmp_path / "original")
    layouts = sorted((tmp_path / "layouts").iterdir())
    assert len(layouts) == 7
    for layout in layouts:
        quantize(layout, "q4_0", tmp_path / layout.name)
        assert (tmp_path / layout.name).read_bytes() == (tmp_path / "original").read_bytes(), layout.name
