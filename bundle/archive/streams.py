"""What of a tree goes into which stream of the archive, and how each stream is compressed."""

from __future__ import annotations

import lzma
import os
import posixpath
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.archive import sevenzip
from bundle.errors import UsageError
from bundle.windows.names import NameSet, member_problem


@dataclass(frozen=True, kw_only=True)
class TreeFile:
    """A file of the tree that becomes a member."""

    name: str
    """Inside the root folder."""
    path: Path
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """Files that share a packed stream."""

    files: tuple[TreeFile, ...]
    filters: Sequence[dict[str, Any]]

    @property
    def is_stored(self) -> bool:
        return self.filters is sevenzip.COPY

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def list_tree(tree: Path) -> tuple[list[TreeFile], list[str]]:
    """All files of ``tree`` sorted by name, and the folders in it that are empty."""
    files: list[TreeFile] = []
    empty: list[str] = []
    names = NameSet()
    for folder, subfolders, file_names in os.walk(tree, onerror=_raise):
        inside = Path(folder).relative_to(tree)
        if not subfolders and not file_names and inside.parts:
            empty.append(inside.as_posix())
        for file_name in [*file_names, *subfolders]:
            path = Path(folder) / file_name
            name = (inside / file_name).as_posix()
            status = path.lstat()
            is_folder = stat.S_ISDIR(status.st_mode)
            if not is_folder and not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{name} cannot be packed", why="it is a link or a device", do="remove it")
            problem = member_problem(name) or names.add(name, is_folder=is_folder)
            if problem is not None:
                raise UsageError(f"{name!r} cannot be packed", why=problem, do="rename or remove it")
            if not is_folder:
                files.append(TreeFile(name=name, path=path, size_bytes=status.st_size))
    if not files:
        raise UsageError(f"{tree} holds no files", why="there is nothing to pack", do="check the staging folder")
    return sorted(files, key=lambda file: file.name), sorted(empty)


def _raise(error: OSError) -> None:
    raise error


def plan_parts(files: Sequence[TreeFile], stored: Collection[str]) -> list[Part]:
    """Divide ``files`` into streams, by nothing but their names and sizes; stored ones come last.

    Streams are what several cores work on at once, so their number must not depend on the cores. Files that have
    nothing in common lose nothing by being apart: the engine and its libraries (GCC and LLVM made them) go together,
    other programs (Microsoft's compiler made most) and texts too, each sorted so that similar files meet. For the
    default bundle the first takes one core as long as the other two take a second one.
    """
    unknown = sorted(set(stored) - {file.name for file in files})
    if unknown:
        raise UsageError(f"{unknown[0]} is not in the tree", why="it was to be stored", do="check its name")
    packed = [file for file in files if file.name not in stored]
    programs = [file for file in packed if _suffix(file) in _PROGRAMS | _TABLES]
    engine = [file for file in programs if file.name.startswith(_ENGINE)]
    if sum(file.size_bytes for file in engine) < _LARGE_BYTES:
        engine = []
    others = sorted(set(programs) - set(engine), key=_among_programs)
    texts = [file for file in packed if _suffix(file) not in _PROGRAMS | _TABLES]
    engine.sort(key=lambda file: (-file.size_bytes, file.name))
    texts.sort(key=lambda file: (_suffix(file), file.name))
    return [
        *(Part(files=part, filters=_ENGINE_CODE) for part in _cut(engine)),
        *(Part(files=part, filters=_CODE) for part in _cut(others)),
        *(Part(files=part, filters=_TEXT) for part in _cut(texts)),
        *(Part(files=(file,), filters=sevenzip.COPY) for file in files if file.name in stored),
    ]


def _among_programs(file: TreeFile) -> tuple[bool, str, str, str]:
    """Sort key: programs by kind and name, tables behind them."""
    return _suffix(file) in _TABLES, _suffix(file), posixpath.basename(file.name), file.name


def _suffix(file: TreeFile) -> str:
    return posixpath.splitext(file.name)[1].lower()


def _cut(files: Sequence[TreeFile]) -> Iterator[tuple[TreeFile, ...]]:
    """Cut ``files`` into runs of at most ``_PART_BYTES``, or of one file."""
    part: list[TreeFile] = []
    size_bytes = 0
    for file in files:
        if part and size_bytes + file.size_bytes > _PART_BYTES:
            yield tuple(part)
            part, size_bytes = [], 0
        part.append(file)
        size_bytes += file.size_bytes
    if part:
        yield tuple(part)


_ENGINE = "app/engine/"
_PROGRAMS = {".exe", ".dll", ".pyd"}
_TABLES = {".bin", ".cat"}
"""What shares bytes with programs: tables that are compiled in as well, certificates of signatures."""
_LARGE_BYTES = 16 << 20
"""An engine without OpenBLAS is too small for a stream of its own."""
_PART_BYTES = 40 << 20
_DICTIONARY_BYTES = 12 << 20
"""A compressor takes 12 times as much memory, and one runs per core: with 16 MiB a build on two cores needs 547 MB,
with 12 MiB 441 MB (bench/build.py --quick)."""
_TEXT_DICTIONARY_BYTES = 8 << 20
"""As large as all texts of the default bundle: more would gain no byte."""


def _lzma2(**settings: int) -> dict[str, Any]:
    extreme = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": _DICTIONARY_BYTES}
    return {**extreme, **settings}


# Measured on the default bundle (50 MB, docs/PERFORMANCE.md): a search depth of 32 takes a third less time than the
# preset's 512 for 0.1 % more; nice_len 80 half as long as 273 for 0.03 % more, which programs get back at 96. pb=0 and
# lc=4 save 0.6 % of OpenBLAS and 0.2 % of the texts; of other programs they cost 0.1 %.
_X86 = {"id": lzma.FILTER_X86}
_ENGINE_CODE = (_X86, _lzma2(nice_len=80, depth=32, lc=4, pb=0))
_CODE = (_X86, _lzma2(nice_len=96, depth=32))
_TEXT = (_lzma2(nice_len=80, depth=32, lc=4, pb=0, dict_size=_TEXT_DICTIONARY_BYTES),)
