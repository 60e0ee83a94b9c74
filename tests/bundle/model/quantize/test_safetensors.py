"""Reading safetensors headers: whole ones are read, damaged ones refused."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.errors import UsageError
from bundle.model.quantize.safetensors import read_tensors
from tests.support.damage import damage


def write(path: Path, header: Any, data: bytes = bytes(12), *, length: int | None = None) -> Path:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(encoded) if length is None else length).to_bytes(8, "little") + encoded + data)
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]} | changes}


def test_a_tensor_is_found_behind_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", entry() | {"__metadata__": {"format": "pt"}}, b"0123456789ab")
    place = read_tensors(path)["w"]
    assert path.read_bytes()[place.offset : place.offset + place.size_bytes] == b"0123456789ab"
    assert (place.stored, place.shape) == ("F16", (2, 3))


def test_types_that_weights_never_have_are_passed_over(tmp_path: Path) -> None:
    assert read_tensors(write(tmp_path / "x.safetensors", entry(dtype="I64"))) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [2, 4]},
        {"shape": [-2, -3]},
        {"shape": [2.0, 3]},
        {"shape": "23"},
        {"shape": None},
        {"data_offsets": [0, 13]},
        {"data_offsets": [2, 14]},
        {"data_offsets": [12, 0]},
        {"data_offsets": [-12, 0]},
        {"data_offsets": [0]},
        {"data_offsets": [0, 1 << 70]},
        {"data_offsets": [True, 12]},
        {"dtype": 16},
        {"dtype": "F32"},
    ],
)
def test_an_entry_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"x\.safetensors is not a usable weights file"):
        read_tensors(write(tmp_path / "x.safetensors", entry(**changes)))


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"{", b"7", b'"text"', b"\xff\xfe{}", b'{"w": 7}', b'{"w": {}}', b"[" * 100_000]
)
def test_a_header_that_is_no_table_of_tensors_is_refused(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(UsageError):
        read_tensors(write(tmp_path / "x.safetensors", header))


@pytest.mark.parametrize("length", [1 << 63, 10**9, 500])
def test_a_header_longer_than_the_file_is_refused_unread(tmp_path: Path, length: int) -> None:
    with pytest.raises(UsageError, match=f"claims {length} bytes"):
        read_tensors(write(tmp_path / "x.safetensors", entry(), length=length))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damage_does_more_than_a_refusal(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "x.safetensors"), entry())
        size_bytes = damage(path, data)
        with contextlib.suppress(UsageError):
            for place in read_tensors(path).values():
                assert 0 <= place.offset <= place.offset + place.size_bytes <= size_bytes
