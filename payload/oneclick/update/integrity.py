"""Compare the folder with the list of files it was packed with: what an antivirus ate, what a disk damaged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oneclick.errors import OneClickError

FORMAT = 1
USERS_OWN = ("设置.toml",)
"""Files that are packed and that users are meant to change."""


@dataclass(frozen=True)
class PackedFile:
    """One line of ``MANIFEST.json``."""

    path: str
    """Relative, with forward slashes."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Differences:
    """Relative paths, sorted."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unreadable: tuple[str, ...]
    checked: int

    @property
    def any(self) -> bool:
        """Tell whether the folder is not what was packed."""
        return bool(self.missing or self.changed or self.unreadable)


def read_packed_files(manifest: Path) -> tuple[PackedFile, ...]:
    """Return the files that ``manifest`` lists. Raises OneClickError when it is missing or damaged."""
    try:
        data = json.loads(manifest.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}")
        return tuple(PackedFile(file["path"], file["size_bytes"], file["sha256"]) for file in data["files"])
    except FileNotFoundError as error:
        raise OneClickError("launcher.bundle_incomplete", name=manifest.name) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OneClickError("launcher.bundle_damaged", name=manifest.name, reason=repr(error)) from error


def compare(
    root: Path, files: tuple[PackedFile, ...], progress: Callable[[float], None] = lambda fraction: None
) -> Differences:
    """Compare ``root`` with ``files``; ``progress`` gets 0.0 to 1.0. A packed model is compared by size only."""
    missing: list[str] = []
    changed: list[str] = []
    unreadable: list[str] = []
    for number, file in enumerate(files):
        progress(number / len(files))
        path = root / file.path
        try:
            if _differs(path, file):
                changed.append(file.path)
        except FileNotFoundError:
            missing.append(file.path)
        except OSError:
            unreadable.append(file.path)
    changed = [path for path in changed if path not in USERS_OWN]
    return Differences(tuple(missing), tuple(changed), tuple(unreadable), len(files))


def _differs(path: Path, file: PackedFile) -> bool:
    if path.stat().st_size != file.size_bytes:
        return True
    return not file.path.endswith(".bin") and file_sha256(path) != file.sha256


def file_sha256(path: Path) -> str:
    """Return the digest of a file as lower-case hex, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
