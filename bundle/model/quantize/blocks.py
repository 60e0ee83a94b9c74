"""ggml's block formats, bit for bit as convert.py of chatglm.cpp 0.3.0 makes them.

Each quantiser takes float32 of shape (blocks, 32) and returns uint8 of shape (blocks, bytes per block). The order of
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
_AT_ONCE = 1 << 13
"""Blocks quantised at once: 1 MiB of float32, so that the passes over it stay in the processor's cache."""


class NotFiniteError(ValueError):
    """Weights that hold infinity or NaN: no quantisation can carry them."""


def quantize_rows(rows: Floats, dtype: str) -> Bytes:
    """Return ``rows`` (a matrix whose row length is a multiple of 32 for the q types) as bytes of ``dtype``.

    Raises NotFiniteError for weights that no model can have.
    """
    if dtype in ("f32", "f16"):
        if not np.isfinite(rows).all():
            raise NotFiniteError
        plain = np.ascontiguousarray(rows, dtype="<f4").view(np.uint8) if dtype == "f32" else _half(rows)
        return plain.reshape(-1)
    blocks = rows.reshape(-1, BLOCK)
    quantizer = QUANTIZERS[dtype]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        parts = [quantizer(blocks[first : first + _AT_ONCE]) for first in range(0, len(blocks), _AT_ONCE)]
    return np.concatenate(parts).reshape(-1)


def quantize_q4_0(blocks: Floats) -> Bytes:
    scale = _finite(_largest(blocks) / np.float32(-8))
    values = blocks / scale
    values += np.float32(8)
    return np.concatenate((_half(scale), _nibbles(_rounded(values, scale, 0, 15))), axis=1)


def quantize_q4_1(blocks: Floats) -> Bytes:
    low, scale = _range(blocks, 15)
    values = blocks - low
    values /= scale
    return np.concatenate((_half(scale), _half(low), _nibbles(_rounded(values, scale, 0, 15))), axis=1)


def quantize_q5_0(blocks: Floats) -> Bytes:
    scale = _finite(_largest(blocks) / np.float32(-16))
    values = blocks / scale
    values += np.float32(16)
    whole = _rounded(values, scale, 0, 31)
    return np.concatenate((_half(scale), _fifth_bits(whole), _nibbles(whole)), axis=1)


def quantize_q5_1(blocks: Floats) -> Bytes:
    low, scale = _range(blocks, 31)
    values = blocks - low
    values /= scale
    whole = _rounded(values, scale, 0, 31)
    return np.concatenate((_half(scale), _half(low), _fifth_bits(whole), _nibbles(whole)), axis=1)


def quantize_q8_0(blocks: Floats) -> Bytes:
    scale = _finite(np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127))
    return np.concatenate((_half(scale), _rounded(blocks / scale, scale, -128, 127)), axis=1)


QUANTIZERS: dict[str, Callable[[Floats], Bytes]] = {
    "q4_0": quantize_q4_0,
    "q4_1": quantize_q4_1,
    "q5_0": quantize_q5_0,
    "q5_1": quantize_q5_1,
    "q8_0": quantize_q8_0,
}


def _largest(blocks: Floats) -> Floats:
    """Return, per block, the value with the largest magnitude, sign kept, the first of equals. Shape (blocks, 1)."""
    return _at(blocks, np.abs(blocks).argmax(axis=1))


def _range(blocks: Floats, steps: int) -> tuple[Floats, Floats]:
    """Return, per block, (smallest value, range / steps), each of shape (blocks, 1).

    Of 0 and -0, which are equal, torch takes the first; ``min`` may take either, so the place is looked up.
    """
    low = _at(blocks, blocks.argmin(axis=1))
    high = _at(blocks, blocks.argmax(axis=1))
    return low, _finite((high - low) / np.float32(steps))


def _at(blocks: Floats, index: NDArray[np.intp]) -> Floats:
    """Return the value at ``index`` of each block, shape (blocks, 1)."""
    index += np.arange(0, blocks.size, BLOCK)
    values: Floats = blocks.reshape(-1).take(index)[:, None]
    return values


def _finite(scale: Floats) -> Floats:
    """Return ``scale``; a NaN or an infinity anywhere in a block has reached it."""
    if not np.isfinite(scale).all():
        raise NotFiniteError
    return scale


def _rounded(values: Floats, scale: Floats, low: int, high: int) -> Bytes:
    """Round ``values`` in place, half to even, keep them within ``low`` .. ``high``, and return them as 8 bits.

    Blocks of zeros (the padding rows of the vocabulary) have a scale of 0, and 0 / 0 is NaN. torch turns it into 0
    when it converts to 8 bits, so the block's values are 0, not the middle of the range.
    """
    np.rint(values, out=values)
    np.clip(values, low, high, out=values)
    if not scale.all():
        np.nan_to_num(values, copy=False, nan=0.0)
    return values.astype(np.int8).view(np.uint8)


def _half(values: NDArray[Any]) -> Bytes:
    """Return ``values`` rounded to half precision, as bytes; too large ones become infinite, as in torch."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype("<f2").view(np.uint8)


def _nibbles(values: Bytes) -> Bytes:
    """Return the low four bits of values 0..15 of a block, beside those of values 16..31."""
    pairs: Bytes = (values[:, :16] & np.uint8(0x0F)) | (values[:, 16:] << np.uint8(4))
    return pairs


def _fifth_bits(values: Bytes) -> Bytes:
    """Return bit 4 of each of the 32 values of a block, as the bytes of one little-endian 32-bit word."""
    bits: Bytes = np.packbits(values >> np.uint8(4), axis=1, bitorder="little")
    return bits
