"""A finished patch, checked to lead to the archive that is published."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bundle.archive.members import read_members
from bundle.contents.manifest import Manifest, digest_of, dump
from bundle.errors import UsageError
from bundle.release.files import Patch, ReleaseFile
from oneclick.errors import OneClickError
from oneclick.update.patch import PATCH_FILE, read_patch


def describe_patch(path: Path, manifest: Manifest) -> Patch:
    """Return what the download page says of the patch at ``path``.

    Raises UsageError when it is none or does not lead to ``manifest``.
    """
    try:
        patch = read_patch(read_members(path, [PATCH_FILE])[PATCH_FILE])
    except OneClickError as error:
        raise UsageError(f"{path.name} is no patch", why=error.both()[1], do="make it again: build.py patch") from error
    if patch.to_manifest_sha256 != hashlib.sha256(dump(manifest)).hexdigest():
        raise UsageError(
            f"{path.name} does not lead to this archive",
            why=f"it makes version {patch.to_version} with another manifest",
            do="make it again: python3 build.py patch OLD NEW",
        )
    size_bytes, sha256 = digest_of(path)
    return Patch(
        file=ReleaseFile(name=path.name, size_bytes=size_bytes, sha256=sha256),
        from_version=patch.from_version,
        from_manifest_sha256=patch.from_manifest_sha256,
    )
