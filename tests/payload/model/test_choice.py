from __future__ import annotations

import io
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from bundle.model.random_model import write_random_model
from oneclick.bundle_info import BundleInfo, parse_bundle_info
from oneclick.console import Console
from oneclick.course import Course
from oneclick.hashing import sha256_of
from oneclick.messages import set_language
from oneclick.model.choice import Wish, catalogue_entry, choose_model, claims_to_be_known
from oneclick.model.wait import ModelWait
from oneclick.status import Status
from oneclick.stopping import StopSignal


@pytest.fixture(autouse=True)
def chinese() -> None:
    set_language("zh")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.bin"
    write_random_model(path, "tiny")
    return path


@pytest.fixture
def info(tiny: Path) -> BundleInfo:
    """A bundle whose known model is the tiny one, with an engine that reads version 1 only."""
    known = {
        "id": "q4_0",
        "title": {"zh": "小", "en": "tiny"},
        "file_name": "chatglm3-ggml.bin",
        "size_bytes": tiny.stat().st_size,
        "sha256": sha256_of(tiny),
        "header_hex": tiny.read_bytes()[:40].hex(),
        "licence": "x",
        "sources": [],
    }
    level = {"name": "avx2", "folder": "app/engine/avx2", "requires": ["avx", "avx2"]}
    engine = {"package": "chatglm_cpp", "version": "0.3.0", "kind": "release", "openblas": False, "levels": [level]}
    return parse_bundle_info(
        {
            "name": "ChatGLM3_cpp",
            "version": "1",
            "python": "3.10.11",
            "engine": engine,
            "models": [known, {**known, "id": "q8_0", "file_name": "chatglm3-q8_0.bin", "sha256": "0" * 64}],
            "default_model": "q4_0",
        }
    )


def chosen(root: Path, info: BundleInfo, *wishes: Wish) -> str | None:
    model, _ = choose_model(root, info, wishes)
    return model.path.name if model else None


@pytest.mark.parametrize(
    "name", ["chatglm3-ggml.bin", "chatglm3-ggml-q4_0.bin", "chatglm-ggml.bin", "chatglm3-ggml (1).bin", "我的.bin"]
)
def test_a_model_is_found_under_any_name_people_give_it(
    tmp_path: Path, tiny: Path, info: BundleInfo, name: str
) -> None:
    shutil.copy(tiny, tmp_path / name)
    assert chosen(tmp_path, info) == name


def test_the_tutorials_name_comes_first(tmp_path: Path, tiny: Path, info: BundleInfo) -> None:
    for name in ("a.bin", "chatglm-ggml.bin", "chatglm3-ggml.bin"):
        shutil.copy(tiny, tmp_path / name)
    assert chosen(tmp_path, info) == "chatglm3-ggml.bin"


def test_wishes_win_and_may_be_names_of_the_catalogue_or_paths(tmp_path: Path, tiny: Path, info: BundleInfo) -> None:
    elsewhere = tmp_path / "别处"
    elsewhere.mkdir()
    for path in (tmp_path / "chatglm3-ggml.bin", tmp_path / "chatglm3-q8_0.bin", elsewhere / "x.bin"):
        shutil.copy(tiny, path)
    assert chosen(tmp_path, info, Wish("settings", "q8_0")) == "chatglm3-q8_0.bin"
    assert chosen(tmp_path, info, Wish("argument", str(elsewhere / "x.bin")), Wish("settings", "q8_0")) == "x.bin"
    assert chosen(tmp_path, info, Wish("environment", "./别处/x.bin")) == "x.bin"


def test_a_wish_that_cannot_be_followed_is_told_and_the_search_goes_on(
    tmp_path: Path, tiny: Path, info: BundleInfo
) -> None:
    shutil.copy(tiny, tmp_path / "chatglm3-ggml.bin")
    model, refused = choose_model(tmp_path, info, [Wish("settings", "gone.bin")])
    assert model is not None
    assert [(one.path.name, one.error.key) for one in refused] == [("gone.bin", "model.missing")]


def test_a_newer_file_version_is_refused_for_an_engine_that_cannot_read_it(tmp_path: Path, info: BundleInfo) -> None:
    write_random_model(tmp_path / "chatglm3-ggml.bin", "tiny", header_version=2)
    model, refused = choose_model(tmp_path, info)
    assert model is None
    assert refused[0].error.key == "model.version_unreadable"


def test_known_models_are_recognised_by_digest_and_damaged_ones_by_name(
    tmp_path: Path, tiny: Path, info: BundleInfo
) -> None:
    assert catalogue_entry(info, sha256_of(tiny)) is info.models[0]
    damaged = bytearray(tiny.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "chatglm3-ggml.bin").write_bytes(damaged)
    model, _ = choose_model(tmp_path, info)
    assert model is not None
    assert catalogue_entry(info, sha256_of(model.path)) is None
    assert claims_to_be_known(model, info)
    (tmp_path / "chatglm3-ggml.bin").rename(tmp_path / "finetuned.bin")
    model, _ = choose_model(tmp_path, info)
    assert model is not None
    assert not claims_to_be_known(model, info)


class Waiting:
    """A ModelWait in a thread, and what it printed."""

    def __init__(self, root: Path, info: BundleInfo) -> None:
        self.printed = io.StringIO()
        self.status = Status()
        self.status.set("checking")
        self.stop = StopSignal()
        console = Console(self.printed)
        wait = ModelWait(root, info, [], self.status, Course(console, self.status), console, self.stop)
        self.found: list[object] = []
        self.thread = threading.Thread(target=lambda: self.found.append(wait.wait()))
        self.thread.start()

    def until(self, text: str) -> None:
        give_up = time.monotonic() + 20
        while text not in self.printed.getvalue():
            assert time.monotonic() < give_up, self.printed.getvalue()
            time.sleep(0.05)


def test_a_file_being_copied_is_waited_for_and_not_called_damaged(tmp_path: Path, tiny: Path, info: BundleInfo) -> None:
    waiting = Waiting(tmp_path, info)
    waiting.until("还没有模型")
    content = tiny.read_bytes()
    with (tmp_path / "chatglm3-ggml.bin").open("wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        waiting.until("chatglm3-ggml.bin 正在复制进来  50%")
        file.write(content[len(content) // 2 :])
    waiting.thread.join(20)
    assert waiting.found[0] is not None
    assert "没有使用" not in waiting.printed.getvalue()


def test_an_old_incomplete_file_is_called_so_at_once(tmp_path: Path, tiny: Path, info: BundleInfo) -> None:
    path = tmp_path / "chatglm3-ggml.bin"
    path.write_bytes(tiny.read_bytes()[:-100])
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    waiting = Waiting(tmp_path, info)
    waiting.until("没有使用 chatglm3-ggml.bin：chatglm3-ggml.bin 不完整")
    assert waiting.status.get().phase == "no_model"
    waiting.stop.request()
    waiting.thread.join(20)
    assert waiting.found == [None]
