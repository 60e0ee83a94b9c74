"""Make the folder of a release: archive, checksums, manifest, SBOM, notes, ``latest.json`` and the download page.

    latest.json   {"format": 1, "name", "version", "manifest_sha256",
                   "archive": [{"name", "size_bytes", "sha256"}, ...],
                   "patches": [{"name", "size_bytes", "sha256", "from_version", "from_manifest_sha256"}, ...],
                   "notes": {"zh": [...], "en": [...]}, "page": "..."}

Every file appears under its name only when it is whole; ``latest.json``, which programs look at, is the last one. No
file carries a time, so the same archive makes the same folder and a second run writes nothing new to a mirror.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle.archive.members import read_members
from bundle.check.verify import SUMS, verify_archive
from bundle.contents import manifest as manifests
from bundle.disk import disk_named
from bundle.errors import AuditFailed, StorageError
from bundle.fetch.sources import Sources
from bundle.recipe.recipe import Recipe
from bundle.release.engine_wheels import engine_wheels
from bundle.release.files import Release, ReleaseFile
from bundle.release.finished_patch import describe_patch
from bundle.release.notes import Words, write_notes
from bundle.release.page import render_page
from bundle.release.previous import LATEST, Previous
from bundle.release.sign import Signer, require_signer
from oneclick.files import move, write_whole
from oneclick.update.integrity import file_sha256
from oneclick.update.signature import ENDING

BUNDLE_JSON = "bundle.json"
SBOM = "sbom.cdx.json"
NOTES = {"zh": "release-notes.zh.md", "en": "release-notes.en.md"}
PAGE = "index.html"


def make_release(
    archive: Path,
    to: Path,
    recipe: Recipe,
    *,
    previous: Previous | None = None,
    patches: Sequence[Path] = (),
    sources: Sources | None = None,
    message: Words = ("", ""),
    signer: Signer | None = None,
) -> Release:
    """Write the release of ``archive`` (or of its first volume) to the folder ``to`` and return what is in it.

    Raises AuditFailed when the archive is not what its builder made, UsageError for a patch that leads elsewhere,
    StorageError when the folder cannot be written. ``signer`` signs what users' programs trust; a bundle with a public
    key needs one that it accepts. ``sources``: in whose cache the engine's wheels are, to lie beside the archive.
    """
    report = verify_archive(archive)
    report.require_ok()
    if report.manifest is None:
        raise AuditFailed(f"{archive.name} has no manifest", why="a release needs one", do="build the archive again")
    members = read_members(report.paths[0], [BUNDLE_JSON, SBOM])
    bundle = json.loads(members[BUNDLE_JSON])
    require_signer(signer, bundle)
    described = tuple(describe_patch(path, report.manifest) for path in patches)
    notes = write_notes(
        report.manifest,
        previous.manifest if previous else None,
        download_bytes=report.size_bytes,
        download_bytes_before=previous.download_bytes if previous else None,
        message=message,
    )
    manifest_bytes = manifests.dump(report.manifest)
    release = Release(
        recipe=recipe,
        manifest=report.manifest,
        bundle=bundle,
        archive=tuple(_release_file(path, report.sha256[path.name]) for path in report.paths),
        patches=described,
        notes=notes,
        content_bytes=sum(file.size_bytes for file in report.manifest.files),
    )
    texts = {
        manifests.NAME: manifest_bytes,
        SBOM: members[SBOM],
        **{name: notes.markdown(language).encode() for language, name in NOTES.items()},
        PAGE: render_page(release).encode(),
    }
    latest = _latest(release, manifest_bytes)
    large = {
        **{path: report.sha256[path.name] for path in report.paths},
        **{path: patch.file.sha256 for path, patch in zip(patches, described, strict=True)},
        **(engine_wheels(release, sources) if sources else {}),
    }
    if signer:
        texts |= signer.signed(LATEST, latest)
    with disk_named(to, "make room or choose another folder"):
        _write(to, large, texts, latest, signer)
    return release


def _release_file(path: Path, sha256: str) -> ReleaseFile:
    return ReleaseFile(name=path.name, size_bytes=path.stat().st_size, sha256=sha256)


def _latest(release: Release, manifest_bytes: bytes) -> bytes:

    data = {
        "format": 1,
        "name": release.manifest.name,
        "version": release.manifest.version,
        "manifest_sha256": hashlib.sha256(manifest_bytes).hexdigest(),
        "archive": [file.to_json() for file in release.archive],
        "patches": [patch.to_json() for patch in release.patches],
        "notes": {language: release.notes.in_language(language) for language in ("zh", "en")},
        "page": release.recipe.release.page,
    }
    return (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode()


# Writing


def _write(to: Path, large: Mapping[Path, str], texts: dict[str, bytes], latest: bytes, signer: Signer | None) -> None:
    """Put everything into ``to``; what is there already and right is not written again.

    ``large``: file -> the digest that was verified, which a copy has to have.
    """
    to.mkdir(parents=True, exist_ok=True)
    sums = {}
    for path, verified in large.items():
        _copy(path, to / path.name)
        sums[path.name] = file_sha256(to / path.name)
        if sums[path.name] != verified:
            (to / path.name).unlink()
            raise StorageError(f"{path.name} changed while it was copied", why="its digest differs", do="publish again")
    for name, data in texts.items():
        _put(to / name, data)
        sums[name] = file_sha256(to / name)
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    _put(to / SUMS, lines.encode())
    if signer:
        _put(to / (SUMS + ENDING), signer.sign(SUMS, lines.encode()))
    _put(to / LATEST, latest)


def _copy(source: Path, target: Path) -> None:
    """Give ``target`` the content of ``source``: by a hard link where that works, for archives may hold a model."""
    if target.exists() and target.samefile(source):
        return
    partial = target.with_name(target.name + ".part")
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(source)
    except OSError:  # another disk, or a disk without links
        shutil.copyfile(source, partial)
    move(partial, target)
    # Replacing a hard link by another one to the same file leaves both names.
    partial.unlink(missing_ok=True)


def _put(target: Path, data: bytes) -> None:
    if not target.is_file() or target.read_bytes() != data:
        write_whole(target, data)
