"""Pack a staged tree into ``ChatGLM3_cpp.7z``: the same bytes on every machine, and never a broken file under its name.

Members are sorted, have one fixed time and plain Windows attributes; owner, umask, time zone and locale of the machine
leave no trace. The archive grows under a temporary name, is read back and compared with the tree, and only then moves.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import lzma
import os
import posixpath
import shutil
import stat
import tempfile
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from bundle.archive import sevenzip
from bundle.archive.hashing import Crc32, PieceDigests, PrefixDigests, Taker, read_once
from bundle.archive.read import ArchiveReader
from bundle.archive.sevenzip import PackedMember, PackedStream
from bundle.archive.volumes import VolumeReader, VolumeWriter, check_volume_size, existing_volumes
from bundle.disk import disk_named
from bundle.errors import AuditFailed, DigestMismatch, UsageError
from bundle.scratch import scratch_folder
from bundle.windows.names import NameSet, member_problem

ROOT_NAME = "ChatGLM3_cpp"
_CHUNK = 1 << 20

Progress = Callable[[int, int], None]
"""(bytes done, bytes in all): packing and reading back count alike. Called from several threads, one at a time."""

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


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file of the tree that becomes a member."""

    name: str
    """Inside the root folder."""
    path: Path
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Files that share a packed stream."""

    files: tuple[_File, ...]
    filters: Sequence[dict[str, Any]]

    @property
    def is_stored(self) -> bool:
        return self.filters is sevenzip.COPY

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


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
        files, empty_folders = _list_tree(tree)
        parts = _plan(files, stored)
        meter = _Meter(2 * sum(file.size_bytes for file in files), progress)
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(target.parent, f".{target.name}.part-") as folder:
            with contextlib.closing(VolumeWriter(folder / target.name, volume_size)) as out:
                went_in = _pack(parts, empty_folders, root_name, cast(BinaryIO, out), folder, meter)
            copies = [file.name for part in parts if part.is_stored for file in part.files]
            read = _read_back(out.paths, root_name, went_in, copies, digests or {}, empty_folders, meter)
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


# What to pack


def _list_tree(tree: Path) -> tuple[list[_File], list[str]]:
    """All files of ``tree`` sorted by name, and the folders in it that are empty."""
    files: list[_File] = []
    empty: list[str] = []
    names = NameSet()
    for folder, subfolders, file_names in os.walk(tree, onerror=_raise):
        inside = Path(folder).relative_to(tree)
        if not subfolders and not file_names and inside.parts:
            empty.append(inside.as_posix())
        for file_name in [*file_names, *subfolders]:
            path = Path(folder) / file_name
            name = (inside / file_name).as_posix()
            status = path.lstat()
            is_folder = stat.S_ISDIR(status.st_mode)
            if not is_folder and not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{name} cannot be packed", why="it is a link or a device", do="remove it")
            problem = member_problem(name) or names.add(name, is_folder=is_folder)
            if problem is not None:
                raise UsageError(f"{name!r} cannot be packed", why=problem, do="rename or remove it")
            if not is_folder:
                files.append(_File(name=name, path=path, size_bytes=status.st_size))
    if not files:
        raise UsageError(f"{tree} holds no files", why="there is nothing to pack", do="check the staging folder")
    return sorted(files, key=lambda file: file.name), sorted(empty)


def _raise(error: OSError) -> None:
    raise error


def _plan(files: Sequence[_File], stored: Collection[str]) -> list[_Part]:
    """Divide ``files`` into streams, by nothing but their names and sizes; stored ones come last.

    Streams are what several cores work on at once, so their number must not depend on the cores. Files that have
    nothing in common lose nothing by being apart: the engine and its libraries (GCC and LLVM made them) go together,
    other programs (Microsoft's compiler made most) and texts too, each sorted so that similar files meet. For the
    default bundle the first takes one core as long as the other two take a second one.
    """
    unknown = sorted(set(stored) - {file.name for file in files})
    if unknown:
        raise UsageError(f"{unknown[0]} is not in the tree", why="it was to be stored", do="check its name")
    packed = [file for file in files if file.name not in stored]
    programs = [file for file in packed if _suffix(file) in _PROGRAMS | _TABLES]
    engine = [file for file in programs if file.name.startswith(_ENGINE)]
    if sum(file.size_bytes for file in engine) < _LARGE_BYTES:
        engine = []
    others = sorted(set(programs) - set(engine), key=_among_programs)
    texts = [file for file in packed if _suffix(file) not in _PROGRAMS | _TABLES]
    engine.sort(key=lambda file: (-file.size_bytes, file.name))
    texts.sort(key=lambda file: (_suffix(file), file.name))
    return [
        *(_Part(files=part, filters=_ENGINE_CODE) for part in _cut(engine)),
        *(_Part(files=part, filters=_CODE) for part in _cut(others)),
        *(_Part(files=part, filters=_TEXT) for part in _cut(texts)),
        *(_Part(files=(file,), filters=sevenzip.COPY) for file in files if file.name in stored),
    ]


def _among_programs(file: _File) -> tuple[bool, str, str, str]:
    """Sort key: programs by kind and name, tables behind them."""
    return _suffix(file) in _TABLES, _suffix(file), posixpath.basename(file.name), file.name


def _suffix(file: _File) -> str:
    return posixpath.splitext(file.name)[1].lower()


def _cut(files: Sequence[_File]) -> Iterator[tuple[_File, ...]]:
    """Cut ``files`` into runs of at most ``_PART_BYTES``, or of one file."""
    part: list[_File] = []
    size_bytes = 0
    for file in files:
        if part and size_bytes + file.size_bytes > _PART_BYTES:
            yield tuple(part)
            part, size_bytes = [], 0
        part.append(file)
        size_bytes += file.size_bytes
    if part:
        yield tuple(part)


_ENGINE = "app/engine/"
_PROGRAMS = {".exe", ".dll", ".pyd"}
_TABLES = {".bin", ".cat"}
"""What shares bytes with programs: tables that are compiled in as well, certificates of signatures."""
_LARGE_BYTES = 16 << 20
"""An engine without OpenBLAS is too small for a stream of its own."""
_PART_BYTES = 40 << 20
_DICTIONARY_BYTES = 12 << 20
"""A compressor takes 12 times as much memory, and one runs per core: with 16 MiB a build on two cores needs 547 MB,
with 12 MiB 441 MB (bench/build.py --quick)."""
_TEXT_DICTIONARY_BYTES = 8 << 20
"""As large as all texts of the default bundle: more would gain no byte."""


def _lzma2(**settings: int) -> dict[str, Any]:
    extreme = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": _DICTIONARY_BYTES}
    return {**extreme, **settings}


# Measured on the default bundle (50 MB, docs/PERFORMANCE.md): a search depth of 32 takes a third less time than the
# preset's 512 for 0.1 % more; nice_len 80 half as long as 273 for 0.03 % more, which programs get back at 96. pb=0 and
# lc=4 save 0.6 % of OpenBLAS and 0.2 % of the texts; of other programs they cost 0.1 %.
_X86 = {"id": lzma.FILTER_X86}
_ENGINE_CODE = (_X86, _lzma2(nice_len=80, depth=32, lc=4, pb=0))
_CODE = (_X86, _lzma2(nice_len=96, depth=32))
_TEXT = (_lzma2(nice_len=80, depth=32, lc=4, pb=0, dict_size=_TEXT_DICTIONARY_BYTES),)


# Packing


@dataclass
class _Meter:
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


@dataclass
class _Packed:
    """Members of a stream, growing while it is packed, and digests of those that are compressed."""

    members: list[PackedMember] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)

    def add(self, file: _File, size_bytes: int, crc32: int) -> None:
        """Take in a file whose content was just read."""
        if size_bytes != file.size_bytes:
            raise UsageError(f"{file.name} changed while it was packed", why="its size is another", do="build again")
        self.members.append(PackedMember(name=file.name, size_bytes=size_bytes, crc32=crc32))


def _pack(
    parts: Sequence[_Part],
    empty_folders: Sequence[str],
    root_name: str,
    out: BinaryIO,
    folder: Path,
    meter: _Meter,
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


def _compress(part: _Part, folder: Path, meter: _Meter, stop: threading.Event) -> tuple[_Packed, BinaryIO, int]:
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


def _store(part: _Part, out: BinaryIO, meter: _Meter) -> _Packed:
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


def _content(part: _Part, packed: _Packed, meter: _Meter) -> Iterator[bytes]:
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


# Proving and moving


@dataclass(frozen=True, kw_only=True)
class _Read:
    """Digests of what was read back."""

    whole: str
    volumes: tuple[str, ...]
    members: dict[str, str]


def _read_back(
    paths: Sequence[Path],
    root_name: str,
    went_in: Mapping[str, str],
    copies: Sequence[str],
    pinned: Mapping[str, str],
    empty_folders: Sequence[str],
    meter: _Meter,
) -> _Read:
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
    return _Read(whole=whole, volumes=volumes, members=members)


def _read_stream(
    path: Path, index: int, root_name: str, went_in: Mapping[str, str], unread: Collection[str], meter: _Meter
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


def _move_into_place(paths: Sequence[Path], target: Path) -> tuple[Path, ...]:
    """Give the finished files their names, the first one last, and remove what an earlier build left beside them.

    Volumes cannot be replaced in one step; after a power cut between two of them, the checksums tell.
    """
    final = [target.with_name(path.name) for path in paths]
    for path, place in reversed(list(zip(paths, final, strict=True))):
        path.replace(place)
    for stale in {target, *existing_volumes(target)} - set(final):
        stale.unlink(missing_ok=True)
    return tuple(final)
