"""Every call of Windows in the payload against Microsoft's metadata: what it takes and gives, and its numbers.

``ctypes`` passes what it is not told about as a 32-bit number: half a handle, half a pointer. No test elsewhere than on
Windows sees that, and there it may work for years.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.windows_api import Kind, windows_metadata

PAYLOAD = Path(__file__).parents[2] / "payload" / "oneclick"
SOURCES = [path for path in sorted(PAYLOAD.rglob("*.py")) if "ctypes" in path.read_text("utf-8")]
LIBRARY = re.compile(r"\b(_?kernel32|library|_library|ntdll|windll|WinDLL|OleDLL|oledll)\b")
"""What a library is called in this code."""
FUNCTION = re.compile(r"[A-Z][a-z]\w+")

NAMES = {
    "i32": "c_int c_int32 c_long BOOL LONG",
    "u32": "c_uint c_uint32 c_ulong DWORD UINT ULONG",
    "u16": "c_uint16 c_ushort USHORT WORD",
    "i64": "c_int64",
    "u64": "c_uint64",
    "size": "c_size_t",
    "w16": "c_wchar",
    "*": "c_void_p",
    "*w16": "c_wchar_p LPCWSTR LPWSTR",
    "handle": "HANDLE",
    "void": "None",
}
KINDS: dict[str, Kind] = {name: kind for kind, names in NAMES.items() for name in names.split()}
STRUCTURES = {
    "_OsVersionInfo": "OSVERSIONINFOW",
    "_MemoryStatusEx": "MEMORYSTATUSEX",
    "_BasicLimits": "JOBOBJECT_BASIC_LIMIT_INFORMATION",
    "_ExtendedLimits": "JOBOBJECT_EXTENDED_LIMIT_INFORMATION",
    "ThrottlingState": "PROCESS_POWER_THROTTLING_STATE",
}
"""Our class -> what it is."""
CALLBACKS = {"on_event": "PHANDLER_ROUTINE"}


@dataclass
class Module:
    """What one file tells ctypes and asks of Windows."""

    tree: ast.Module
    names: dict[str, ast.expr] = field(default_factory=dict)
    """What stands for something else here: ``ask = kernel32.X``, ``pointer = ctypes.c_void_p``; in this scope."""
    results: dict[str, Kind] = field(default_factory=dict)
    parameters: dict[str, tuple[Kind, ...]] = field(default_factory=dict)
    calls: list[tuple[str, ast.Call]] = field(default_factory=list)

    def __post_init__(self) -> None:
        everywhere = dict(_names_in(_assignments(_nodes_of(self.tree))))
        for scope in ast.walk(self.tree):
            if isinstance(scope, (ast.Module, ast.FunctionDef)):
                nodes = list(_nodes_of(scope))
                self.names = {**everywhere, **dict(_names_in(_assignments(nodes)))}
                self._read(nodes)
        self.names = everywhere

    def _read(self, nodes: Sequence[ast.AST]) -> None:
        for target, value in _assignments(nodes):
            if isinstance(target, ast.Attribute) and target.attr == "restype":
                self.results[self._function(target.value)] = self.kind(value)
            elif isinstance(target, ast.Attribute) and target.attr == "argtypes":
                assert isinstance(value, (ast.List, ast.Tuple))
                self.parameters[self._function(target.value)] = tuple(self.kind(one) for one in value.elts)
        for node in nodes:
            if isinstance(node, ast.Call) and self._function(node.func):
                self.calls.append((self._function(node.func), node))

    def _function(self, called: ast.expr) -> str:
        """Return the name of the function of Windows that an expression is, empty where it is none."""
        if isinstance(called, ast.Name) and called.id in self.names:
            return self._function(self.names[called.id])
        if isinstance(called, ast.Call) and ast.unparse(called.func) == "getattr":
            asked, name = called.args[:2]
            is_one = isinstance(name, ast.Constant) and LIBRARY.search(ast.unparse(asked))
            return str(name.value) if is_one and isinstance(name, ast.Constant) else ""
        if isinstance(called, ast.Attribute) and FUNCTION.fullmatch(called.attr) and not LIBRARY.search(called.attr):
            return called.attr if LIBRARY.search(ast.unparse(called.value)) else ""
        return ""

    def kind(self, written: ast.expr) -> Kind:
        """Return what a type expression means on Windows, where this test does not run."""
        if isinstance(written, ast.Call):
            assert ast.unparse(written.func) == "ctypes.POINTER"
            return "*" + self.kind(written.args[0])
        name = ast.unparse(written).rpartition(".")[2]
        return KINDS[name] if name in KINDS else self.kind(self.names[name])


def _nodes_of(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a scope without those of the functions in it."""
    for node in ast.iter_child_nodes(scope):
        if not isinstance(node, ast.FunctionDef):
            yield node
            yield from _nodes_of(node)


