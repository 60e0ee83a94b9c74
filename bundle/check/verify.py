"""Is this archive what its builder made? Read once as a stream, never unpacked to disk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bundle.archive.read import ArchiveReader
from bundle.archive.readback import Progress
from bundle.archive.sevenzip import ATTRIBUTE_FILE, ATTRIBUTE_FOLDER, MEMBER_TIME
from bundle.archive.unpacker import DamagedArchive, Entry
from bundle.archive.volumes import find_volumes
from bundle.archive.write import ArchiveInfo
from bundle.contents.manifest import MAX_BYTES, NAME, Manifest, ManifestFile, dump, load
from bundle.errors import AuditFailed, UsageError
from oneclick.files import write_whole

SUMS = "SHA256SUMS"
_SUM_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>[^/\\\r\n]+)")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One difference between an archive and what its builder wrote."""

    member: str
    """Member of the archive, or file name of the archive itself."""
    what: str

    def __str__(self) -> str:
        return f"{self.member}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What was found in an archive."""

    paths: tuple[Path, ...]
    """The file, or its volumes."""
    size_bytes: int
    sha256: dict[str, str]
    """File name -> digest, one for each of ``paths``."""
    members: int
    """Files read."""
    content_bytes: int
    manifest: Manifest | None
    problems: tuple[Problem, ...]
    sums_checked: bool
    """Whether a SHA256SUMS beside the archive named it."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def lines(self) -> list[str]:
        """The report for people."""
        if self.problems:
            return [str(problem) for problem in self.problems]
        name = f"{self.manifest.name} {self.manifest.version}" if self.manifest else "archive"
        sums = f"and {SUMS} agrees" if self.sums_checked else f"({SUMS} is not beside it)"
        return [
            f"{name}: {self.members} files, {self.content_bytes} bytes, all as its {NAME} says, {sums}",
            *(f"sha256 {digest}  {name}" for name, digest in self.sha256.items()),
        ]

    def to_json(self) -> dict[str, object]:
        """The report for programs."""
        return {
            "ok": self.ok,
            "files": [path.name for path in self.paths],
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "members": self.members,
            "content_bytes": self.content_bytes,
            "name": self.manifest.name if self.manifest else None,
            "version": self.manifest.version if self.manifest else None,
            "sums_checked": self.sums_checked,
            "problems": [{"member": problem.member, "what": problem.what} for problem in self.problems],
        }

    def require_ok(self) -> None:
        """Raise AuditFailed with every problem; do nothing when there is none."""
        if self.problems:
            raise AuditFailed(
                f"{self.paths[0].name} is not what its builder made",
                why="\n       ".join(str(problem) for problem in self.problems[:50]),
                do="download or build it again; if it repeats, do not use this source",
            )


@dataclass
class _Content:
    """What the stream of members held."""

    sha256: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Name inside the root folder -> size in bytes and digest."""
    manifest: bytes | None = None
    problems: list[Problem] = field(default_factory=list)


def verify_archive(path: Path, *, progress: Progress | None = None) -> VerifyReport:
    """Read the archive (or volumes) at ``path`` to its end and compare it with its own manifest.

    Damage is told in the report with the member it hits. Raises UsageError when there is no such file and
    StorageError when the disk fails.
    """
    volumes = find_volumes(path)
    content = _Content()
    with ThreadPoolExecutor(max_workers=1) as pool:
        digests = pool.submit(_digests, volumes)
        try:
            with ArchiveReader(path) as archive:
                _read(archive, content, progress)
        except DamagedArchive as error:
            content.problems.append(Problem(member=error.member or volumes[0].name, what=error.why))
        sha256 = digests.result()
    manifest = None if content.problems else _compare(content)
    known = read_sums(volumes[0].parent)
    content.problems += [
        Problem(member=name, what=f"its sha256 is {digest}, {SUMS} says {known[name]}")
        for name, digest in sha256.items()
        if known.get(name, digest) != digest
    ]
    return VerifyReport(
        paths=tuple(volumes),
        size_bytes=sum(volume.stat().st_size for volume in volumes),
        sha256=sha256,
        members=len(content.sha256),
        content_bytes=sum(size for size, _ in content.sha256.values()),
        manifest=manifest,
        problems=tuple(content.problems),
        sums_checked=all(name in known for name in sha256),
    )


