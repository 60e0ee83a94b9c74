"""What changed between two archives, by component and by file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bundle.archive.volumes import VolumeReader, find_volumes
from bundle.check.verify import read_contents
from bundle.contents.manifest import NAME, Manifest
from bundle.log import human_bytes


@dataclass(frozen=True, kw_only=True)
class Change:
    """One component or file; None means that this side does not have it."""

    name: str
    size_before: int | None
    size_after: int | None
    version_before: str = ""
    version_after: str = ""

    @property
    def kind(self) -> str:
        if self.size_before is None:
            return "added"
        return "removed" if self.size_after is None else "changed"

    def line(self) -> str:
        """The change for people: ``~ tqdm 4.69 -> 4.70: 210.1 kB -> 212.0 kB``."""
        sign = {"added": "+", "removed": "-", "changed": "~"}[self.kind]
        sizes = [human_bytes(size) for size in (self.size_before, self.size_after) if size is not None]
        versions = [version for version in (self.version_before, self.version_after) if version]
        version = " " + " -> ".join(dict.fromkeys(versions)) if versions else ""
        return f"{sign} {self.name}{version}: {' -> '.join(sizes)}"

    def to_json(self) -> dict[str, object]:
        data: dict[str, object] = {
            "name": self.name,
            "kind": self.kind,
            "size_before": self.size_before,
            "size_after": self.size_after,
        }
        if self.version_before or self.version_after:
            data |= {"version_before": self.version_before, "version_after": self.version_after}
        return data


@dataclass(frozen=True, kw_only=True)
class ArchiveDiff:
    """Differences in content; ``identical`` is about the archives' own bytes."""

    identical: bool
    size_before: int
    size_after: int
    components: tuple[Change, ...]
    files: tuple[Change, ...]

    @property
    def same_content(self) -> bool:
        return not self.files

    def lines(self) -> list[str]:
        """The differences for people."""
        if self.identical:
            return ["identical, byte by byte"]
        if self.same_content:
            return ["the same files; only the compression differs (another version of liblzma packs differently)"]
        lines = [f"archive: {human_bytes(self.size_before)} -> {human_bytes(self.size_after)}"]
        lines += ["by component:", *(f"  {change.line()}" for change in self.components)] if self.components else []
        return [*lines, "by file:", *(f"  {change.line()}" for change in self.files)]

    def to_json(self) -> dict[str, object]:
        """The differences for programs."""
        return {
            "identical": self.identical,
            "same_content": self.same_content,
            "size_before": self.size_before,
            "size_after": self.size_after,
            "components": [change.to_json() for change in self.components],
            "files": [change.to_json() for change in self.files],
        }


def diff_archives(before: Path, after: Path) -> ArchiveDiff:
    """Compare two archives (or sets of volumes); AuditFailed or DamagedArchive when one of them is not sound."""
    files_before, manifest_before = read_contents(before)
    files_after, manifest_after = read_contents(after)
    volumes_before, volumes_after = find_volumes(before), find_volumes(after)
    return ArchiveDiff(
        identical=_joined_equal(volumes_before, volumes_after),
        size_before=sum(path.stat().st_size for path in volumes_before),
        size_after=sum(path.stat().st_size for path in volumes_after),
        components=component_changes(manifest_before, manifest_after),
        files=_file_changes(files_before, files_after),
    )


def _file_changes(before: Mapping[str, tuple[int, str]], after: Mapping[str, tuple[int, str]]) -> tuple[Change, ...]:
    """Files that differ; the manifest differs whenever another file does, so it is named only on its own."""
    changed = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    if len(changed) > 1:
        changed = [name for name in changed if name != NAME]
    nothing = (None, "")
    return tuple(
        Change(name=name, size_before=before.get(name, nothing)[0], size_after=after.get(name, nothing)[0])
        for name in changed
    )


def component_changes(before: Manifest, after: Manifest) -> tuple[Change, ...]:
    """Components that came, went, or have another version or other files; sorted by name."""
    sides = [_components(before), _components(after)]
    changes = []
    for name in sorted({*sides[0], *sides[1]}, key=str.lower):
        (version_before, size_before, state_before), (version_after, size_after, state_after) = (
            side.get(name, ("", None, None)) for side in sides
        )
        if state_before != state_after or version_before != version_after:
            changes.append(
                Change(
                    name=name,
                    size_before=size_before,
                    size_after=size_after,
                    version_before=version_before,
                    version_after=version_after,
                )
            )
    return tuple(changes)


def _components(manifest: Manifest) -> dict[str, tuple[str, int, frozenset[tuple[str, str]]]]:
    """Component -> version, size in bytes, and its files with their digests."""
    found = {}
    for component in manifest.components:
        files = [file for file in manifest.files if file.origin == component["name"]]
        state = frozenset((file.path, file.sha256) for file in files)
        size_bytes = sum(file.size_bytes for file in files)
        found[component["name"]] = (component.get("version", ""), size_bytes, state)
    return found


def _joined_equal(before: list[Path], after: list[Path]) -> bool:
    """Whether the archives are the same bytes, however each is cut into volumes."""
    with io.BufferedReader(VolumeReader(before)) as one, io.BufferedReader(VolumeReader(after)) as two:
        while chunk := one.read(1 << 20):
            if two.read(1 << 20) != chunk:
                return False
        return not two.read(1)
