from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from oneclick.errors import OneClickError
from oneclick.update.integrity import PackedFile, compare, read_packed_files


def pack(root: Path, **files: bytes) -> tuple[PackedFile, ...]:
    listed = []
    for name, content in files.items():
        path = root / name.replace("__", ".")
        path.write_bytes(content)
        listed.append(PackedFile(path.name, len(content), hashlib.sha256(content).hexdigest()))
    return tuple(listed)


def test_a_whole_folder_has_no_differences(tmp_path: Path) -> None:
    found = compare(tmp_path, pack(tmp_path, a=b"1", b=b"2"))
    assert not found.any
    assert found.checked == 2


def test_missing_and_changed_files_are_named(tmp_path: Path) -> None:
    files = pack(tmp_path, gone=b"1", shorter=b"22", flipped=b"33", good=b"4")
    (tmp_path / "gone").unlink()
    (tmp_path / "shorter").write_bytes(b"2")
    (tmp_path / "flipped").write_bytes(b"34")
    found = compare(tmp_path, files)
    assert (found.missing, found.changed) == (("gone",), ("shorter", "flipped"))


def test_settings_are_the_users_own(tmp_path: Path) -> None:
    files = pack(tmp_path, 设置__toml=b"port = 1")
    (tmp_path / "设置.toml").write_bytes(b"port = 2")
    assert not compare(tmp_path, files).any


def test_a_packed_model_is_not_read_again(tmp_path: Path) -> None:
    files = pack(tmp_path, m__bin=b"12")
    (tmp_path / "m.bin").write_bytes(b"21")
    assert not compare(tmp_path, files).any


def test_progress_goes_from_none_to_nearly_all(tmp_path: Path) -> None:
    seen: list[float] = []
    compare(tmp_path, pack(tmp_path, a=b"1", b=b"2"), seen.append)
    assert seen == [0.0, 0.5]


@pytest.mark.parametrize("content", ["", "{}", '{"format": 2, "files": []}', '{"format": 1, "files": [{}]}'])
def test_a_damaged_list_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "MANIFEST.json").write_text(content)
    with pytest.raises(OneClickError, match=r"MANIFEST\.json"):
        read_packed_files(tmp_path / "MANIFEST.json")


def test_the_builders_list_is_read(tmp_path: Path) -> None:
    line = {"path": "a/b", "size_bytes": 1, "sha256": "0", "from": "x"}
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"format": 1, "files": [line]}))
    assert read_packed_files(tmp_path / "MANIFEST.json") == (PackedFile("a/b", 1, "0"),)
