"""Our model files have the digests of upstream's convert.py, for every type and kind of checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.model.quantize import quantize
from oneclick.model.check import check_model
from oneclick.update.integrity import file_sha256
from tests.bundle.model.quantize.checkpoints import CASES, TYPES, write_case
from tests.bundle.model.quantize.make_golden import GOLDEN, VERSION_2_CASES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", CASES)
def test_files_are_upstreams_to_the_byte(case: str, tmp_path: Path) -> None:
    folder = write_case(case, tmp_path)
    made = {}
    for dtype in TYPES:
        quantize(folder, dtype, tmp_path / dtype, workers=2)
        check_model(tmp_path / dtype)
        made[dtype] = file_sha256(tmp_path / dtype)
    assert made == json.loads(GOLDEN.read_text())[f"{case} 0.3.0"]


@pytest.mark.parametrize("case", VERSION_2_CASES)
def test_version_2_files_are_those_of_a_newer_upstream(case: str, tmp_path: Path) -> None:
    folder = write_case(case, tmp_path)
    made = {}
    for dtype in TYPES:
        quantize(folder, dtype, tmp_path / dtype, header_version=2, workers=2)
        made[dtype] = file_sha256(tmp_path / dtype)
    assert made == json.loads(GOLDEN.read_text())[f"{case} 0.3.4"]
