"""Leave out of a bundle what the recipe names, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bundle.errors import UsageError
from bundle.names import member_problem
from bundle.recipe import Trim


def trim_tree(tree: Path, trims: Iterable[Trim]) -> list[str]:
    """Delete the files of ``tree`` that ``trims`` name; return their names, sorted.

    Raises UsageError for a glob that matches nothing: a file that moved would come back into the bundle unseen.
    """
    removed = []
    for trim in trims:
        if member_problem(trim.path.replace("*", "x").replace("?", "x").replace("[", "x").replace("]", "x")):
            raise _useless(trim, "it is no path inside the bundle")
        files = [path for path in tree.glob(trim.path) if path.is_file()]
        if not files:
            raise _useless(trim, "no file in the bundle has this name")
        for path in files:
            path.unlink()
            removed.append(path.relative_to(tree).as_posix())
    return sorted(removed)


def _useless(trim: Trim, why: str) -> UsageError:
    return UsageError(f"the recipe trims {trim.path!r}, which cannot be", why=why, do="correct or remove that [[trim]]")
