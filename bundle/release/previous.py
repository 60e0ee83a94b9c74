"""The release before this one, read from whatever a maintainer kept of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from bundle.archive.volumes import find_volumes
from bundle.check.verify import read_contents
from bundle.contents import manifest as manifests
from bundle.contents.manifest import Manifest
from bundle.errors import UsageError

LATEST = "latest.json"


@dataclass(frozen=True, kw_only=True)
class Previous:
    """What is known of the previous release."""

    manifest: Manifest
    download_bytes: int | None
    """Size of its archive; None when only the manifest was kept."""


def read_previous(path: Path) -> Previous:
    """Read a release folder, a MANIFEST.json, or an archive. Raises UsageError or AuditFailed where it is none."""
    if path.is_dir():
        known = _read_manifest(path / manifests.NAME)
        return Previous(manifest=known, download_bytes=_download_bytes(path / LATEST))
    if path.suffix == ".json":
        return Previous(manifest=_read_manifest(path), download_bytes=None)
    _, known = read_contents(path)
    return Previous(manifest=known, download_bytes=sum(volume.stat().st_size for volume in find_volumes(path)))


def _read_manifest(path: Path) -> Manifest:
    try:
        return manifests.load(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read",
            why=error.strerror or str(error),
            do="give --previous an archive, its MANIFEST.json, or the folder of its release",
        ) from error


def _download_bytes(latest: Path) -> int | None:
    try:
        return sum(int(file["size_bytes"]) for file in json.loads(latest.read_bytes())["archive"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
