"""一键运行.bat with a model that our quantiser made of original weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.model.quantize import quantize
from bundle.model.random_checkpoint import write_random_checkpoint
from tests.e2e.conftest import MakeBundle

pytestmark = pytest.mark.wine


@pytest.mark.parametrize("dtype", ["q4_0", "q5_1"])
def test_a_quantised_model_chats(make_bundle: MakeBundle, tmp_path: Path, dtype: str) -> None:
    write_random_checkpoint(tmp_path / "weights")
    quantize(tmp_path / "weights", dtype, tmp_path / "made.bin")
    bundle = make_bundle(model=tmp_path / "made.bin")
    with bundle.running("--port", "0") as running:
        assert running.get("/status")["model"]["file"] == "chatglm3-ggml.bin"
        assert running.chat("你好")["usage"]["completion_tokens"] > 0
