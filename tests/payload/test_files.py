"""Writing a file whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneclick.files import write_whole


def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(tmp_path: Path) -> None:
    """On Windows: one that is read-only or that another program holds; elsewhere a folder of that name."""
    taken = tmp_path / "设置.toml"
    taken.mkdir()
    with pytest.raises(OSError, match=r"设置\.toml"):
        write_whole(taken, b"new")
    assert list(tmp_path.iterdir()) == [taken]
