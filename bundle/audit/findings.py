"""What the audit is told about a bundle, and what it says about one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundle.contents.component import Component

MAX_PATH_CHARACTERS = 120
"""Longest name inside the bundle's folder; leaves 138 characters for where people put it."""


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """One thing that must not be published."""

    path: str
    """Inside the bundle, with ``/``."""
    rule: str
    what: str
    do: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what} -> {self.do} [{self.rule}]"


@dataclass(frozen=True, kw_only=True)
class AuditExpectations:
    """What a bundle is meant to be. Paths are inside the bundle, with ``/``."""

    components: Sequence[Component] = ()
    """Everything that must have its licence in ``licenses/``."""
    engine_levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Folder -> instruction sets that binaries in it may use, such as ``app/engine/avx2 -> (avx, avx2, fma, f16c)``."""
    dll_folders: Sequence[str] = ("python", "app/engine/shared")
    """Folders Windows is told to look for DLLs in, beside the folder of the binary that needs one."""
    python_folder: str = "python"
    """Where the signed embeddable Python lies."""
    compiled_folders: Sequence[str] = ("app/engine",)
    """Folders with binaries that may have been made on this machine."""
    machine_names: Sequence[str] = ()
    """Paths, user and host names of the building machine; see leaks.names_of_this_machine."""
    models: Sequence[str] = ()
    """Packed models: gigabytes of numbers that are not searched; their digest is compared when they are packed."""
    max_path: int = MAX_PATH_CHARACTERS


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A staged bundle as the rules see it: listed once."""

    root: Path
    files: Sequence[str]
    """Names inside, sorted, with ``/``."""
    folders: Sequence[str]

    def path(self, name: str) -> Path:
        """Where the file ``name`` lies."""
        return self.root / name

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Files whose name ends in one of ``suffixes``, in any case."""
        return [name for name in self.files if name.lower().endswith(suffixes)]


def read_tree(root: Path) -> Tree:
    """List ``root``."""
    files: list[str] = []
    folders: list[str] = []
    for path in root.rglob("*"):
        (folders if path.is_dir() and not path.is_symlink() else files).append(path.relative_to(root).as_posix())
    return Tree(root=root, files=sorted(files), folders=sorted(folders))
