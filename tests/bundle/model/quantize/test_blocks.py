"""Block formats: what they hold, and the corners where roundings differ."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.model.quantize.blocks import QUANTIZERS, Floats, NotFiniteError, quantize_rows
from bundle.model.quantize.floats import decode, half_to_single, round_to, unpack_int4
from oneclick.model.header import DTYPES

STEPS = {"q4_0": 16, "q4_1": 15, "q5_0": 32, "q5_1": 31, "q8_0": 254}
"""Parts into which a block's range from -1 to 1 is cut."""


def dequantize(data: bytes, dtype: str) -> Floats:
    """Return the values of blocks as ggml.c's dequantize_row_* computes them: written again, from its formulas."""
    values = []
    size = DTYPES[dtype].block_bytes
    for start in range(0, len(data), size):
        block = data[start : start + size]
        scale = float(np.frombuffer(block[:2], "<f2")[0])
        at, low = 2, 0.0
        if dtype.endswith("_1"):
            low, at = float(np.frombuffer(block[2:4], "<f2")[0]), 4
        if dtype == "q8_0":
            values += [scale * whole for whole in np.frombuffer(block[2:], "i1").tolist()]
            continue
        high = 0
        if dtype.startswith("q5"):
            high, at = int.from_bytes(block[at : at + 4], "little"), at + 4
        nibbles = [byte & 15 for byte in block[at:]] + [byte >> 4 for byte in block[at:]]
        wholes = [nibble | (high >> number & 1) << 4 for number, nibble in enumerate(nibbles)]
        middle = {"q4_0": 8, "q5_0": 16}.get(dtype, 0)
        values += [scale * (whole - middle) + low for whole in wholes]
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize("dtype", QUANTIZERS)
def test_values_come_back_within_half_a_step(dtype: str) -> None:
    rows = np.random.default_rng(1).uniform(-1, 1, (8, 64)).astype(np.float32)
    back = dequantize(quantize_rows(rows, dtype).tobytes(), dtype).reshape(rows.shape)
    step = 2 / STEPS[dtype]
    largest = step if dtype in ("q4_0", "q5_0") else step / 2  # the end of the range opposite to the largest is cut
    assert np.abs(back - rows).max() < largest * 1.01 + 0.001


@pytest.mark.parametrize("dtype", QUANTIZERS)
def test_rows_take_the_bytes_the_type_says(dtype: str) -> None:
    assert quantize_rows(np.ones((3, 96), np.float32), dtype).size == 3 * DTYPES[dtype].size_bytes(96)


@pytest.mark.parametrize("dtype", QUANTIZERS)
def test_cutting_the_work_into_parts_changes_nothing(dtype: str) -> None:
    rows = np.random.default_rng(2).normal(0, 0.02, (40_000, 32)).astype(np.float32)
    whole = quantize_rows(rows, dtype)
    parts = [quantize_rows(rows[first : first + 777], dtype) for first in range(0, len(rows), 777)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_a_block_of_zeros_is_all_zero_bytes_but_the_sign_of_its_scale() -> None:
    zeros = np.zeros((1, 32), np.float32)
    assert quantize_rows(zeros, "q8_0").tobytes() == bytes(34)
    assert quantize_rows(zeros, "q4_1").tobytes() == bytes(20)
    assert quantize_rows(zeros, "q4_0").tobytes() == b"\x00\x80" + bytes(16)  # 0 / -8 is -0


def test_of_two_largest_magnitudes_the_first_decides_the_sign() -> None:
    rows = np.zeros((2, 32), np.float32)
    rows[0, 3], rows[0, 9] = 1, -1
    rows[1, 3], rows[1, 9] = -1, 1
    first, second = quantize_rows(rows, "q4_0").reshape(2, 18)[:, :2].copy().view("<f2")[:, 0]
    assert (first, second) == (-0.125, 0.125)


def test_of_zero_and_minus_zero_the_first_is_the_smallest() -> None:
    rows = np.ones((2, 32), np.float32)
    rows[0, 4:8] = (-0.0, 0.0, 0.0, -0.0)
    rows[1, 4:8] = (0.0, -0.0, -0.0, 0.0)
    lows = quantize_rows(rows, "q4_1").reshape(2, 20)[:, 3]
    assert lows.tolist() == [0x80, 0x00]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["f32", "f16", *QUANTIZERS])
def test_weights_that_are_not_numbers_are_refused(dtype: str, value: float) -> None:
    rows = np.ones((4, 64), np.float32)
    rows[2, 17] = value
    with pytest.raises(NotFiniteError):
        quantize_rows(rows, dtype)


def test_every_half_is_widened_as_numpy_does() -> None:
    bits = np.arange(65536, dtype=np.uint16)
    expected = bits.view(np.float16).astype(np.float32)
    assert np.array_equal(half_to_single(bits).view(np.uint32), expected.view(np.uint32))


def test_bfloat_is_the_upper_half_of_a_single() -> None:
    assert decode(b"\x80\x3f\xc0\xbf", "BF16").tolist() == [1.0, -1.5]


def test_rounding_to_bfloat_goes_to_even() -> None:
    halfway = np.array([0x3F808000, 0x3F818000, 0x3F808001], np.uint32).view(np.float32)
    assert round_to(halfway, "bfloat16").view(np.uint32).tolist() == [0x3F800000, 0x3F820000, 0x3F810000]


def test_two_signed_values_are_taken_out_of_each_byte_the_high_one_first() -> None:
    packed = np.array([[0x7F, 0x80 - 256, 0x1E]], np.int8)
    assert unpack_int4(packed).tolist() == [[7, -1, -8, 0, 1, -2]]
