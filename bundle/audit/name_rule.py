"""Names that Windows cannot hold, that clash, or that are too long to be extracted somewhere deep."""

from __future__ import annotations

from collections.abc import Iterator

from bundle.audit.findings import AuditExpectations, Finding, Tree
from bundle.windows.names import member_problem, windows_key

WINDOWS_MAX_PATH = 259
"""Characters of a path that every Windows program takes (MAX_PATH without its closing NUL).
Source: https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation"""


def check_names(tree: Tree, _: AuditExpectations) -> Iterator[Finding]:
    """Reserved names, forbidden characters, trailing dots, links, and two names for one file."""
    seen: dict[str, str] = {}
    for name in sorted({*tree.files, *tree.folders}):
        problem = member_problem(name)
        if problem is not None:
            yield Finding(path=name, rule="names", what=problem, do="rename it where it is staged")
        if tree.path(name).is_symlink():
            yield Finding(path=name, rule="names", what="it is a link", do="copy the file instead")
        other = seen.setdefault(windows_key(name), name)
        if other != name:
            what = f"on Windows it is the same as {other}"
            yield Finding(path=name, rule="names", what=what, do="rename one of the two")


def check_length(tree: Tree, expected: AuditExpectations) -> Iterator[Finding]:
    """Names longer than the budget."""
    for name in tree.files:
        if len(name) > expected.max_path:
            what = f"its name has {len(name)} characters, the budget is {expected.max_path}"
            yield Finding(path=name, rule="length", what=what, do="trim it in the recipe, or shorten it")


def folder_budget(longest: int, root_name: str) -> int:
    """Characters of the deepest folder a bundle can be extracted into.

    longest: characters of the longest name inside; root_name: the bundle's own folder.
    """
    return WINDOWS_MAX_PATH - longest - len(root_name) - 2  # a backslash before and after the bundle's folder


def longest_name(tree: Tree) -> int:
    """Characters of the longest file name inside ``tree``."""
    return max((len(name) for name in tree.files), default=0)