def _assignments(nodes: Iterable[ast.AST]) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in nodes:
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                yield from zip(target.elts, node.value.elts, strict=True)
            else:
                yield target, node.value


def _names_in(assignments: Iterable[tuple[ast.expr, ast.expr]]) -> Iterator[tuple[str, ast.expr]]:
    for target, value in assignments:
        if isinstance(target, ast.Name):
            yield target.id, value


MODULES = {path.relative_to(PAYLOAD).as_posix(): Module(ast.parse(path.read_text("utf-8"))) for path in SOURCES}
CALLS = [(name, function, call) for name, module in MODULES.items() for function, call in module.calls]


def fits(ours: Kind, theirs: Kind) -> bool:
    """Tell whether a value declared as ``ours`` arrives as ``theirs``."""
    if theirs == "handle":
        return ours in ("handle", "*")
    return ours == theirs or (ours == "*" and theirs.startswith("*")) or (theirs == "*" and ours.startswith("*"))


def is_right_undeclared(kind: Kind, *, result: bool) -> bool:
    """Tell whether ctypes' own guess, a 32-bit number or a pointer where it is given an object, is right."""
    return kind in ("i32", "u32", "void") or (not result and kind.startswith("*"))


def test_the_calls_are_found() -> None:
    assert {"CreateFileW", "OpenProcess", "GetStdHandle", "IsWow64Process2", "SetProcessInformation"} <= {
        one for _, one, _ in CALLS
    }
    assert len(CALLS) >= 30


@pytest.mark.parametrize(("module", "function", "call"), CALLS, ids=[f"{one[0]}-{one[1]}" for one in CALLS])
def test_a_call_is_what_windows_takes(module: str, function: str, call: ast.Call) -> None:
    real = windows_metadata().function(function)
    assert real is not None, "no such function"
    assert len(call.args) == len(real.parameters) and not call.keywords
    result, parameters = MODULES[module].results.get(function), MODULES[module].parameters.get(function)
    if result is None:
        assert is_right_undeclared(real.result, result=True), f"restype of {real.result} is not declared"
    else:
        assert fits(result, real.result)
    if parameters is None:
        assert all(is_right_undeclared(kind, result=False) for kind in real.parameters), (
            f"argtypes of {real.parameters}"
        )
    else:
        assert len(parameters) == len(real.parameters)
        assert [pair for pair in zip(parameters, real.parameters, strict=True) if not fits(*pair)] == []


def fields_of(definition: ast.ClassDef, module: Module) -> list[Kind]:
    """Return the kinds of the fields of one of our structures."""
    (listed,) = (line.value for line in definition.body if isinstance(line, ast.Assign))
    kinds: list[Kind] = []
    for pair in ast.literal_eval(re.sub(r", (ctypes\.[\w* .]+|_\w+)\)", r", '\1')", ast.unparse(listed))):
        name, _, count = pair[1].partition(" * ")
        inner = [node for node in module.tree.body if isinstance(node, ast.ClassDef) and node.name == name]
        kinds += (fields_of(inner[0], module) if inner else [KINDS[name.rpartition(".")[2]]]) * int(count or 1)
    return kinds


def test_every_structure_is_laid_out_as_windows_has_it() -> None:
    found = {
        node.name: fields_of(node, module)
        for module in MODULES.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "ctypes.Structure" for base in node.bases)
    }
    assert found == {name: windows_metadata().structure(STRUCTURES[name]) for name in found}
    assert found.keys() == STRUCTURES.keys()


def test_every_callback_is_what_windows_calls() -> None:
    found = {}
    for module in MODULES.values():
        for node in ast.walk(module.tree):
            for made in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                if isinstance(made, ast.Call) and ast.unparse(made.func) == "ctypes.WINFUNCTYPE":
                    found[node.name] = [module.kind(one) for one in made.args]
    wanted = {name: windows_metadata().function(CALLBACKS[name]) for name in found}
    assert found == {name: [real.result, *real.parameters] for name, real in wanted.items() if real}
    assert found.keys() == CALLBACKS.keys()


def test_every_number_that_has_windows_name_has_its_value() -> None:
    compared = 0
    for name, module in MODULES.items():
        for constant, written in module.names.items():
            try:
                value = ast.literal_eval(written)
            except ValueError:
                continue
            real = windows_metadata().constant(constant) if constant.isupper() and isinstance(value, int) else None
            if real is not None:
                compared += 1
                assert value % 2**32 == real % 2**32, f"{constant} in {name}"
    assert compared >= 12
