"""The compiled engine in the bundle's own Python on Windows: same answers everywhere, and no crash."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bundle.model.random_model import write_random_model
from bundle.windows.instruction_set import read_instruction_sets
from bundle.windows.wine import WinePrefix
from tests.bundle.engine.conftest import PROBE, Probe
from tests.support.native_engine import native_engine

pytestmark = pytest.mark.wine

FEATURES = {
    *("chunked_prefill", "gil_release", "wide_path", "checked_load"),
    *("checked_input", "checked_decode", "sampler", "blas"),
}


def assert_agree(answers: list[int | None], others: list[int | None]) -> None:
    """Every prompt that both engines are sure about gets the same next token; there are at least 50 of them."""
    sure = [(mine, its) for mine, its in zip(answers, others, strict=True) if None not in (mine, its)]
    assert len(sure) >= 50
    assert [pair for pair in sure if pair[0] != pair[1]] == []


@pytest.fixture(scope="session")
def greedy_on_avx2(probe: Probe, small_model: Path) -> Any:
    return probe("avx2", "greedy", small_model)


def test_the_engine_says_its_version_and_features(probe: Probe, tiny_model: Path) -> None:
    about = probe("avx2", "about", tiny_model)
    assert about["version"] == "0.3.0+oneclick.1"
    assert set(about["features"]) == FEATURES


def test_both_cpu_levels_say_the_same(probe: Probe, small_model: Path, greedy_on_avx2: Any) -> None:
    avx = probe("avx", "greedy", small_model)
    assert_agree(avx, greedy_on_avx2)


@pytest.mark.parametrize("patched", [False, True], ids=["release", "without OpenBLAS"])
def test_it_says_what_other_builds_say(patched: bool, small_model: Path, greedy_on_avx2: Any) -> None:
    # The same source compiled for this machine without OpenBLAS: as upstream released it, and with our patches.
    command = [sys.executable, str(PROBE), str(native_engine(patched=patched)), "", "greedy", str(small_model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert_agree(json.loads(done.stdout.splitlines()[-1]), greedy_on_avx2)


def test_each_level_uses_only_what_it_says(engine_bundle: Path) -> None:
    used = {
        level: read_instruction_sets(next((engine_bundle / "app" / "engine" / level).glob("*/*.pyd")))
        for level in ("avx2", "avx")
    }
    assert used == {"avx2": ("avx", "avx2", "f16c", "fma"), "avx": ("avx",)}


def test_no_path_of_the_building_machine_is_in_the_engine(engine_bundle: Path) -> None:
    for module in (engine_bundle / "app" / "engine").glob("*/*/*.pyd"):
        content = module.read_bytes()
        for path in (str(Path.home()), "/tmp/", "making-", "ziglang", ".pdb"):
            assert path.encode() not in content, f"{module}: {path}"


def test_a_prompt_in_chunks_gives_the_tokens_of_the_whole(probe: Probe, small_model: Path) -> None:
    tokens = probe("avx2", "chunks", small_model)
    for size, got in tokens.items():
        sure = [pair for pair in zip(got, tokens["300"], strict=True) if None not in pair]
        assert len(sure) >= len(got) / 2, size
        assert [pair for pair in sure if pair[0] != pair[1]] == [], size


def test_the_whole_context_can_be_filled_in_chunks(probe: Probe, tiny_model: Path) -> None:
    by_512, by_256 = probe("avx2", "long_context", tiny_model)
    assert by_512 == by_256


def test_a_seed_draws_the_same_on_every_cpu_and_system(probe: Probe, tiny_model: Path) -> None:
    command = [sys.executable, str(PROBE), str(native_engine(patched=True)), "", "seeded", str(tiny_model)]
    here = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert probe("avx2", "seeded", tiny_model) == probe("avx2", "seeded", tiny_model)
    for level in ("avx2", "avx"):
        there = probe(level, "seeded", tiny_model)
        assert len(set(there)) > 20
        # Logits differ by rounding: a draw that falls just between two tokens may change sides.
        assert sum(one == other for one, other in zip(here, there, strict=True)) >= 0.9 * len(here)


def test_other_threads_run_during_a_forward_pass(probe: Probe, small_model: Path) -> None:
    result = probe("avx2", "lock_released", small_model)
    # A tick every 10 ms; with Python's lock held there would be none but one at each end.
    assert result["ticks"] >= min(10, result["seconds"] / 0.2)


def test_two_threads_may_ask_one_model_at_once(probe: Probe, small_model: Path) -> None:
    result = probe("avx2", "two_threads", small_model)
    assert result["together"] == result["alone"]


def test_bad_input_is_an_exception(probe: Probe, small_model: Path) -> None:
    errors = probe("avx2", "bad_input", small_model)
    assert errors.pop("still alive") == ""
    assert len(errors) == 7
    assert [name for name, error in errors.items() if not error.startswith("RuntimeError: ")] == []
    assert "evaluate the prompt in smaller parts" in errors["too much at once"]


def test_ids_without_text_are_skipped(probe: Probe, tiny_model: Path) -> None:
    texts = probe("avx2", "decode", tiny_model)
    assert texts == {"known": texts["known"], "mixed": texts["known"], "unknown": "", "no room": 2}
    assert texts["known"]


def test_a_chinese_absolute_path_opens(probe: Probe, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "我的 软件(测试)&1" / "模型"
    folder.mkdir(parents=True)
    model = folder / "聊天.bin"
    shutil.copyfile(tiny_model, model)
    windows_name = "Z:" + str(model).replace("/", "\\")
    assert probe("avx", "open_files", tiny_model, windows_name) == [[]]


def test_truncated_and_damaged_files_are_exceptions(probe: Probe, tiny_model: Path, tmp_path: Path) -> None:
    whole = tiny_model.read_bytes()
    lengths = [1, 4, 11, 12, 40, 63, 64, 70, 5_000, 20_000, len(whole) // 2, len(whole) - 1]
    damaged = [whole[:length] for length in lengths]
    for number in range(3, 14):  # each number of the header in turn: huge, negative, zero
        for value in (0x7FFFFFFF, -1, 0):
            changed = whole[: 4 * number] + value.to_bytes(4, "little", signed=True) + whole[4 * number + 4 :]
            damaged.append(changed)
    names = []
    for number, content in enumerate(damaged):
        (tmp_path / f"{number}.bin").write_bytes(content)
        names.append(f"{number}.bin")
    results = probe("avx2", "open_files", tiny_model, *names, cwd=tmp_path)
    cut = results[: len(lengths)]
    assert [length for length, error in zip(lengths, cut, strict=True) if not error] == []
    assert all(error[0].startswith("RuntimeError") for error in results if error)


def test_it_chats_through_the_packages_own_interface(probe: Probe, tmp_path: Path) -> None:
    write_random_model(tmp_path / "model.bin", "tiny")
    answers = {level: probe(level, "chat", tmp_path / "model.bin") for level in ("avx2", "avx")}
    assert answers["avx2"] == answers["avx"]
    assert answers["avx2"]


def test_the_windows_of_these_tests_is_what_users_have(windows: WinePrefix) -> None:
    assert windows.code_page in (936, 1252)
