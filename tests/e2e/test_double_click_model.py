"""一键运行.bat and the model file: missing, dropped in, something else, damaged, not for this engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bundle.model.random_model import write_random_model
from tests.e2e.conftest import MakeBundle
from tests.support.wine import READY, Running

pytestmark = pytest.mark.wine

HTML = "<!DOCTYPE html><html><body>404 文件不存在</body></html>".encode() * 50
GGUF = b"GGUF\x03\x00\x00\x00" + bytes(4096)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3514297136\n"


def test_waits_for_a_dropped_model_and_goes_on_by_itself(make_bundle: MakeBundle, tiny_model: Path) -> None:
    bundle = make_bundle(model=None)
    program = bundle.double_click("--port", "0")
    program.wait_for("还没有模型（chatglm3-ggml.bin）")
    assert Running(bundle, program).wait_for_phase("no_model")["phase"] == "no_model"
    content = tiny_model.read_bytes()
    with bundle.model.open("wb") as copy:
        copy.write(content[: len(content) // 2])
        copy.flush()
        program.wait_for("正在复制")
        copy.write(content[len(content) // 2 :])
    program.wait_for(READY[bundle.prefix.locale])
    assert Running(bundle, program).chat("你好")["usage"]["completion_tokens"] > 0
    bundle.stop(program)


def test_each_wrong_file_is_refused_in_its_own_words(make_bundle: MakeBundle, tiny_model: Path, tmp_path: Path) -> None:
    bundle = make_bundle(model=None)
    newer = tmp_path / "v2.bin"
    write_random_model(newer, "tiny", header_version=2)
    bundle.replace("chatglm3-ggml.bin", HTML)
    bundle.replace("chatglm3-ggml-q4_0.bin", GGUF)
    bundle.replace("chatglm-ggml.bin", tiny_model.read_bytes()[:-5000])
    bundle.replace("pointer.bin", LFS)
    shutil.copyfile(newer, bundle.folder / "newer.bin")
    program = bundle.double_click("--port", "0")
    for words in (
        "没有使用 chatglm3-ggml.bin：chatglm3-ggml.bin 其实是一个网页",
        "没有使用 chatglm3-ggml-q4_0.bin：chatglm3-ggml-q4_0.bin 是 GGUF 格式",
        "没有使用 chatglm-ggml.bin：chatglm-ggml.bin 不完整",
        "没有使用 pointer.bin：pointer.bin 只有几行说明文字",
        "没有使用 newer.bin：newer.bin 是较新工具转换的（文件版本 2）",
    ):
        program.wait_for(words)
    shutil.copyfile(tiny_model, bundle.folder / "good.bin")
    program.wait_for(READY[bundle.prefix.locale])
    assert Running(bundle, program).get("/status")["model"]["file"] == "good.bin"
    bundle.stop(program)


def test_the_tutorials_variable_model_names_the_file(make_bundle: MakeBundle, tiny_model: Path) -> None:
    bundle = make_bundle()
    elsewhere = bundle.folder.parent / "别处的模型"
    elsewhere.mkdir()
    shutil.copyfile(tiny_model, elsewhere / "mine.bin")
    with bundle.running("--port", "0", environment={"MODEL": "../别处的模型/mine.bin"}) as running:
        assert running.get("/status")["model"]["file"] == "mine.bin"
        assert running.chat("你好")["usage"]["completion_tokens"] > 0


def test_a_model_that_was_checked_is_not_checked_again(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    for checked in (True, False):
        with bundle.running("--port", "0") as running:
            assert ("校验模型" in running.program.output) == checked
