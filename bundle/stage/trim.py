"""Leave out of a bundle what the recipe names, each with its reason."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from bundle.errors import UsageError
from bundle.recipe.recipe import Trim
from bundle.stage.python import restore_uncompressed
from bundle.windows.names import member_problem
from oneclick.update.integrity import file_sha256


@dataclass(frozen=True)
class TrimmedZip:
    """A zip of which members were left out."""

    sha256: str
    """Digest of the zip with all its members, written as ``restore_uncompressed`` does."""
    members: list[str] = field(default_factory=list)
    """Names of those that are gone, sorted."""


@dataclass(frozen=True)
class Trimmed:
    """What was left out of a bundle."""

    files: list[str] = field(default_factory=list)
    """Names in the bundle, sorted."""
    zips: dict[str, TrimmedZip] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """What the manifest says, so that anybody can compare the rest with what its makers publish."""
        zips = {name: {"sha256": zipped.sha256, "without": zipped.members} for name, zipped in self.zips.items()}
        return {"files": self.files, "zips": zips}


def trim_tree(tree: Path, trims: Iterable[Trim]) -> Trimmed:
    """Delete what ``trims`` name: files of ``tree``, or members of zips in it.

    Raises UsageError for a glob that matches nothing: a file that moved would come back into the bundle unseen.
    """
    trimmed = Trimmed()
    gone: dict[Path, set[str]] = {}
    for trim in trims:
        if member_problem(trim.path.translate(_WITHOUT_GLOB)):
            raise _useless(trim.path, "it is no path inside the bundle")
        files = [path for path in tree.glob(trim.path) if path.is_file()]
        if not files:
            raise _useless(trim.path, "no file in the bundle has this name")
        for path in files:
            if trim.members:
                known = gone.setdefault(path, set())
                known |= _members(path, trim, known)
            else:
                path.unlink()
                trimmed.files.append(path.relative_to(tree).as_posix())
    for path, members in gone.items():
        trimmed.zips[path.relative_to(tree).as_posix()] = TrimmedZip(file_sha256(path), sorted(members))
        restore_uncompressed(path, leave_out=members)
    trimmed.files.sort()
    return trimmed


_WITHOUT_GLOB = str.maketrans("*?[]", "xxxx")


def _members(path: Path, trim: Trim, gone: set[str]) -> set[str]:
    """Return the members of the zip ``path`` that ``trim`` names; none of them may be in ``gone`` already."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist()) - gone
    except zipfile.BadZipFile:
        raise _useless(trim.path, "it is no zip, so it has no members") from None
    members: set[str] = set()
    for glob in trim.members:
        found = {name for name in names if fnmatchcase(name, glob)}
        if not found:
            raise _useless(f"{trim.path}/{glob}", "no member of the zip has this name")
        members |= found
    return members


def _useless(what: str, why: str) -> UsageError:
    return UsageError(f"the recipe trims {what!r}, which cannot be", why=why, do="correct or remove that [[trim]]")
