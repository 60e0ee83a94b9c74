from __future__ import annotations

import dataclasses

import pytest

from bundle.model.random_model import SHAPES
from oneclick.errors import OneClickError
from oneclick.messages import set_language
from oneclick.model.header import ModelHeader
from oneclick.model.memory import memory_need, plan_memory
from oneclick.pc.findings import OK, WARNING
from oneclick.pc.machine import Memory

GIB = 1 << 30


@pytest.fixture(autouse=True)
def chinese() -> None:
    set_language("zh")


@pytest.fixture
def header() -> ModelHeader:
    """ChatGLM3-6B q4_0."""
    shape = SHAPES["full"]
    return ModelHeader(
        architecture="ChatGLM3",
        version=1,
        dtype="q4_0",
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        num_layers=shape.num_layers,
        intermediate_size=shape.intermediate_size,
        sequence_length=8192,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        sep_token_id=-1,
        tokenizer_offset=64,
        tokenizer_length=1_018_370,
    )


def pc(total: float, available: float | None = None, commit: float = 64) -> Memory:
    """In GiB; ``commit``: what other programs left of the commit limit, which is at least the physical memory."""
    return Memory(int(total * GIB), int((available or total) * GIB), int((total + commit) * GIB), int(commit * GIB))


def test_a_pc_with_16_gb_gets_all_of_the_context(header: ModelHeader) -> None:
    plan = plan_memory(header, pc(16, 10))
    assert (plan.context, plan.finding.severity) == (8192, OK)


def test_a_short_context_that_was_asked_for_is_kept(header: ModelHeader) -> None:
    assert plan_memory(header, pc(16), 1024).context == 1024


def test_a_context_beyond_the_models_own_is_cut_to_it(header: ModelHeader) -> None:
    assert plan_memory(header, pc(64), 32768).context == 8192


def test_the_context_is_shortened_until_it_fits(header: ModelHeader) -> None:
    need = memory_need(header, 4096).total_bytes / GIB + 1.01
    plan = plan_memory(header, pc(need))
    assert plan.context == 4096
    assert "上下文从 8192 缩短到 4096" in str(plan.finding)


def test_8_gb_with_little_available_is_told_to_close_programs(header: ModelHeader) -> None:
    plan = plan_memory(header, pc(8, 2))
    assert plan.finding.severity == WARNING
    assert "请关闭一些程序" in str(plan.finding)


def test_memory_that_just_suffices_is_said(header: ModelHeader) -> None:
    plan = plan_memory(header, pc(memory_need(header, 1024).total_bytes / GIB + 0.2))
    assert plan.context == 1024
    assert "内存刚刚够" in str(plan.finding)


def test_too_little_memory_is_refused_and_the_model_is_not_blamed(header: ModelHeader) -> None:
    with pytest.raises(
        OneClickError, match=r"内存不够：这个模型至少需要 3\.\d+ GB，这台电脑一共只有 3\.00 GB(.|\n)*模型文件没有坏"
    ):
        plan_memory(header, pc(3))


def test_a_small_page_file_is_a_warning_of_its_own(header: ModelHeader) -> None:
    plan = plan_memory(header, pc(16, 10, commit=1))
    assert "虚拟内存偏小" in str(plan.finding)


def test_a_header_whose_keys_and_values_no_pc_can_promise_is_refused(header: ModelHeader) -> None:
    """A well-formed file: ggml would abort while it allocates, three times over, and the weights are fine."""
    absurd = dataclasses.replace(header, sequence_length=1 << 22)
    assert memory_need(absurd).reserved_bytes > 110 * GIB
    with pytest.raises(OneClickError, match=r"声明的上下文长达 4194304(.|\n)*换一个模型") as told:
        plan_memory(absurd, pc(32, 20), 2048)
    assert told.value.key == "machine.commit_too_small" and all(told.value.both())


def test_the_32k_model_still_runs_on_8_gb(header: ModelHeader) -> None:
    long = dataclasses.replace(header, sequence_length=32768)
    assert plan_memory(long, pc(8, 5, commit=4)).context == 8192
