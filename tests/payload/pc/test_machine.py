from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from oneclick import pc
from oneclick.pc import machine
from oneclick.pc.levels import FEATURES
from oneclick.pc.machine import WindowsVersion, conclude_features

ALL = frozenset(FEATURES["avx2"])
HASWELL = "Intel64 Family 6 Model 60 Stepping 3"


def features(*, avx: bool, avx2: bool, knows: bool, identifier: str = HASWELL, vendor: str = "GenuineIntel") -> object:
    return conclude_features(has_avx=avx, has_avx2=avx2, knows_avx2=knows, identifier=identifier, vendor=vendor)


def test_a_yes_of_windows_is_believed() -> None:
    assert features(avx=True, avx2=True, knows=True) == ALL


def test_a_no_is_believed_from_windows_that_knows_the_question() -> None:
    assert features(avx=True, avx2=False, knows=True) == {"avx"}


@pytest.mark.parametrize(
    ("identifier", "has_avx2"),
    [
        (HASWELL, True),
        ("Intel64 Family 6 Model 158 Stepping 10", True),
        ("Intel64 Family 6 Model 58 Stepping 9", False),
        ("Intel64 Family 6 Model 42 Stepping 7", False),
        ("Intel64 Family 6 Model 62 Stepping 4", False),
        ("AMD64 Family 23 Model 113 Stepping 0", True),
        ("AMD64 Family 21 Model 2 Stepping 0", False),
        ("AMD64 Family 21 Model 101 Stepping 1", True),
        ("", False),
    ],
)
def test_on_older_windows_the_family_of_the_processor_decides(identifier: str, has_avx2: bool) -> None:
    found = features(avx=True, avx2=False, knows=False, identifier=identifier)
    assert found == (ALL if has_avx2 else {"avx"})


def test_without_avx_nothing_else_is_there() -> None:
    assert features(avx=False, avx2=False, knows=False) == set()


def test_fma_is_not_assumed_of_makers_that_left_it_out() -> None:
    assert features(avx=True, avx2=True, knows=True, vendor="CentaurHauls") == {"avx", "avx2"}


def test_windows_has_the_name_people_know() -> None:
    names = [WindowsVersion(*numbers).name for numbers in ((10, 0, 19045), (10, 0, 22631), (6, 1, 7601), (6, 3, 9600))]
    assert names == ["Windows 10", "Windows 11", "Windows 7", "Windows 8.1"]


def test_this_machine_is_described(tmp_path: Path) -> None:
    assert machine.cpu().physical_cores >= 1
    assert machine.cpu().physical_cores <= machine.cpu().logical_cores
    memory = machine.memory()
    assert 0 < memory.available_bytes <= memory.total_bytes <= memory.commit_limit_bytes
    assert machine.disk(tmp_path).free_bytes > 0


@pytest.mark.parametrize(
    ("native", "has_avx", "features", "certain"),
    [
        (machine.MACHINE_ARM64, True, ALL, True),
        (machine.MACHINE_ARM64, False, frozenset(), True),
        (0x8664, True, frozenset({"avx", "avx2"}), False),  # Zhaoxin: AVX2, the rest unknown
    ],
)
def test_an_emulated_processor_has_what_windows_says(
    monkeypatch: pytest.MonkeyPatch, native: int, has_avx: bool, features: frozenset[str], certain: bool
) -> None:
    windows = types.ModuleType("oneclick.pc.windows")
    answers = {
        "processor_names": lambda: (
            "a PC",
            "ARMv8 (64-bit) Family 8 Model 1 Revision 201",
            "Qualcomm Technologies Inc",
        ),
        "version": lambda: (10, 0, 26100),
        "native_machine": lambda: native,
        "has_feature": lambda number: has_avx and number in (machine.PF_AVX, machine.PF_AVX2),
        "enabled_register_states": lambda: 0,
        "physical_cores": lambda: 12,
    }
    for name, answer in answers.items():
        setattr(windows, name, answer)
    monkeypatch.setitem(sys.modules, "oneclick.pc.windows", windows)
    monkeypatch.setattr(pc, "windows", windows, raising=False)
    monkeypatch.setattr(machine, "sys", types.SimpleNamespace(platform="win32"))
    found = machine.cpu()
    assert (found.features, found.certain, found.is_arm) == (features, certain, native == machine.MACHINE_ARM64)
