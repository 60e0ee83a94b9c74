"""Files with some bytes changed, as hypothesis chooses them."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st


def damage(path: Path, data: st.DataObject, *, most: int = 4) -> int:
    """Overwrite one to ``most`` bytes of ``path``; return its size, which stays."""
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, most))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    return len(content)
