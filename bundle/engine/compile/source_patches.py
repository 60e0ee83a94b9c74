"""Our changes to the engine's source: unified diffs under patches/<version>/, applied strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import BundleError

FOLDER = Path(__file__).with_name("patches")
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """One replaced run of lines; ``line`` is where the old ones are expected, from 1."""

    line: int
    old: tuple[str, ...]
    new: tuple[str, ...]


def patch_files(version: str) -> list[Path]:
    """The patches of ``version``, in the order they apply."""
    return sorted((FOLDER / version).glob("*.patch"))


def read_patch(patch: Path) -> dict[str, list[Hunk]]:
    """Hunks of each file in ``patch`` (path relative to the source's top folder -> hunks)."""
    changes: dict[str, list[Hunk]] = {}
    hunks: list[Hunk] | None = None
    line, old, new = 0, [], []  # type: int, list[str], list[str]

    def close() -> None:
        if hunks is not None and (old or new):
            hunks.append(Hunk(line=line, old=tuple(old), new=tuple(new)))
        old.clear()
        new.clear()

    for text in patch.read_text(encoding="utf-8").splitlines():
        if text.startswith("--- "):
            close()
            hunks = None
        elif text.startswith("+++ b/"):
            name = text.removeprefix("+++ b/").split("\t")[0]
            hunks = changes.setdefault(name, [])
        elif hunks is not None and (match := _HUNK.match(text)):
            close()
            line = int(match.group(1))
        elif hunks is not None and text[:1] in (" ", "-", "+", ""):
            if text[:1] != "+":
                old.append(text[1:])
            if text[:1] != "-":
                new.append(text[1:])
    close()
    return changes


def apply_patch(patch: Path, source: Path) -> None:
    """Change the files under ``source`` as ``patch`` says; raises when any line is not as the patch expects."""
    for name, hunks in read_patch(patch).items():
        path = source / name
        if not path.is_file():
            raise _mismatch(patch, name, "the file does not exist")
        lines = path.read_text(encoding="utf-8").splitlines()
        shift = 0
        for hunk in hunks:
            start = hunk.line - 1 + shift
            if tuple(lines[start : start + len(hunk.old)]) != hunk.old:
                raise _mismatch(patch, name, f"line {hunk.line} is not what the patch replaces")
            lines[start : start + len(hunk.old)] = hunk.new
            shift += len(hunk.new) - len(hunk.old)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _mismatch(patch: Path, name: str, why: str) -> BundleError:
    return BundleError(
        f"{patch.name} does not fit the engine's source",
        why=f"{name}: {why}",
        do="make the patch anew against the pinned sdist",
    )
