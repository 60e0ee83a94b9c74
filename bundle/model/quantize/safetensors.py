"""Reading where the tensors of a .safetensors file lie.

Format: an 8-byte little-endian length, a JSON header of that length mapping name -> {dtype, shape, data_offsets},
then the data. Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from bundle.model.quantize.floats import STORED_BYTES
from bundle.model.quantize.stored import StoredTensor, damaged

MAX_HEADER_BYTES = 100_000_000
"""The limit of the format's own library."""


def read_tensors(file: Path) -> dict[str, StoredTensor]:
    """Return name -> place of every tensor in ``file`` whose type can be weights; UsageError when it is malformed."""
    size_bytes = file.stat().st_size
    with file.open("rb") as stream:
        prefix = stream.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or length > min(MAX_HEADER_BYTES, size_bytes - 8):
            raise damaged(file, f"its header claims {length} bytes, the file has {size_bytes}")
        data = stream.read(length)
    try:
        header = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(file, f"its header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise damaged(file, "its header is not a JSON object")
    header.pop("__metadata__", None)
    found = (_place(file, name, entry, 8 + length, size_bytes) for name, entry in header.items())
    return {tensor.name: tensor for tensor in found if tensor is not None}


def _place(file: Path, name: str, entry: Any, start: int, size_bytes: int) -> StoredTensor | None:
    """Check one entry of the header; None for a type that weights never have (index tables, masks)."""
    try:
        stored, shape, (first, last) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise damaged(file, f"the header's entry for {name!r} is incomplete") from error
    numbers = (*shape, first, last)
    if not isinstance(stored, str) or any(type(number) is not int or number < 0 for number in numbers):
        raise damaged(file, f"the header's entry for {name!r} has impossible numbers")
    if last > size_bytes - start or first > last:
        raise damaged(file, f"{name!r} lies outside the file: it is cut off or damaged ({size_bytes} bytes)")
    if stored not in STORED_BYTES:
        return None
    if last - first != math.prod(shape) * STORED_BYTES[stored]:
        raise damaged(file, f"{name!r} of shape {list(shape)} does not take {last - first} bytes")
    return StoredTensor(name, file, start + first, stored, shape)
