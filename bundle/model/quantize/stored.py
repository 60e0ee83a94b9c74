"""Where a tensor of a checkpoint lies on the disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import UsageError
from bundle.model.quantize.floats import STORED_BYTES


@dataclass(frozen=True)
class StoredTensor:
    """Plain bytes at ``offset`` of ``file``: rows one after the other, little-endian."""

    name: str
    file: Path
    offset: int
    stored: str
    """``F16``, ``BF16``, ``F32`` or ``I8``."""
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * STORED_BYTES[self.stored]


def damaged(file: Path, why: str) -> UsageError:
    """Return the error for a checkpoint file that is not what its name says."""
    return UsageError(
        f"{file.name} is not a usable weights file",
        why=why,
        do="download this file again and compare its sha256 with the one its page shows",
    )
