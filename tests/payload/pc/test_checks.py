from __future__ import annotations

import pytest

from oneclick.bundle_info import Engine, EngineLevel
from oneclick.errors import OneClickError
from oneclick.messages import set_language
from oneclick.pc.checks import check_cpu, check_windows, levels_to_try
from oneclick.pc.findings import ERROR, OK, WARNING
from oneclick.pc.machine import Cpu, WindowsVersion

AVX2 = EngineLevel("avx2", "app/engine/avx2", ("avx", "avx2", "fma", "f16c"))
AVX = EngineLevel("avx", "app/engine/avx", ("avx",))
BOTH = Engine("chatglm_cpp", "0.3.0", "compile", True, (AVX2, AVX))
RELEASE = Engine("chatglm_cpp", "0.3.0", "release", False, (AVX2,))


@pytest.fixture(autouse=True)
def chinese() -> None:
    set_language("zh")


def cpu(*features: str, certain: bool = True) -> Cpu:
    return Cpu("奔腾 G4560", 2, 4, frozenset(features), certain)


def test_the_best_level_the_processor_can_run_is_tried_first() -> None:
    assert levels_to_try(cpu("avx", "avx2", "fma", "f16c"), BOTH) == (AVX2, AVX)
    assert levels_to_try(cpu("avx"), BOTH) == (AVX,)


def test_a_slower_level_is_told() -> None:
    finding = check_cpu(cpu("avx"), BOTH)
    assert finding.severity == WARNING
    assert "兼容版引擎（avx）" in str(finding)


def test_a_processor_without_the_instructions_is_refused_and_memory_is_not_blamed() -> None:
    with pytest.raises(OneClickError, match=r"处理器（奔腾 G4560）没有 AVX 指令集(.|\n)*和内存、模型文件都没有关系"):
        levels_to_try(cpu(), BOTH)
    assert check_cpu(cpu(), BOTH).severity == ERROR


def test_where_windows_cannot_tell_the_engine_is_tried() -> None:
    assert levels_to_try(cpu("avx", certain=False), RELEASE) == (AVX2,)
    assert check_cpu(cpu("avx", certain=False), RELEASE).severity == WARNING


def test_old_windows_is_a_warning() -> None:
    assert check_windows(WindowsVersion(10, 0, 19045)).severity == OK
    assert "太旧" in str(check_windows(WindowsVersion(6, 1, 7601)))


def arm(*features: str) -> Cpu:
    return Cpu("Snapdragon X Elite", 12, 12, frozenset(features), is_arm=True)


def test_an_emulated_processor_takes_the_best_level_and_is_told_to_be_slow() -> None:
    snapdragon = arm("avx", "avx2", "fma", "f16c")
    assert levels_to_try(snapdragon, BOTH) == (AVX2, AVX)
    finding = check_cpu(snapdragon, BOTH)
    assert finding.severity == WARNING and "ARM 处理器" in str(finding) and "慢得多" in str(finding)


def test_an_arm_pc_whose_windows_does_not_emulate_avx_is_told_to_update_and_not_to_be_old() -> None:
    with pytest.raises(OneClickError, match=r"Windows 更新(.|\n)*KB5066835") as told:
        levels_to_try(arm(), BOTH)
    assert "2013" not in str(told.value)
