"""The number types of checkpoints, as float32 and back, with torch's roundings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.model.quantize.blocks import Floats

STORED_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "I8": 1}
"""Type name as safetensors writes it -> bytes per value."""

_NUMPY = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "I8": "i1"}


def decode(data: bytes | bytearray | memoryview, stored: str) -> NDArray[Any]:
    """Return the values of ``data``: float32, or int8 for ``I8``."""
    values: NDArray[Any] = np.frombuffer(data, dtype=_NUMPY[stored])
    if stored == "F16":
        return half_to_single(values.view("<u2"))
    if stored == "BF16":
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values


def half_to_single(bits: NDArray[np.uint16]) -> Floats:
    """Return half-precision ``bits`` as float32, three times as fast as numpy's own conversion.

    Exponent and fraction are moved to their places in float32 and scaled by 2**112, which is exact, subnormal
    numbers included. Infinity and NaN, whose exponent is all ones, keep that meaning.
    """
    wide = bits.astype(np.uint32)
    sign = (wide & np.uint32(0x8000)) << np.uint32(16)
    magnitude = (wide & np.uint32(0x7FFF)) << np.uint32(13)
    endless = magnitude >= np.uint32(0x7C00 << 13)
    scaled: Floats = magnitude.view(np.float32)
    scaled *= np.float32(2.0**112)
    if endless.any():
        scaled[endless] = bits[endless].view("<f2").astype(np.float32)
    magnitude |= sign
    return scaled


def round_to(values: Floats, model_dtype: str) -> Floats:
    """Return ``values`` as a model of type ``model_dtype`` (torch_dtype of config.json) holds them."""
    if model_dtype == "float16":
        with np.errstate(over="ignore", under="ignore"):
            return values.astype(np.float16).astype(np.float32)
    if model_dtype == "bfloat16":
        bits = values.view(np.uint32)
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        values = ((bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)).view(np.float32)
    return values


def unpack_int4(packed: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the two signed 4-bit values of each byte, the high one first: twice as many columns."""
    pairs = np.empty((*packed.shape, 2), dtype=np.int8)
    pairs[..., 0] = packed >> 4
    pairs[..., 1] = (packed << 4) >> 4
    return pairs.reshape(packed.shape[0], -1)
