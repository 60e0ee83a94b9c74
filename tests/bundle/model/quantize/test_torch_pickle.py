"""Unpickling weights: what torch writes is read, everything else is refused and nothing is ever run."""

from __future__ import annotations

import contextlib
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.errors import UsageError
from bundle.model.quantize.torch_pickle import read_tensors
from tests.bundle.model.quantize.pickles import (
    DATA,
    ORDERED_DICT,
    call,
    global_name,
    good,
    number,
    state_dict,
    storage,
    tensor,
    text,
    tuple_of,
    write_legacy,
    write_zip,
)
from tests.support.damage import damage

Writer = Callable[[Path, bytes], Path]


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_matrix_is_found_where_it_lies(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path / "pytorch_model.bin", good())
    (place,) = read_tensors(path).values()
    assert (place.name, place.stored, place.shape) == ("w", "F16", (2, 3))
    assert path.read_bytes()[place.offset : place.offset + place.size_bytes] == DATA


def test_a_view_into_a_larger_storage_is_found_at_its_own_place(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.bin", state_dict(w=tensor(storage("0", 6), (1, 3), (3, 1), start=3)))
    place = read_tensors(path)["w"]
    assert path.read_bytes()[place.offset : place.offset + place.size_bytes] == DATA[6:]


def test_what_is_not_weights_is_passed_over(tmp_path: Path) -> None:
    state = state_dict(
        w=tensor(storage("0", 6), (6,), (1,)), step=number(7), ids=tensor(storage("0", 1, "LongStorage"), (1,), (1,))
    )
    assert list(read_tensors(write_zip(tmp_path / "x.bin", state))) == ["w"]


def canary(tmp_path: Path) -> Path:
    return tmp_path / "was-run"


def evil_calls(target: str) -> dict[str, bytes]:
    """Return pickles that would each create the file ``target`` or do other harm when they were loaded plainly."""
    command = text(f"touch {target}")
    return {
        "os.system": b"\x80\x02" + call(global_name("os", "system"), command) + b".",
        "posix.system": b"\x80\x02" + call(global_name("posix", "system"), command) + b".",
        "eval": b"\x80\x02" + call(global_name("builtins", "eval"), text(f"open({target!r},'w')")) + b".",
        "exec inside a tensor": state_dict(w=call(global_name("builtins", "exec"), text("1/0"))),
        "subprocess": b"\x80\x02" + call(global_name("subprocess", "Popen"), command) + b".",
        "getattr chain": b"\x80\x02" + call(global_name("builtins", "getattr"), number(1), text("real")) + b".",
        "torch.load again": b"\x80\x02" + call(global_name("torch", "load"), text(target)) + b".",
        "runpy": b"\x80\x02" + call(global_name("runpy", "_run_code"), text("1/0"), b"}") + b".",
        "dotted name": b"\x80\x04\x8c\x0bcollections\x8c\x19OrderedDict.fromkeys.real\x93.",
        "old INST": b"(" + text(f"touch {target}") + b"ios\nsystem\n.",
        "old OBJ": b"(" + global_name("os", "system") + command + b"o.",
        "NEWOBJ": b"\x80\x02" + global_name("collections", "OrderedDict") + b")\x81.",
        "extension registry": b"\x80\x02\x82\x01.",
        "text persistent id": b"Pstorage\n.",
        "copyreg": b"\x80\x02" + call(global_name("copyreg", "_reconstructor"), number(1), number(2), b"N") + b".",
    }


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("name", evil_calls(""))
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, name: str, write: Writer) -> None:
    target = canary(tmp_path)
    path = write(tmp_path / "pytorch_model.bin", evil_calls(str(target))[name])
    with pytest.raises(UsageError, match=r"pytorch_model\.bin is not a usable weights file"):
        read_tensors(path)
    assert not target.exists()


def test_the_canary_would_have_noticed(tmp_path: Path) -> None:
    """Loaded plainly, the first of these pickles does run: the tests above can fail."""
    target = canary(tmp_path)
    pickle.loads(evil_calls(str(target))["os.system"])
    assert target.exists()


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_the_name_of_the_code_is_told(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path / "x.bin", evil_calls("x")["os.system"])
    with pytest.raises(UsageError, match=r"os\.system, which is code.*nothing of it was run"):
        read_tensors(path)


BUILD = b"}" + text("__call__") + number(1) + b"sb"
"""Sets an attribute on whatever is on top of the stack."""

