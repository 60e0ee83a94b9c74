from __future__ import annotations

import json
from pathlib import Path

import pytest

from oneclick.bundle_info import parse_bundle_info, read_bundle_info
from oneclick.doors.arguments import parse_arguments
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from oneclick.messages import set_language

LEVELS = [
    {"name": "avx2", "folder": "app/engine/avx2", "requires": ["avx", "avx2", "fma", "f16c"]},
    {"name": "avx", "folder": "app/engine/avx", "requires": ["avx"]},
]
DATA = {
    "format": 1,
    "name": "ChatGLM3_cpp",
    "version": "1.0.0",
    "python": "3.10.11",
    "engine": {"package": "chatglm_cpp", "version": "0.3.0", "kind": "compile", "openblas": True, "levels": LEVELS},
    "models": [],
    "default_model": "q4_0",
    "release": {"netdisk": "https://pan.example/x", "netdisk_code": "abcd"},
}


def test_what_the_builder_wrote_is_read(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text(json.dumps(DATA))
    info = read_bundle_info(tmp_path / "bundle.json")
    assert [level.name for level in info.engine.usable_levels({"avx"})] == ["avx"]
    assert [level.name for level in info.engine.usable_levels({"avx", "avx2", "fma", "f16c"})] == ["avx2", "avx"]
    assert (info.release.netdisk_code, info.release.page) == ("abcd", "")


def test_a_missing_file_means_the_archive_was_extracted_in_part(tmp_path: Path) -> None:
    set_language("zh")
    with pytest.raises(OneClickError, match=r"缺少 bundle\.json：压缩包没有完整解压"):
        read_bundle_info(tmp_path / "bundle.json")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 1}'])
def test_a_damaged_file_is_told(tmp_path: Path, content: str) -> None:
    set_language("zh")
    (tmp_path / "bundle.json").write_text(content)
    with pytest.raises(OneClickError, match=r"bundle\.json 已损坏"):
        read_bundle_info(tmp_path / "bundle.json")


def test_a_bundle_without_release_hints_is_fine() -> None:
    assert parse_bundle_info({**DATA, "release": None}).release.netdisk == ""


def test_the_folder_is_found_from_the_program_and_not_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oneclick import folder

    monkeypatch.setattr(folder, "__file__", str(tmp_path / "我的" / "app" / "oneclick" / "folder.py"))
    monkeypatch.chdir("/")
    assert BundleFolder.of_this_program().root == tmp_path / "我的"


def test_arguments_are_read() -> None:
    asked = parse_arguments(["--port", "9000", "--no-browser", "--threads", "auto", "--model", "x.bin"])
    assert (asked.port, asked.browser, asked.threads, asked.model, asked.host) == (9000, False, "auto", "x.bin", None)


@pytest.mark.parametrize("arguments", [["--prot", "1"], ["--port", "x"], ["--port", "70000"], ["x"], ["--threads", ""]])
def test_a_wrong_argument_is_told_with_the_usage(arguments: list[str]) -> None:
    set_language("zh")
    with pytest.raises(OneClickError, match=r"看不懂的参数(.|\n)*用法：一键运行\.bat"):
        parse_arguments(arguments)
