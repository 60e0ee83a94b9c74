"""The order of the folders: what may import what, how large a module and a function may become, and who is told."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

BUILDER = (
    *("errors", "log", "paths", "disk", "recipe", "windows", "archive", "fetch", "model"),
    *("engine", "engine.compile", "stage", "pin", "plan", "contents", "audit", "check"),
    *("assemble", "finished", "release", "cli"),
)
"""Rooms of ``bundle/``, lowest first: each may import those before it."""

PAYLOAD = (
    *("module_cache", "sizes", "messages", "errors", "files", "hashing", "folder", "masking", "logs", "stopping"),
    *("status", "pieces"),
    *(
        "settings",
        "settings_file",
        "remembered",
        "console",
        "course",
        "bundle_info",
        "download",
        "pc",
        "port",
        "engine",
        "model",
        "update",
    ),
    *(
        "server.api_errors",
        "server.events",
        "server.metrics",
        "server.strangers",
        "server.chat",
        "server.queue",
        "server.supervisor",
    ),
    *("server.runtime", "server.http", "server.chats", "server.api", "doors", "__main__"),
)
"""Rooms of ``payload/oneclick/``, lowest first."""

LONGEST_MODULE = 350
LONGEST_FUNCTION = 60
MOST_ARGUMENTS = 7


@dataclass(frozen=True)
class Program:
    """One of the two programs."""

    package: str
    folder: Path
    rooms: tuple[str, ...]

    def modules(self) -> Iterator[tuple[str, Path]]:
        """Yield (dotted name below the package, file); ``__init__`` stands for its folder."""
        for path in sorted(self.folder.rglob("*.py")):
            parts = path.relative_to(self.folder).with_suffix("").parts
            if "web" not in parts:
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path

    def room(self, module: str) -> str | None:
        """Return the room that the module is in; None for the package itself."""
        parts = module.split(".")
        for length in range(len(parts), 0, -1):
            name = ".".join(parts[:length])
            if name in self.rooms:
                return name
        return None

    def imports(self, path: Path) -> Iterator[str]:
        """Yield the modules of this program that the file at ``path`` imports, also inside functions."""
        known = {name for name, _ in self.modules()}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == self.package:
                base = node.module.partition(".")[2]
                for alias in node.names:
                    full = f"{base}.{alias.name}".lstrip(".")
                    yield full if full in known else base


PROGRAMS = [
    Program("bundle", ROOT / "bundle", BUILDER),
    Program("oneclick", ROOT / "payload" / "oneclick", PAYLOAD),
]
SOURCES = [(program, name, path) for program in PROGRAMS for name, path in program.modules()]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.package)
def test_every_module_has_a_room_and_every_room_exists(program: Program) -> None:
    rooms = {program.room(name) for name, path in program.modules() if path.name != "__init__.py"}
    assert rooms == set(program.rooms)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.package)
def test_imports_lead_down(program: Program) -> None:
    """So there is no circle between rooms either."""
    upward = []
    for name, path in program.modules():
        own = program.room(name)
        for target in program.imports(path):
            room = program.room(target)
            if own and room and program.rooms.index(room) > program.rooms.index(own):
                upward.append(f"{name} imports {target}")
    assert upward == []


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.package)
def test_no_two_modules_import_each_other(program: Program) -> None:
    arrows = {name: set(program.imports(path)) - {name} for name, path in program.modules()}
    reached = {name: set(targets) for name, targets in arrows.items()}
    for _ in arrows:
        for targets in reached.values():
            targets |= {further for target in list(targets) for further in arrows.get(target, ())}
    assert sorted(name for name, targets in reached.items() if name and name in targets) == []


def test_the_payload_never_imports_the_builder() -> None:
    words = re.compile(r"^\s*(from|import) (bundle|tests)\b", re.MULTILINE)
    assert [
        path for program, _, path in SOURCES if program.package == "oneclick" and words.search(path.read_text("utf-8"))
    ] == []


def test_every_rename_waits_for_scanners() -> None:
    """One function renames; who needs a failure of its own calls ``patiently``."""
    own_way = {
        "files.py",  # the function
        "module_cache.py",  # imports nothing of ours; a cache that is not written costs a slower start
    }
    impatient = []
    for _, _, path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        patient = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "patiently"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node not in patient:
                is_rename = node.func.attr == "rename" or ast.unparse(node.func) == "os.replace"
                is_path_replace = node.func.attr == "replace" and len(node.args) == 1 and not node.keywords
                if (is_rename or is_path_replace) and path.name not in own_way:
                    impatient.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert impatient == []


def test_no_module_is_longer_than_a_person_reads_at_once() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for _, _, path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_functions_are_short_and_take_few_arguments() -> None:
    large = []
    for _, name, path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not _is_command(node):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                positional = [
                    one.arg for one in (*node.args.posonlyargs, *node.args.args) if one.arg not in ("self", "cls")
                ]
                if length > LONGEST_FUNCTION or len(positional) > MOST_ARGUMENTS:
                    large.append(f"{name}.{node.name}: {length} lines, {len(positional)} arguments")
    assert large == []


def _is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether it is a command of the builder, whose arguments are its options."""
    return any("click.command" in ast.unparse(decorator) for decorator in function.decorator_list)


def test_contributing_names_every_room_and_no_other() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    told = set(
        re.findall(r"^\| `((?:bundle|payload/oneclick|tests|bench|docs|recipes|templates)/[^`]*)`", table, re.MULTILINE)
    )
    for folder in told:
        assert (ROOT / folder).is_dir(), folder
    folders = {path for base in ("bundle", "payload/oneclick") for path in (ROOT / base).iterdir() if path.is_dir()}
    wanted = {f"{path.relative_to(ROOT).as_posix()}/" for path in folders if path.name != "__pycache__"}
    assert sorted(wanted - told) == []