def read_contents(path: Path) -> tuple[dict[str, tuple[int, str]], Manifest]:
    """name -> (size in bytes, sha256) of every file in a sound archive, and its manifest; AuditFailed for another."""
    content = _Content()
    with ArchiveReader(path) as archive:
        _read(archive, content, None)
    manifest = None if content.problems else _compare(content)
    if manifest is None or content.problems:
        why = "\n       ".join(str(problem) for problem in content.problems[:20])
        raise AuditFailed(f"{path.name} is not sound", why=why, do="run: python build.py verify on it")
    return content.sha256, manifest


def _read(archive: ArchiveReader, content: _Content, progress: Progress | None) -> None:
    """Digest every member into ``content``."""
    root = archive.entries[0].name.split("/")[0] if archive.entries else ""
    total, done = sum(entry.size_bytes for entry in archive.entries), 0
    for entry in archive.folders:
        content.problems += _entry_problems(entry, root)
    for entry, chunks in archive.members():
        content.problems += _entry_problems(entry, root)
        inside = entry.name[len(root) + 1 :]
        digest = hashlib.sha256()
        kept: list[bytes] | None = [] if inside == NAME and entry.size_bytes <= MAX_BYTES else None
        for chunk in chunks:
            digest.update(chunk)
            if kept is not None:
                kept.append(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
        if kept is not None:
            content.manifest = b"".join(kept)
        content.sha256[inside] = (entry.size_bytes, digest.hexdigest())


def _entry_problems(entry: Entry, root: str) -> Iterator[Problem]:
    if not entry.name.startswith(f"{root}/"):
        yield Problem(member=entry.name, what=f"it is not inside {root}/")
    if entry.modified != int(MEMBER_TIME) or entry.attributes != (
        ATTRIBUTE_FOLDER if entry.is_folder else ATTRIBUTE_FILE
    ):
        yield Problem(member=entry.name, what="its time or attributes are not those this builder writes")


def _compare(content: _Content) -> Manifest | None:
    """Compare members with the manifest among them; every difference goes to ``content.problems``."""
    if content.manifest is None:
        content.problems.append(Problem(member=NAME, what="it is missing"))
        return None
    try:
        manifest = load(content.manifest)
    except UsageError as error:
        content.problems.append(Problem(member=NAME, what=error.why))
        return None
    if dump(manifest) != content.manifest:
        content.problems.append(Problem(member=NAME, what="it is not written as this builder writes it"))
    content.problems += differences(manifest.files, content.sha256)
    return manifest


def differences(listed: Sequence[ManifestFile], found: dict[str, tuple[int, str]]) -> list[Problem]:
    """Each file of which ``listed`` and ``found`` (name -> size, digest) disagree."""
    rest = {name: state for name, state in found.items() if name != NAME}
    problems = []
    for file in listed:
        state = rest.pop(file.path, None)
        if state is None:
            problems.append(Problem(member=file.path, what=f"{NAME} lists it, but it is missing"))
        elif state != (file.size_bytes, file.sha256):
            what = f"it has {state[0]} bytes and sha256 {state[1]}, {NAME} says {file.size_bytes} and {file.sha256}"
            problems.append(Problem(member=file.path, what=what))
    return problems + [Problem(member=name, what=f"{NAME} does not list it") for name in sorted(rest)]


def _digests(paths: Sequence[Path]) -> dict[str, str]:
    digests = {}
    for path in paths:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        digests[path.name] = digest.hexdigest()
    return digests


# SHA256SUMS


def write_sums(info: ArchiveInfo) -> Path:
    """Write SHA256SUMS beside the archive, as ``sha256sum --check`` reads it; lines about other files stay."""
    folder = info.path.parent
    sums = read_sums(folder)
    stem = re.sub(r"\.\d{3}$", "", info.path.name)
    sums = {name: digest for name, digest in sums.items() if re.sub(r"\.\d{3}$", "", name) != stem}
    sums.update(zip((path.name for path in info.paths), info.volume_sha256, strict=True))
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    write_whole(folder / SUMS, text.encode())
    return folder / SUMS


def read_sums(folder: Path) -> dict[str, str]:
    """File name -> digest from SHA256SUMS in ``folder``; empty without one, lines that are none are skipped."""
    path = folder / SUMS
    if not path.is_file() or path.stat().st_size > 1 << 20:
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {found["name"]: found["digest"] for line in lines if (found := _SUM_LINE.fullmatch(line))}
