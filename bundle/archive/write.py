"""Pack a staged tree into ``ChatGLM3_cpp.7z``: the same bytes on every machine, and never a broken file under its name.

Members are sorted, have one fixed time and plain Windows attributes; owner, umask, time zone and locale of the machine
leave no trace. The archive grows under a temporary name, is read back and compared with the tree, and only then moves.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import os
import shutil
import tempfile
import threading
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from bundle.archive import sevenzip
from bundle.archive.hashing import Crc32, read_once
from bundle.archive.readback import Meter, Progress, read_back
from bundle.archive.sevenzip import PackedMember, PackedStream
from bundle.archive.streams import Part, TreeFile, list_tree, plan_parts
from bundle.archive.volumes import VolumeWriter, check_volume_size, existing_volumes
from bundle.disk import disk_named, scratch_folder
from bundle.errors import UsageError
from oneclick.files import move

ROOT_NAME = "ChatGLM3_cpp"
_CHUNK = 1 << 20

_DISK_ADVICE = "free some space (twice the size of the archive), or choose a folder you may write to"


@dataclass(frozen=True, kw_only=True)
class ArchiveInfo:
    """A finished archive."""

    paths: tuple[Path, ...]
    """The file, or its volumes in order."""
    size_bytes: int
    """All volumes together."""
    sha256: str
    """Digest of the whole archive; for volumes, of what they make when joined."""
    volume_sha256: tuple[str, ...]
    """Digest of each of ``paths``."""
    content_bytes: int
    """Size of the unpacked tree."""
    member_sha256: dict[str, str] = field(repr=False)
    """Name inside the root folder -> digest, of everything packed."""

    @property
    def path(self) -> Path:
        """The file, or the first volume."""
        return self.paths[0]


def write_archive(
    tree: Path,
    target: Path,
    *,
    root_name: str = ROOT_NAME,
    stored: Collection[str] = (),
    digests: Mapping[str, str] | None = None,
    volume_size: int | None = None,
    progress: Progress | None = None,
) -> ArchiveInfo:
    """Pack everything in ``tree`` as ``root_name/...`` into ``target``, or into ``target.001`` and on.

    stored: names inside ``tree`` that are copied, not compressed (a model does not shrink).
    digests: name inside ``tree`` -> sha256 that it must have in the finished archive; for a model, which is too large
    to be read once more for it. volume_size: bytes of a volume, 64 MB at least; None for one file.
    Raises UsageError for what cannot be packed, DigestMismatch, StorageError (no space, no permission), AuditFailed
    when what was written does not read back as the tree; a previous archive under the same name is then still as it
    was.
    """
    if volume_size is not None:
        check_volume_size(volume_size)
    with disk_named(target, _DISK_ADVICE):
        files, empty_folders = list_tree(tree)
        parts = plan_parts(files, stored)
        meter = Meter(2 * sum(file.size_bytes for file in files), progress)
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(target.parent, f".{target.name}.part-") as folder:
            with contextlib.closing(VolumeWriter(folder / target.name, volume_size)) as out:
                went_in = _pack(parts, empty_folders, root_name, cast(BinaryIO, out), folder, meter)
            copies = [file.name for part in parts if part.is_stored for file in part.files]
            read = read_back(out.paths, root_name, went_in, copies, digests or {}, empty_folders, meter)
            size_bytes = sum(path.stat().st_size for path in out.paths)
            paths = _move_into_place(out.paths, target)
    return ArchiveInfo(
        paths=paths,
        size_bytes=size_bytes,
        sha256=read.whole,
        volume_sha256=read.volumes,
        content_bytes=sum(file.size_bytes for file in files),
        member_sha256=read.members,
    )


@dataclass
class _Packed:
    """Members of a stream, growing while it is packed, and digests of those that are compressed."""

    members: list[PackedMember] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)

    def add(self, file: TreeFile, size_bytes: int, crc32: int) -> None:
        """Take in a file whose content was just read."""
        if size_bytes != file.size_bytes:
            raise UsageError(f"{file.name} changed while it was packed", why="its size is another", do="build again")
        self.members.append(PackedMember(name=file.name, size_bytes=size_bytes, crc32=crc32))


def _pack(
    parts: Sequence[Part],
    empty_folders: Sequence[str],
    root_name: str,
    out: BinaryIO,
    folder: Path,
    meter: Meter,
) -> dict[str, str]:
    """Write the whole archive to ``out``; return name -> sha256 of what was compressed."""
    sevenzip.start(out)
    streams: list[PackedStream] = []
    digests: dict[str, str] = {}
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        try:
            jobs = {
                id(part): pool.submit(_compress, part, folder, meter, stop)
                for part in sorted(parts, key=lambda part: -part.size_bytes)  # the longest first: cores end together
                if not part.is_stored
            }
            for part in parts:
                if part.is_stored:
                    packed, size_bytes, crc32 = _store(part, out, meter), part.size_bytes, None
                else:
                    packed, spool, crc32 = jobs[id(part)].result()
                    with spool:
                        size_bytes = spool.tell()
                        spool.seek(0)
                        shutil.copyfileobj(spool, out, _CHUNK)
                streams.append(
                    PackedStream(
                        members=[_under_root(member, root_name) for member in packed.members],
                        filters=part.filters,
                        size_bytes=size_bytes,
                        crc32=crc32,
                    )
                )
                digests.update(packed.sha256)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    sevenzip.finish(out, streams, [f"{root_name}/{name}" for name in empty_folders])
    return digests


def _under_root(member: PackedMember, root_name: str) -> PackedMember:
    return PackedMember(name=f"{root_name}/{member.name}", size_bytes=member.size_bytes, crc32=member.crc32)


def _compress(part: Part, folder: Path, meter: Meter, stop: threading.Event) -> tuple[_Packed, BinaryIO, int]:
    """Compress one part into an unnamed file in ``folder``; return it with the checksum of its bytes."""
    packed, crc32 = _Packed(), 0
    compressor = lzma.LZMACompressor(format=lzma.FORMAT_RAW, filters=list(part.filters))
    spool = cast(BinaryIO, tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - closed by whoever copies it
    try:
        for chunk in _content(part, packed, meter):
            if stop.is_set():
                raise RuntimeError("another part failed")
            data = compressor.compress(chunk)
            crc32 = zlib.crc32(data, crc32)
            spool.write(data)
        data = compressor.flush()
        crc32 = zlib.crc32(data, crc32)
        spool.write(data)
    except BaseException:
        spool.close()
        raise
    return packed, spool, crc32


def _store(part: Part, out: BinaryIO, meter: Meter) -> _Packed:
    """Copy one part into the archive as it is: reading, checksum and writing each in a thread of its own.

    It is hashed when it is read back: both cores have enough to do here, and then the digest is of what was written.
    """
    (file,) = part.files
    size_bytes, crc32 = 0, Crc32()
    with file.path.open("rb", buffering=0) as source:
        for chunk in read_once(source, [crc32.update, out.write]):
            size_bytes += len(chunk)
            meter.add(len(chunk))
    packed = _Packed()
    packed.add(file, size_bytes, crc32.value)
    return packed


def _content(part: Part, packed: _Packed, meter: Meter) -> Iterator[bytes]:
    """Yield the files of ``part`` in chunks, filling ``packed``."""
    for file in part.files:
        size_bytes, crc32, digest = 0, 0, hashlib.sha256()
        with file.path.open("rb") as source:
            while chunk := source.read(_CHUNK):
                size_bytes += len(chunk)
                crc32 = zlib.crc32(chunk, crc32)
                digest.update(chunk)
                meter.add(len(chunk))
                yield chunk
        packed.add(file, size_bytes, crc32)
        packed.sha256[file.name] = digest.hexdigest()


def _move_into_place(paths: Sequence[Path], target: Path) -> tuple[Path, ...]:
    """Give the finished files their names, the first one last, and remove what an earlier build left beside them.

    Volumes cannot be replaced in one step; after a power cut between two of them, the checksums tell.
    """
    final = [target.with_name(path.name) for path in paths]
    for path, place in reversed(list(zip(paths, final, strict=True))):
        move(path, place)
    for stale in {target, *existing_volumes(target)} - set(final):
        stale.unlink(missing_ok=True)
    return tuple(final)
