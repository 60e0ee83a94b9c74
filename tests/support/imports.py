"""What compiled and source modules import, read without running them: every ``import``, wherever it stands."""

from __future__ import annotations

import ast
import struct
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BY_NAME = {"import_module", "__import__"}
"""Functions that import what a string says; in modules that name one, every string may be a module."""


@dataclass(frozen=True)
class Module:
    """A module and what it may import."""

    name: str
    imports: frozenset[str]
    """Full names; of ``from a import b`` both ``a`` and ``a.b``, for b may be a module."""
    strings: frozenset[str]
    """String constants, if the module imports by name."""


def modules_of_zip(path: Path) -> Iterator[Module]:
    """The modules of a zip of Python 3.10's .pyc files."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".pyc"):
                name, is_package = _module_name(member)
                yield _of_code(name, is_package, read_pyc(archive.read(member)))


def modules_of_folder(folder: Path) -> Iterator[Module]:
    """The .py files below ``folder``, which is on sys.path."""
    for path in folder.rglob("*.py"):
        name, is_package = _module_name(path.relative_to(folder).as_posix())
        imports: set[str] = set()
        strings, by_name = set(), False
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                imports |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
                imports |= set(_full_names(name, is_package, node.module or "", node.level, names))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                strings.add(node.value)
            by_name |= getattr(node, "attr", getattr(node, "id", "")) in BY_NAME
        yield Module(name, frozenset(imports), frozenset(strings if by_name else ()))


def _module_name(path: str) -> tuple[str, bool]:
    name = path.rpartition(".")[0].replace("/", ".")
    return name.removesuffix(".__init__"), name.endswith(".__init__")


def _full_names(module: str, is_package: bool, name: str, level: int, imported: Iterable[str]) -> Iterator[str]:
    if level:
        parts = module.split(".")
        base = parts[: len(parts) - level + is_package]
        name = ".".join([*base, *([name] if name else [])])
    yield name
    yield from (f"{name}.{item}" for item in imported if item != "*")


# Compiled modules. The tests' own Python cannot read those of another one, and the library xdis (6.3.0) stumbles over
# negative numbers. Source: Python/marshal.c and Lib/opcode.py of CPython 3.10.


@dataclass
class Code:
    """What matters here of a compiled piece of a module."""

    instructions: bytes = b""
    constants: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()


_EXTENDED_ARG, _LOAD_CONST, _IMPORT_NAME = 144, 100, 108


def _of_code(name: str, is_package: bool, code: Code) -> Module:
    imports: set[str] = set()
    strings: set[str] = set()
    by_name = False
    todo = [code]
    while todo:
        part = todo.pop()
        by_name |= not BY_NAME.isdisjoint(part.names)
        todo += [constant for constant in part.constants if isinstance(constant, Code)]
        strings |= {constant for constant in part.constants if isinstance(constant, str)}
        steps = list(_steps(part.instructions))
        for (_, level), (_, names), (operation, argument) in zip(steps, steps[1:], steps[2:], strict=False):
            if operation == _IMPORT_NAME:
                imported = part.constants[names] or ()
                imports |= set(_full_names(name, is_package, part.names[argument], part.constants[level], imported))
    return Module(name, frozenset(imports), frozenset(strings if by_name else ()))


def _steps(instructions: bytes) -> Iterator[tuple[int, int]]:
    """(operation, argument), the latter put together where it is longer than a byte."""
    high = 0
    for operation, low in zip(instructions[::2], instructions[1::2], strict=True):
        argument = high | low
        high = argument << 8 if operation == _EXTENDED_ARG else 0
        if operation != _EXTENDED_ARG:
            yield operation, argument


def read_pyc(data: bytes) -> Code:
    """The module in the bytes of a .pyc file."""
    code = _Marshal(data[16:]).value()
    assert isinstance(code, Code)
    return code


class _Marshal:
    """Reads values as Python 3.10 writes them."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._known: list[Any] = []

    def value(self) -> Any:
        kind = self._unpack("B")
        slot = len(self._known)
        if kind & 0x80:  # later values point to this one
            self._known.append(None)
        value = self._read(chr(kind & 0x7F))
        if kind & 0x80:
            self._known[slot] = value
        return value

    def _read(self, kind: str) -> Any:
        if kind in _SINGLE:
            return _SINGLE[kind]
        if kind in _SIZES:
            return self._take(_SIZES[kind])
        if kind in _TEXTS:
            return self._take(self._unpack(_TEXTS[kind])).decode("utf-8", "surrogatepass")
        if kind in _LISTS:
            return tuple(self.value() for _ in range(self._unpack(_LISTS[kind])))
        if kind == "r":
            return self._known[self._unpack("I")]
        if kind == "i":
            return self._unpack("i")
        if kind == "s":
            return self._take(self._unpack("I"))
        if kind == "l":
            return self._take(2 * abs(self._unpack("i")))  # a large number: nobody imports one
        if kind == "c":
            self._take(24)  # counts of arguments and variables, size of the stack, flags
            code = Code(self.value(), self.value(), self.value())
            for _ in range(5):  # names of variables, of the file and of the function
                self.value()
            self._take(4)
            self.value()  # table of lines
            return code
        raise AssertionError(f"marshal writes no {kind!r}")

    def _take(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def _unpack(self, form: str) -> int:
        return int(struct.unpack("<" + form, self._take(struct.calcsize("<" + form)))[0])


_SINGLE = {"N": None, "T": True, "F": False, "S": StopIteration, ".": ...}
_SIZES = {"g": 8, "y": 16}
"""Numbers that nobody imports, in bytes."""
_TEXTS = {"a": "I", "A": "I", "u": "I", "t": "I", "z": "B", "Z": "B"}
_LISTS = {"(": "I", "[": "I", "<": "I", ">": "I", ")": "B"}
