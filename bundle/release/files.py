"""Files of a release as the page and ``latest.json`` list them."""

from __future__ import annotations

from dataclasses import dataclass


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
