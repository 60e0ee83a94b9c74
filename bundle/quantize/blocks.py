"""ggml's block formats, bit for bit as convert.py of chatglm.cpp 0.3.0 makes them.

Each function takes float32 of shape (blocks, 32) and returns uint8 of shape (blocks, bytes per block). The order of
operations and every rounding is upstream's: division (not multiplication by an inverse), round half to even, scale
rounded to half precision only after it was used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

BLOCK = 32


def quantize_rows(rows: Floats, dtype: str) -> Bytes:
    """Return ``rows`` (a matrix whose row length is a multiple of 32 for the q types) as bytes of ``dtype``."""
    if dtype == "f32":
        return np.ascontiguousarray(rows, dtype="<f4").reshape(-1).view(np.uint8)
    if dtype == "f16":
        return _half(rows).reshape(-1)
    return QUANTIZERS[dtype](rows.reshape(-1, BLOCK)).reshape(-1)


def _half(values: NDArray[Any]) -> Bytes:
    """Return ``values`` rounded to half precision, as bytes; too large ones become infinite, as in torch."""
    with np.errstate(over="ignore", under="ignore"):
        half = values.astype("<f2")
    return half.view(np.uint8)


def _round_to(values: Floats, low: int, high: int) -> Bytes:
    """Round half to even, keep within ``low`` .. ``high``, and return 8-bit values; NaN becomes 0.

    NaN comes from 0 / 0 in a block of zeros (padding rows of the vocabulary): torch converts it to 0, on x86.
    """
    np.rint(values, out=values)
    np.clip(values, low, high, out=values)
    np.nan_to_num(values, copy=False, nan=0.0)
    whole: Bytes = values.astype(np.int8).view(np.uint8)
    return whole


def _largest(blocks: Floats) -> Floats:
    """Return, per block, the value with the largest magnitude, sign kept; the first of equals. Shape (blocks, 1)."""
    index = np.abs(blocks).argmax(axis=1)
    return np.take_along_axis(blocks, index[:, None], axis=1)


def _ranges(blocks: Floats, steps: int) -> tuple[Floats, Floats]:
    """Return, per block, (smallest value, range / steps), each of shape (blocks, 1)."""
    low = blocks.min(axis=1, keepdims=True)
    high = blocks.max(axis=1, keepdims=True)
    return low, (high - low) / np.float32(steps)


def _fifth_bits(values: Bytes) -> Bytes:
    """Return bit 4 of each of the 32 values of a block, as the bytes of one little-endian 32-bit word."""
    bits: Bytes = np.packbits(values >> 4, axis=1, bitorder="little")
    return bits


def _nibbles(values: Bytes) -> Bytes:
    """Return the low four bits of values 0..15 beside those of values 16..31."""
    return (values[:, :16] & np.uint8(0x0F)) | (values[:, 16:] << np.uint8(4))


def quantize_q8_0(blocks: Floats) -> Bytes:
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = _round_to(blocks / scale, -128, 127)
    return np.concatenate((_half(scale), values), axis=1)


def quantize_q4_0(blocks: Floats) -> Bytes:
    scale = _largest(blocks) / np.float32(-8)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = _round_to(blocks / scale + np.float32(8), 0, 15)
    return np.concatenate((_half(scale), _nibbles(values)), axis=1)


def quantize_q4_1(blocks: Floats) -> Bytes:
    low, scale = _ranges(blocks, 15)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = _round_to((blocks - low) / scale, 0, 15)
    return np.concatenate((_half(scale), _half(low), _nibbles(values)), axis=1)


def quantize_q5_0(blocks: Floats) -> Bytes:
    scale = _largest(blocks) / np.float32(-16)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = _round_to(blocks / scale + np.float32(16), 0, 31)
    return np.concatenate((_half(scale), _fifth_bits(values), _nibbles(values)), axis=1)


def quantize_q5_1(blocks: Floats) -> Bytes:
    low, scale = _ranges(blocks, 31)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = _round_to((blocks - low) / scale, 0, 31)
    return np.concatenate((_half(scale), _half(low), _fifth_bits(values), _nibbles(values)), axis=1)


QUANTIZERS: dict[str, Callable[[Floats], Bytes]] = {
    "q4_0": quantize_q4_0,
    "q4_1": quantize_q4_1,
    "q5_0": quantize_q5_0,
    "q5_1": quantize_q5_1,
    "q8_0": quantize_q8_0,
}
