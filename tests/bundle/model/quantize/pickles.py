"""Hand-made files of torch.save, good and bad: instructions are written one by one, torch is not needed."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def global_name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_of(*arguments) + b"R"


ORDERED_DICT = global_name("collections", "OrderedDict") + b")R"


def storage(key: str, values: int, kind: str = "HalfStorage") -> bytes:
    pid = tuple_of(text("storage"), global_name("torch", kind), text(key), text("cpu"), number(values))
    return pid + b"Q"


def tensor(place: bytes, shape: tuple[int, ...], stride: tuple[int, ...], start: int = 0) -> bytes:
    return call(
        global_name("torch._utils", "_rebuild_tensor_v2"),
        place,
        number(start),
        tuple_of(*map(number, shape)),
        tuple_of(*map(number, stride)),
        b"\x89",
        ORDERED_DICT,
    )


def state_dict(**tensors: bytes) -> bytes:
    items = b"".join(text(name) + place for name, place in tensors.items())
    return b"\x80\x02" + ORDERED_DICT + b"(" + items + b"u."


def good() -> bytes:
    """Return the pickle of one matrix ``w`` of 2 x 3 halves in storage 0."""
    return state_dict(w=tensor(storage("0", 6), (2, 3), (3, 1)))


DATA = np.arange(6, dtype="<f2").tobytes()


def write_zip(path: Path, pickled: bytes, *, data: bytes = DATA, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", data)
        archive.writestr("archive/version", "3\n")
    return path


def write_legacy(path: Path, pickled: bytes, *, data: bytes = DATA) -> Path:
    magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    protocol = b"\x80\x02M\xe9\x03."
    system = b"\x80\x02}" + text("little_endian") + b"\x88s."
    keys = b"\x80\x02](" + text("0") + b"e."
    path.write_bytes(magic + protocol + system + pickled + keys + struct.pack("<q", len(data) // 2) + data)
    return path
