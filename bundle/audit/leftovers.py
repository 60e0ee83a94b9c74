"""Files that no user needs: debug symbols, tests, caches, installers."""

from __future__ import annotations

from collections.abc import Iterator

from bundle.audit.findings import AuditExpectations, Finding, Tree
from oneclick.folder import CHATS

_FOLDERS = {
    "__pycache__": "a cache of the building Python",
    "tests": "tests",
    "test": "tests",
    ".git": "a repository",
    "scripts": "launchers that carry paths of the building machine",
    "pip": "pip, whose ARM launchers break extraction in some tools",
    ".pytest_cache": "a cache",
    ".mypy_cache": "a cache",
    CHATS: "somebody's conversations",
}
_SUFFIXES = {
    ".pdb": "debug symbols",
    ".pyc": "a cache of the building Python",
    ".lib": "an import library",
    ".ilk": "a linker's notes",
    ".part": "half a file",
    ".orig": "a file before a patch",
    ".rej": "a patch that failed",
    ".whl": "a wheel that was not unpacked",
}
_PYTHON_PACKAGE_DATA = ("app/oneclick/web/vendor/",)


def check_leftovers(tree: Tree, expected: AuditExpectations) -> Iterator[Finding]:
    """Name what should have been removed, one finding for a folder."""
    named: set[str] = set()
    for folder in tree.folders:
        kind = _FOLDERS.get(folder.rsplit("/", 1)[-1].lower())
        if kind and not folder.startswith(_PYTHON_PACKAGE_DATA):
            named.add(folder)
            yield Finding(path=folder, rule="leftovers", what=f"it is {kind}", do="leave it out when staging")
    for name in tree.files:
        kind = next((kind for suffix, kind in _SUFFIXES.items() if name.lower().endswith(suffix)), None)
        inside = any(name.startswith(f"{folder}/") for folder in named)
        if kind and not inside and not name.startswith(f"{expected.python_folder}/"):
            yield Finding(path=name, rule="leftovers", what=f"it is {kind}", do="leave it out when staging")
