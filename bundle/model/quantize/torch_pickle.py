"""Reading where the tensors of a pytorch_model*.bin file lie, without torch and without running anything in it.

``torch.save`` writes a pickle that describes tensors and refers to their storages by key. A pickle is a program:
this reader lets it name only the few things a state dict needs, builds plain descriptions for them (tuples and
objects without attributes: a pickle may also assign), and refuses everything else before it could be called.

Two containers are read: the zip of torch >= 1.6 (data.pkl and one stored member per storage) and the older
one-stream form (four pickles, the list of keys, then each storage).
Source: torch/serialization.py
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bundle.model.quantize.floats import STORED_BYTES
from bundle.model.quantize.stored import StoredTensor, damaged

MAX_PICKLE_BYTES = 64 << 20
"""A state dict's description takes some hundred bytes per tensor; a larger one is not a state dict."""

MAX_MEMO = 1 << 22
"""Objects a pickle may number for later use; the unpickler allocates as many slots as the highest number says."""

_OPCODES = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS "
    "BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID"
)
"""All that torch.save has used for a state dict since protocol 2."""

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

_STORAGES = {
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "FloatStorage": "F32",
    "CharStorage": "I8",
    # Known to exist in checkpoints, never weights: position tables, masks, scratch.
    "DoubleStorage": "F64",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
_OTHER_BYTES = {"F64": 8, "I64": 8, "I32": 4, "I16": 2, "U8": 1, "BOOL": 1}


class _StorageType(NamedTuple):
    """What ``torch.HalfStorage`` and its like stand for."""

    stored: str


class _Storage(NamedTuple):
    """A storage the pickle refers to: ``key`` of the container, ``values`` numbers of type ``stored``."""

    key: str
    stored: str
    values: int


class _Tensor(NamedTuple):
    """A view of a storage; ``start`` and ``stride`` count values."""

    storage: _Storage
    start: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _RefusedError(Exception):
    """The pickle asked for something a state dict does not need."""


class _RebuildTensor:
    """Stands for torch._utils._rebuild_tensor_v2. Like its neighbours it has no attribute a pickle could set."""

    __slots__ = ()

    def __call__(self, storage: Any, start: Any, shape: Any, stride: Any, *_: Any) -> _Tensor:
        numbers = (start, *shape, *stride)
        if len(shape) != len(stride) or not isinstance(storage, _Storage):
            raise _RefusedError("it holds a tensor that makes no sense")
        if any(type(number) is not int or number < 0 for number in numbers):
            raise _RefusedError("it holds a tensor with impossible numbers")
        return _Tensor(storage, start, tuple(shape), tuple(stride))


class _RebuildParameter:
    """Stands for torch._utils._rebuild_parameter: a parameter is its tensor."""

    __slots__ = ()

    def __call__(self, data: Any, *_: Any) -> Any:
        return data


class _MakeStateDict:
    """Stands for collections.OrderedDict, whose attribute ``_metadata`` torch also writes."""

    __slots__ = ()

    def __call__(self) -> _StateDict:
        return _StateDict()


class _StateDict(dict):  # type: ignore[type-arg]
    """Takes a state dict's items and forgets its attributes."""

    def __setstate__(self, state: Any) -> None:
        """Called for the attributes."""


_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _MakeStateDict(),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_tensor"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
    **{("torch", name): _StorageType(stored) for name, stored in _STORAGES.items()},
}


