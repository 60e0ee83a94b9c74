"""What was written, read again and compared with what went in."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bundle.archive.hashing import PieceDigests, PrefixDigests, Taker, read_once
from bundle.archive.read import ArchiveReader
from bundle.archive.volumes import VolumeReader
from bundle.errors import AuditFailed, DigestMismatch

Progress = Callable[[int, int], None]
"""(bytes done, bytes in all): packing and reading back count alike. Called from several threads, one at a time."""


@dataclass
class Meter:
    """Adds up progress of several threads."""

    total: int
    report: Progress | None
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, size_bytes: int) -> None:
        with self.lock:
            self.done += size_bytes
            if self.report is not None:
                self.report(self.done, self.total)


@dataclass(frozen=True, kw_only=True)
class ReadBack:
    """Digests of what was read back."""

    whole: str
    volumes: tuple[str, ...]
    members: dict[str, str]


def read_back(
    paths: Sequence[Path],
    root_name: str,
    went_in: Mapping[str, str],
    copies: Sequence[str],
    pinned: Mapping[str, str],
    empty_folders: Sequence[str],
    meter: Meter,
) -> ReadBack:
    """Read the written archive, compare it with what went in, and hash it.

    went_in: digests of what was compressed. copies: names of the stored members, in order. They are hashed in the pass
    that hashes the archive; for those that are ``pinned``, that proves more than their checksum.
    """
    members = dict(went_in)
    with ArchiveReader(paths[0]) as archive, ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        copied = PieceDigests(_cuts_of_copies(archive))
        hashed = pool.submit(_hash_archive, paths, lambda data: meter.add(copied.update(data)))
        unread = {f"{root_name}/{name}" for name in copies if name in pinned}
        streams = range(len(archive.streams))
        read = pool.map(lambda index: _read_stream(paths[0], index, root_name, went_in, unread, meter), streams)
        found = sorted(name for names in read for name in names)
        folders = [entry.name for entry in archive.folders]
        if found != sorted((*went_in, *copies)) or folders != [f"{root_name}/{name}" for name in empty_folders]:
            raise _not_the_tree(paths[0], min({*went_in, *copies} ^ set(found), default="a folder"))
        whole, volumes = hashed.result()
        members.update(zip(copies, copied.digests, strict=True))
        _compare_digests(archive, members, pinned)
    return ReadBack(whole=whole, volumes=volumes, members=members)


def _read_stream(
    path: Path, index: int, root_name: str, went_in: Mapping[str, str], unread: Collection[str], meter: Meter
) -> list[str]:
    """Unpack one stream of the archive ``path``; return the names in it, without the root."""
    names = []
    with ArchiveReader(path) as archive:  # one reader has one position
        for entry, content in archive.members_of(archive.streams[index], unread=unread):
            name = entry.name[len(root_name) + 1 :]
            digest = hashlib.sha256()
            for chunk in content:
                if name in went_in:
                    digest.update(chunk)
                    meter.add(len(chunk))
            if name in went_in and went_in[name] != digest.hexdigest():
                raise _not_the_tree(path, entry.name)
            names.append(name)
    return names


def _cuts_of_copies(archive: ArchiveReader) -> list[int]:
    """Offsets between the stored streams, which lie side by side at the end."""
    copies = [stream for stream in archive.streams if not stream.filters]
    return [*(stream.offset for stream in copies[:1]), *(stream.offset + stream.size_bytes for stream in copies)]


def _compare_digests(archive: ArchiveReader, members: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Raise DigestMismatch when ``members`` are not the ``expected`` ones, DamagedArchive when the disk is to blame."""
    for name, digest in expected.items():
        if members.get(name) != digest:
            for _ in archive.members():  # compares the checksums of what was read before it was written
                pass
            raise DigestMismatch(
                f"{name} is not the file that was to be packed",
                why=f"its sha256 is {members.get(name)}, expected {digest}",
                do="get it again",
            )


def _not_the_tree(path: Path, member: str) -> AuditFailed:
    return AuditFailed(
        f"{path.name} does not hold what was packed: {member}",
        why="the disk or the memory of this machine changed bytes on the way",
        do="build again on another disk; the previous archive is untouched",
    )


def _hash_archive(paths: Sequence[Path], taker: Taker) -> tuple[str, tuple[str, ...]]:
    """Return the sha256 of all ``paths`` together and of each, read once and given to ``taker`` as well."""
    with VolumeReader(paths) as source:
        ends = list(itertools.accumulate(path.stat().st_size for path in paths))
        from_start, volumes = PrefixDigests(sorted({ends[0], ends[-1]})), PieceDigests(ends)
        for _ in read_once(source, [from_start.update, taker, *([volumes.update] if len(paths) > 1 else [])]):
            pass
    return from_start.digests[-1], (from_start.digests[0], *volumes.digests)
