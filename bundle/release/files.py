"""What a release is: its files as the page and ``latest.json`` list them, and all that the page shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bundle.contents.manifest import Manifest
from bundle.recipe.recipe import Recipe
from bundle.release.notes import Notes


@dataclass(frozen=True, kw_only=True)
class ReleaseFile:
    """One file of a release."""

    name: str
    size_bytes: int
    sha256: str

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "size_bytes": self.size_bytes, "sha256": self.sha256}


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A patch that leads to this release."""

    file: ReleaseFile
    from_version: str
    from_manifest_sha256: str

    def to_json(self) -> dict[str, object]:
        return {
            **self.file.to_json(),
            "from_version": self.from_version,
            "from_manifest_sha256": self.from_manifest_sha256,
        }


@dataclass(frozen=True, kw_only=True)
class Release:
    """Everything the download page shows."""

    recipe: Recipe
    manifest: Manifest
    bundle: dict[str, Any]
    """Content of bundle.json."""
    archive: tuple[ReleaseFile, ...]
    """The file, or its volumes in order."""
    patches: tuple[Patch, ...]
    notes: Notes
    content_bytes: int
    """Size of the unpacked folder."""

    @property
    def download_bytes(self) -> int:
        return sum(file.size_bytes for file in self.archive)
