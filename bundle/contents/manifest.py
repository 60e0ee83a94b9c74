"""MANIFEST.json: every file of a bundle with its size, digest and origin, and what the bundle was built from.

    {"format": 1, "name": "ChatGLM3_cpp", "version": "1.0.0",
     "build": {...},                     build inputs, as the builder gives them
     "components": [{"name", "version", "kind", "licence", "source", "sha256", "homepage"}, ...],
     "files": [{"path", "size_bytes", "sha256", "from"}, ...]}

Paths are relative to the bundle's folder, with ``/``; lists are sorted by path and by name; ``from`` is the name of a
component. There are no times and no names of machines, so the same build gives the same bytes. MANIFEST.json cannot
list itself: the archive's own checksums cover it, SHA256SUMS covers the archive, and verify compares its bytes with
what this module writes for the same data. Files that users' PCs make (logs, a downloaded model) are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bundle.contents.component import Provenance
from bundle.errors import AuditFailed, UsageError
from bundle.windows.names import member_problem
from oneclick.update.integrity import file_sha256

NAME = "MANIFEST.json"
FORMAT = 1
MAX_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class ManifestFile:
    """One line of the manifest."""

    path: str
    size_bytes: int
    sha256: str
    origin: str
    """Name of the component it comes from; ``from`` in the JSON."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest read or about to be written."""

    name: str
    version: str
    files: tuple[ManifestFile, ...]
    components: tuple[Mapping[str, str], ...]
    build: Mapping[str, Any]

    def by_path(self) -> dict[str, ManifestFile]:
        """path -> its line."""
        return {file.path: file for file in self.files}


def write_manifest(tree: Path, provenance: Provenance, digests: Mapping[str, str] | None = None) -> Manifest:
    """Write ``tree``/MANIFEST.json about all other files in ``tree`` and return it.

    digests: name -> sha256 of files too large to be read for this (a packed model, whose digest is pinned);
    write_archive compares them while packing.
    Raises AuditFailed naming every file that no component claims: nothing of unknown origin ships.
    """
    files, unknown = [], []
    for path in tree_files(tree):
        name = path.relative_to(tree).as_posix()
        if name == NAME:
            continue
        component = provenance.origin(name)
        if component is None:
            unknown.append(name)
            continue
        known = (digests or {}).get(name)
        size_bytes, digest = (path.stat().st_size, known) if known else digest_of(path)
        files.append(ManifestFile(path=name, size_bytes=size_bytes, sha256=digest, origin=component.name))
    if unknown:
        raise AuditFailed(
            f"{len(unknown)} files come from nowhere: {', '.join(unknown[:8])}",
            why="no component of this build claims them",
            do="remove them from the staging folder, or say in the builder where they come from",
        )
    manifest = Manifest(
        name=provenance.name,
        version=provenance.version,
        files=tuple(sorted(files, key=lambda file: file.path)),
        components=_components(provenance),
        build=provenance.build,
    )
    (tree / NAME).write_bytes(dump(manifest))
    return manifest


def _components(provenance: Provenance) -> tuple[Mapping[str, str], ...]:
    return tuple(
        {
            "name": component.name,
            "version": component.version,
            "kind": component.kind,
            "licence": component.licence,
            "source": component.source,
            "sha256": component.sha256,
            "homepage": component.homepage,
        }
        for component in sorted(provenance.components, key=lambda component: component.name.lower())
    )


def dump(manifest: Manifest) -> bytes:
    """The one way ``manifest`` is written: UTF-8, sorted, LF."""
    files = []
    for file in manifest.files:
        line = asdict(file)
        line["from"] = line.pop("origin")
        files.append(line)
    data = {
        "format": FORMAT,
        "name": manifest.name,
        "version": manifest.version,
        "build": manifest.build,
        "components": manifest.components,
        "files": files,
    }
    return (json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def load(data: bytes) -> Manifest:
    """Read a manifest; raises UsageError that says where it is not one."""
    if len(data) > MAX_BYTES:
        raise _unusable(f"it has {len(data)} bytes, more than {MAX_BYTES}")
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _unusable(f"it is not JSON ({error})") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise _unusable(f"its format is not {FORMAT}")
    name, version, build = value.get("name"), value.get("version"), value.get("build")
    files, components = value.get("files"), value.get("components")
    if not isinstance(name, str) or not isinstance(version, str) or not isinstance(build, dict):
        raise _unusable("name, version or build is missing")
    if not isinstance(files, list) or not isinstance(components, list):
        raise _unusable("files or components are missing")
    return Manifest(
        name=name,
        version=version,
        build=build,
        components=tuple(_component(item) for item in components),
        files=tuple(_file(item) for item in files),
    )


def _component(item: object) -> Mapping[str, str]:
    if not isinstance(item, dict) or not all(isinstance(text, str) for pair in item.items() for text in pair):
        raise _unusable(f"a component is broken: {str(item)[:80]}")
    return item


def _file(item: object) -> ManifestFile:
    if isinstance(item, dict) and set(item) == {"path", "size_bytes", "sha256", "from"}:
        path, size_bytes, digest, origin = item["path"], item["size_bytes"], item["sha256"], item["from"]
        if (
            isinstance(path, str)
            and member_problem(path) is None
            and type(size_bytes) is int
            and size_bytes >= 0
            and isinstance(digest, str)
            and isinstance(origin, str)
        ):
            return ManifestFile(path=path, size_bytes=size_bytes, sha256=digest, origin=origin)
    raise _unusable(f"a file is broken: {str(item)[:80]}")


def _unusable(why: str) -> UsageError:
    return UsageError(f"{NAME} cannot be used", why=why, do="build or download the archive again")


def tree_files(tree: Path) -> Iterator[Path]:
    """Every file under ``tree``, sorted by its name inside."""
    yield from sorted((path for path in tree.rglob("*") if path.is_file()), key=lambda path: path.as_posix())


def digest_of(path: Path) -> tuple[int, str]:
    """Size in bytes and sha256 of a file."""
    return path.stat().st_size, file_sha256(path)