BAD = {
    "attributes set on the reader's own helpers": b"\x80\x02"
    + global_name("torch._utils", "_rebuild_tensor_v2")
    + BUILD
    + b".",
    "slots set on the reader's own helpers": b"\x80\x02"
    + global_name("torch", "HalfStorage")
    + b"N"
    + BUILD[:-1]
    + b"\x86b.",
    "attributes set on a tensor": state_dict(w=tensor(storage("0", 6), (2, 3), (3, 1)) + BUILD),
    "a memo of four billion places": b"\x80\x02}r\xff\xff\xff\xff.",
    "no state dict": b"\x80\x02K\x07.",
    "a storage that is text": state_dict(w=tensor(text("0"), (2, 3), (3, 1))),
    "a storage without a type": state_dict(
        w=tensor(tuple_of(text("storage"), text("x"), text("0"), text("cpu"), number(6)) + b"Q", (6,), (1,))
    ),
    "a storage that is not there": state_dict(w=tensor(storage("7", 6), (2, 3), (3, 1))),
    "more values than the storage has": state_dict(w=tensor(storage("0", 6), (3, 3), (3, 1))),
    "more values than were announced": state_dict(w=tensor(storage("0", 3), (2, 3), (3, 1))),
    "a start beyond the end": state_dict(w=tensor(storage("0", 6), (2, 3), (3, 1), start=1)),
    "a negative start": state_dict(w=tensor(storage("0", 6), (1, 1), (1, 1), start=-5)),
    "a negative size": state_dict(w=tensor(storage("0", 6), (-2, -3), (3, 1))),
    "columns first": state_dict(w=tensor(storage("0", 6), (2, 3), (1, 2))),
    "strides for another rank": state_dict(w=tensor(storage("0", 6), (2, 3), (3, 3, 1))),
    "a text as shape": state_dict(
        w=call(
            global_name("torch._utils", "_rebuild_tensor_v2"),
            storage("0", 6),
            number(0),
            text("ab"),
            text("ab"),
            b"\x89",
            ORDERED_DICT,
        )
    ),
    "a call of a storage type": b"\x80\x02" + call(global_name("torch", "HalfStorage"), number(1)) + b".",
    "deep nesting": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
    "nothing": b"",
    "no end": good()[:-1],
    "only an end": b".",
}


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("name", BAD)
def test_a_pickle_that_is_no_state_dict_is_refused(tmp_path: Path, name: str, write: Writer) -> None:
    with pytest.raises(UsageError, match="is not a usable weights file"):
        read_tensors(write(tmp_path / "x.bin", BAD[name]))


def test_after_all_of_these_the_reader_is_as_it_was(tmp_path: Path) -> None:
    for pickled in BAD.values():
        with contextlib.suppress(UsageError):
            read_tensors(write_zip(tmp_path / "bad.bin", pickled))
    assert list(read_tensors(write_zip(tmp_path / "good.bin", good()))) == ["w"]


def test_a_compressed_member_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.bin", good(), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UsageError, match="compressed"):
        read_tensors(path)


def test_two_archives_in_one_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.bin", good())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", good())
    with pytest.raises(UsageError, match="not a usable weights file"):
        read_tensors(path)


def test_a_file_of_a_big_endian_machine_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.bin", good())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(UsageError, match="big-endian"):
        read_tensors(path)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path / "x.bin", good())
    data = path.read_bytes()
    for length in range(0, len(data) - 1, 7):
        path.write_bytes(data[:length])
        with pytest.raises(UsageError):
            read_tensors(path)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damage_does_more_than_a_refusal(data: st.DataObject) -> None:
    write = data.draw(st.sampled_from([write_zip, write_legacy]))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "x.bin"), good())
        size_bytes = damage(path, data)
        with contextlib.suppress(UsageError):
            for place in read_tensors(path).values():
                assert 0 <= place.offset <= place.offset + place.size_bytes <= size_bytes


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_random_pickles_do_no_more_than_a_refusal(pickled: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(UsageError):
        read_tensors(write_zip(Path(folder, "x.bin"), b"\x80\x02" + pickled))


def test_a_legacy_file_whose_sizes_disagree_is_refused(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "x.bin", good())
    data = path.read_bytes()
    path.write_bytes(data[: -len(DATA) - 8] + struct.pack("<q", 5) + DATA)
    with pytest.raises(UsageError, match="5 values, 6 were announced"):
        read_tensors(path)