class _Unpickler(pickle.Unpickler):
    """Builds descriptions of tensors; anything else a pickle can ask for raises _RefusedError."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _RefusedError(f"it wants to use {module}.{name}, which is code") from None

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage of ("storage", type, key, device, number of values[, view])."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], _StorageType):
            raise _RefusedError("it refers to something that is not a storage")
        if len(pid) > 5 and pid[5] is not None:
            raise _RefusedError("it uses views of storages, which torch stopped writing in 2017")
        if type(pid[4]) is not int or pid[4] < 0:
            raise _RefusedError("a storage with an impossible size")
        return _Storage(str(pid[2]), pid[1].stored, pid[4])


def read_tensors(file: Path) -> dict[str, StoredTensor]:
    """Return name -> place of every tensor in ``file`` whose type can be weights.

    Raises UsageError for a file that is damaged, not a state dict, or that carries code; none of it is run.
    """
    try:
        if zipfile.is_zipfile(file):
            state, places = _read_zip(file)
        else:
            state, places = _read_legacy(file)
    except _RefusedError as error:
        raise damaged(file, f"{error}; a weights file needs no such thing, nothing of it was run") from error
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        AttributeError,
        EOFError,
        ImportError,
        IndexError,
        KeyError,
        MemoryError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
        struct.error,
        NotImplementedError,
    ) as error:
        raise damaged(file, f"it is cut off or damaged ({type(error).__name__}: {error})") from error
    return _placed(file, state, places)


_Places = Callable[[_Storage], "tuple[int, int]"]
"""Storage -> (offset in the file, size in bytes)."""


def _check_program(stream: BinaryIO) -> None:
    """Walk through the pickle at ``stream``'s position without running it, and leave the position as it was.

    Raises _RefusedError for an instruction or a size that no state dict needs.
    """
    start = stream.tell()
    known = set(_OPCODES.split())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pickletools warns about odd text of instructions that are refused anyway
        for opcode, argument, position in pickletools.genops(stream):
            if opcode.name not in known:
                raise _RefusedError(f"its description of the tensors uses the instruction {opcode.name}")
            if isinstance(argument, int) and opcode.name == "LONG_BINPUT" and argument > MAX_MEMO:
                raise _RefusedError("its description of the tensors would take all memory")
            if position is not None and position - start > MAX_PICKLE_BYTES:
                raise _RefusedError("its description of the tensors is far too long")
    stream.seek(start)


def _load(stream: BinaryIO) -> Any:
    """Unpickle the next object of ``stream``."""
    _check_program(stream)
    return _Unpickler(stream).load()


def _read_zip(file: Path) -> tuple[Any, _Places]:
    members: dict[str, tuple[int, int]] = {}
    with zipfile.ZipFile(file) as archive, file.open("rb") as stream:
        (root,) = {
            info.filename[: -len("data.pkl")] for info in archive.infolist() if info.filename.endswith("/data.pkl")
        }
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise _RefusedError(f"its member {info.filename} is compressed, torch never does that")
            if info.header_offset < 0:
                raise zipfile.BadZipFile("its list of members points before the beginning")
            members[info.filename] = (_data_offset(stream, info), info.file_size)
        if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
            raise _RefusedError("it was written on a big-endian machine")
        if archive.getinfo(f"{root}data.pkl").file_size > MAX_PICKLE_BYTES:
            raise _RefusedError("its description of the tensors is far too long")
        state = _load(io.BytesIO(archive.read(f"{root}data.pkl")))
    return state, lambda storage: members[f"{root}data/{storage.key}"]


def _data_offset(stream: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Return where the member's data begin: the local header's own lengths count, torch pads them to 64."""
    stream.seek(info.header_offset + 26)
    name_bytes, extra_bytes = struct.unpack("<HH", stream.read(4))
    return info.header_offset + 30 + int(name_bytes) + int(extra_bytes)


def _read_legacy(file: Path) -> tuple[Any, _Places]:
    with file.open("rb") as stream:
        if stream.read(1) != b"\x80":
            raise _RefusedError("it does not begin like a file of torch.save")
        stream.seek(0)
        if _load(stream) != _LEGACY_MAGIC or _load(stream) != _LEGACY_PROTOCOL:
            raise _RefusedError("it is a pickle, but not a file of torch.save")
        if not _load(stream).get("little_endian"):
            raise _RefusedError("it was written on a big-endian machine")
        _check_program(stream)
        unpickler = _Remembering(stream)
        state = unpickler.load()
        offsets: dict[str, tuple[int, int]] = {}
        for key in _load(stream):
            storage = unpickler.storages[str(key)]
            (values,) = struct.unpack("<q", stream.read(8))
            if values != storage.values:
                raise _RefusedError(f"storage {key} has {values} values, {storage.values} were announced")
            offsets[storage.key] = (stream.tell(), values * _bytes_per_value(storage))
            stream.seek(offsets[storage.key][1], 1)
    return state, lambda storage: offsets[storage.key]


class _Remembering(_Unpickler):
    """Keeps the storages by key: in the older form their sizes are needed to find the next one."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self.storages: dict[str, _Storage] = {}

    def persistent_load(self, pid: Any) -> _Storage:
        storage = super().persistent_load(pid)
        self.storages[storage.key] = storage
        return storage


def _bytes_per_value(storage: _Storage) -> int:
    return {**STORED_BYTES, **_OTHER_BYTES}[storage.stored]


def _placed(file: Path, state: Any, places: _Places) -> dict[str, StoredTensor]:
    """Return the tensors of ``state`` with their places, checked to lie inside their storages and the file."""
    if not isinstance(state, dict):
        raise damaged(file, "it holds no state dict (name -> tensor)")
    size_bytes = file.stat().st_size
    found = {}
    for name, tensor in state.items():
        if not isinstance(tensor, _Tensor) or tensor.storage.stored not in STORED_BYTES:
            continue
        try:
            offset, storage_bytes = places(tensor.storage)
        except KeyError as error:
            raise damaged(file, f"the data of {name!r} are missing") from error
        width = _bytes_per_value(tensor.storage)
        values = 1
        for rows, stride in zip(reversed(tensor.shape), reversed(tensor.stride), strict=True):
            if rows > 1 and stride != values:
                raise damaged(file, f"{name!r} is not stored row by row (strides {list(tensor.stride)})")
            values *= rows
        place = StoredTensor(str(name), file, offset + tensor.start * width, tensor.storage.stored, tensor.shape)
        outside = tensor.start * width + place.size_bytes > min(storage_bytes, tensor.storage.values * width)
        if outside or offset + storage_bytes > size_bytes:
            raise damaged(file, f"{name!r} lies outside the file: it is cut off or damaged ({size_bytes} bytes)")
        found[place.name] = place
    return found
