"""Make the small archive that turns one release into another: changed files, a list of removed ones, ``更新.bat``."""

from __future__ import annotations

import hashlib
import json
import posixpath
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bundle.archive.members import read_members
from bundle.archive.read import ArchiveReader
from bundle.archive.volumes import find_volumes
from bundle.archive.write import ArchiveInfo, write_archive
from bundle.check.verify import read_contents, write_sums
from bundle.contents.manifest import NAME, Manifest, dump
from bundle.errors import UsageError
from bundle.release.sign import Signer, require_signer
from bundle.stage.render import write_bat
from oneclick.update.patch import NEW_FOLDER, PATCH_NAME, UPDATE_FOLDER, Patch, PatchFile, is_older, may_touch

BUNDLE_JSON = "bundle.json"
UPDATE_BAT = "更新.bat"
Contents = Mapping[str, tuple[int, str]]
"""name inside the root folder -> (size in bytes, sha256)."""


@dataclass(frozen=True, kw_only=True)
class MadePatch:
    """A finished patch."""

    archive: ArchiveInfo
    patch: Patch
    whole_bytes: int
    """Size of the new release's archive, to compare with."""

    @property
    def share(self) -> float:
        """Size of the patch as a part of the whole archive, 0.0 to 1.0."""
        return self.archive.size_bytes / self.whole_bytes


def make_patch(old: Path, new: Path, output: Path, signer: Signer | None = None) -> MadePatch:
    """Write the patch from the archive ``old`` to ``new`` into the folder ``output`` and add it to SHA256SUMS there.

    It is signed where there is a ``signer``.
    Raises UsageError when no patch can lead from one to the other, AuditFailed for an archive that is not sound.
    """
    contents_old, manifest_old = read_contents(old)
    contents_new, manifest_new = read_contents(new)
    for archive in (old, new):  # the program that goes on after an interruption may be either's
        require_signer(signer, json.loads(read_members(find_volumes(archive)[0], [BUNDLE_JSON])[BUNDLE_JSON]))
    patch = plan_patch(contents_old, manifest_old, contents_new, manifest_new)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".patch-", ignore_cleanup_errors=True) as scratch:
        tree = Path(scratch) / "tree"
        _stage(patch, new, tree, signer)
        written = write_archive(tree, output / f"{patch_name(patch)}.7z", root_name=patch.name)
    write_sums(written)
    whole = sum(path.stat().st_size for path in find_volumes(new))
    return MadePatch(archive=written, patch=patch, whole_bytes=whole)


def plan_patch(contents_old: Contents, manifest_old: Manifest, contents_new: Contents, manifest_new: Manifest) -> Patch:
    """Compare two archives; the manifest comes last, for it says what the folder is."""
    if manifest_old.name != manifest_new.name:
        raise UsageError(
            f"{manifest_old.name} cannot become {manifest_new.name}",
            why="a patch goes into the folder of the old archive and cannot rename it",
            do="make a patch between two archives of the same recipe",
        )
    if is_older(manifest_new.version, manifest_old.version):
        raise UsageError(
            f"{manifest_new.version} is older than {manifest_old.version}",
            why="users' programs refuse a patch that leads backwards",
            do="give the older archive first; or raise the version in the recipe and build again",
        )
    if contents_old == contents_new:
        raise UsageError("the two archives hold the same files", why="there is nothing to patch", do="check the names")
    changed = [path for path in sorted(contents_new) if contents_new[path] != contents_old.get(path)]
    removed = [path for path in sorted(contents_old) if path not in contents_new]
    _refuse_models([*changed, *removed])
    changed = [path for path in changed if may_touch(path) and path != NAME] + [NAME]
    return Patch(
        name=manifest_new.name,
        from_version=manifest_old.version,
        from_manifest_sha256=hashlib.sha256(dump(manifest_old)).hexdigest(),
        to_version=manifest_new.version,
        to_manifest_sha256=hashlib.sha256(dump(manifest_new)).hexdigest(),
        files=tuple(
            PatchFile(
                path=path,
                stored=f"{number:04d}{_suffix(path)}",
                size_bytes=contents_new[path][0],
                sha256=contents_new[path][1],
                is_new=path not in contents_old,
            )
            for number, path in enumerate(changed)
        ),
        removed=tuple(path for path in removed if may_touch(path)),
    )


def _refuse_models(paths: list[str]) -> None:
    for path in paths:
        if "/" not in path and path.lower().endswith(".bin"):
            raise UsageError(
                f"the packed model {path} differs",
                why="a patch never touches a user's model, and this one would not be small",
                do="publish the whole archive, or build both without --with-model",
            )


def _suffix(path: str) -> str:
    """The suffix decides how a file is compressed, so it is kept where it is a plain one."""
    suffix = posixpath.splitext(path)[1]
    return suffix if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= 9 else ""


def patch_name(patch: Patch) -> str:
    """``ChatGLM3_cpp-1.0.0-to-1.1.0``; of two builds of one version, the beginnings of their digests as well."""
    sides = [
        (patch.from_version, patch.from_manifest_sha256[:8]),
        (patch.to_version, patch.to_manifest_sha256[:8]),
    ]
    if patch.from_version == patch.to_version:
        return f"{patch.name}-" + "-to-".join(f"{version}-{digest}" for version, digest in sides)
    return f"{patch.name}-" + "-to-".join(version for version, _ in sides)


def _stage(patch: Patch, new: Path, tree: Path, signer: Signer | None) -> None:
    """Take the changed files out of ``new`` and lay the patch's tree out."""
    (tree / NEW_FOLDER).mkdir(parents=True)
    wanted = {file.path: file.stored for file in patch.files}
    with ArchiveReader(new) as archive:
        for entry, chunks in archive.members():
            stored = wanted.get(entry.name.partition("/")[2])
            if stored is not None:
                with (tree / NEW_FOLDER / stored).open("wb") as out:
                    out.writelines(chunks)
    data = (json.dumps(patch.to_json(), ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()
    for name, content in {PATCH_NAME: data, **(signer.signed(PATCH_NAME, data) if signer else {})}.items():
        (tree / UPDATE_FOLDER / name).write_bytes(content)
    write_bat("update.bat.j2", tree / UPDATE_BAT, python_dir="python")
