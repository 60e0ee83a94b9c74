from __future__ import annotations

import pytest

from oneclick.engine.threads import best_threads, fixed_threads, threads_to_try
from oneclick.pc.machine import Cpu


def cpu(physical: int, logical: int) -> Cpu:
    return Cpu("x", physical, logical, frozenset())


def test_one_thread_per_core_is_the_default() -> None:
    assert fixed_threads("physical", cpu(6, 12)) == 6
    assert fixed_threads(3, cpu(6, 12)) == 3
    assert fixed_threads("auto", cpu(6, 12)) is None


@pytest.mark.parametrize(
    ("physical", "logical", "tried"), [(1, 1, (1,)), (2, 2, (1, 2)), (4, 8, (2, 4, 8)), (14, 20, (7, 14, 20))]
)
def test_two_or_three_numbers_are_measured(physical: int, logical: int, tried: tuple[int, ...]) -> None:
    assert threads_to_try(cpu(physical, logical)) == tried


def test_the_fastest_wins_and_a_tie_goes_to_fewer() -> None:
    assert best_threads({2: 0.5, 4: 0.3, 8: 0.4}) == 4
    assert best_threads({2: 0.30, 4: 0.295, 8: 0.31}) == 2
