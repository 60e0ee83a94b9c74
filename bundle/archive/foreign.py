"""Members of zips and tars that others made, read one by one, every oddity an error."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from bundle.errors import BundleError, StorageError, UsageError
from bundle.windows.names import NameSet, member_problem

MAX_BYTES = 2 << 30
"""Bytes an archive may unpack to unless the caller says otherwise."""
MAX_MEMBERS = 100_000
MAX_RATIO = 200
"""Unpacked bytes for each byte of the archive, beyond the first ``_FREE_BYTES``; wheels and sdists stay below 30."""
_FREE_BYTES = 64 << 20
_MAX_DIRECTORY_BYTES = 16 << 20  # a zip's list of members; bounds the memory zipfile takes before we see a name
_MAX_TAR_HEADER_BYTES = 1 << 20  # one long name or pax record; tarfile reads it whole
_CHUNK = 1 << 20


class BadArchive(UsageError):
    """An archive that is damaged, or that tries something no honest archive does."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path.name} cannot be unpacked safely",
            why=why,
            do="delete it and fetch it again; if it stays the same, do not use this source",
        )


@dataclass(frozen=True)
class Member:
    """One entry of an archive. ``data`` must be read before the next entry is asked for."""

    name: str
    size_bytes: int
    data: Iterable[bytes]
    is_folder: bool = False
    link: str | None = None
    """Name of the member whose content this one repeats; used for links, which Windows users cannot make."""


@contextlib.contextmanager
def read_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the zip or wheel at ``path`` for reading members in memory; names, sizes and overlaps are checked first.

    Raises BadArchive for what unpack_zip refuses, also for damage found inside the ``with`` block.
    """
    with opened(path) as file, damage_named(path):
        _check_directory_size(path, file)
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            _check_overlap(path, infos, archive.start_dir)
            limits = Limits(path, path.stat().st_size, MAX_BYTES)
            for info in infos:
                _check_zip_entry(path, info)
                limits.check(Member(_zip_name(path, info), info.file_size, (), is_folder=info.is_dir()))
            yield archive


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be read", why=error.strerror or str(error), do=f"check {path.parent}"
        ) from error
    with file:
        yield file


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn everything a reader throws at hostile bytes into BadArchive."""
    try:
        yield
    except BundleError:
        raise
    except (EOFError, zlib.error, lzma.LZMAError, struct.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise BadArchive(path, f"it is damaged or cut short ({error})") from error
    except (OSError, ValueError, RuntimeError, IndexError, KeyError, OverflowError, NotImplementedError) as error:
        raise BadArchive(path, f"it cannot be read ({type(error).__name__}: {error})") from error
    except MemoryError as error:
        raise BadArchive(path, "it asks for more memory than there is") from error


def zip_members(path: Path, file: BinaryIO) -> Generator[Member, None, None]:
    with damage_named(path):
        _check_directory_size(path, file)
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            _check_overlap(path, infos, archive.start_dir)
            for info in infos:
                _check_zip_entry(path, info)
                name = _zip_name(path, info)
                if info.is_dir():
                    yield Member(name, 0, (), is_folder=True)
                    continue
                with archive.open(info) as data:
                    yield Member(name, info.file_size, _chunks(data))


def _check_directory_size(path: Path, file: BinaryIO) -> None:
    """Refuse a list of members too long to read into memory. Zip64 is refused: nothing we unpack is that large."""
    size = file.seek(0, 2)
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise BadArchive(path, "it has no list of members: it is no zip, or it is cut short")
    count, directory_size = struct.unpack("<HI", tail[end + 10 : end + 16])
    if count == 0xFFFF or directory_size == 0xFFFFFFFF or tail[max(0, end - 20) : end].startswith(b"PK\x06\x07"):
        raise BadArchive(path, "it is a zip64 archive")
    if directory_size > _MAX_DIRECTORY_BYTES:
        raise BadArchive(path, f"its list of members takes {directory_size} bytes, more than {_MAX_DIRECTORY_BYTES}")
    file.seek(0)


def _check_overlap(path: Path, infos: list[zipfile.ZipInfo], directory_at: int) -> None:
    """Refuse members that share bytes: the way to a bomb of any size in a small file."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise BadArchive(path, f"{info.filename!r} overlaps the member before it")
        end = info.header_offset + 30 + info.compress_size
    if end > directory_at:
        raise BadArchive(path, "a member reaches into the list of members")


def _check_zip_entry(path: Path, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 0x1:
        raise BadArchive(path, f"{info.filename!r} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadArchive(path, f"{info.filename!r} uses compression method {info.compress_type}")
    kind = info.external_attr >> 16 & 0o170000
    if kind not in (0, 0o100000, 0o040000):
        raise BadArchive(path, f"{info.filename!r} is a link or a device")
    if info.is_dir() and info.file_size:
        raise BadArchive(path, f"the folder {info.filename!r} has content")


def _zip_name(path: Path, info: zipfile.ZipInfo) -> str:
    # zipfile cuts names at NUL and turns the host's separator into "/": look at what the archive says.
    name: str = info.orig_filename
    return name[:-1] if info.is_dir() and len(name) > 1 else name


class _TarInfo(tarfile.TarInfo):
    """Refuses headers that make tarfile read megabytes at once; remembers how the list of members ended."""

    ended_by = ""
    """Name of tarfile's exception for the last thing that was no header; EOFHeaderError at an honest end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _TarInfo:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            cls.ended_by = type(error).__name__
            raise
        special = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        long_name = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if info.type in special + long_name and info.size > _MAX_TAR_HEADER_BYTES:
            raise ValueError(f"a header of {info.size} bytes")
        return info


class _Limited:
    """A stream that raises once more than ``limit`` bytes were read: an endless tar ends here."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream, self._left = stream, limit

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("it unpacks to more than the limit")
        return data


def tar_members(path: Path, file: BinaryIO, max_bytes: int) -> Generator[Member, None, None]:
    with damage_named(path):
        stream = _Limited(_decompressed(file), max_bytes + 2048 * MAX_MEMBERS)

        class Header(_TarInfo):
            """A class of its own, because tarfile takes a class and ``ended_by`` belongs to one archive."""

        with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", tarinfo=Header, errorlevel=1) as archive:
            while (info := archive.next()) is not None:
                yield _tar_member(path, archive, info)
        if Header.ended_by != "EOFHeaderError":
            raise BadArchive(path, "its end is missing or a header is damaged")


def _tar_member(path: Path, archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    name = info.name.rstrip("/")
    name = name[2:] if name.startswith("./") else name
    if info.isdir():
        return Member(name or ".", 0, (), is_folder=True)
    if info.islnk():
        return Member(name, 0, (), link=inside(path, name, info.linkname))
    if info.issym():
        return Member(name, 0, (), link=inside(path, name, "/".join([*name.split("/")[:-1], info.linkname])))
    if not info.isreg() or info.issparse():
        raise BadArchive(path, f"{name!r} is a device or another special file")
    data = archive.extractfile(info)
    if data is None:
        raise BadArchive(path, f"{name!r} has no content")
    return Member(name, info.size, _chunks(data))


def inside(path: Path, name: str, target: str) -> str:
    """The member a link points to, ``.`` and ``..`` resolved; raises when it points out of the archive."""
    if target.startswith("/") or "\\" in target:
        raise BadArchive(path, f"{name!r} is a link out of the archive")
    parts: list[str] = []
    for part in target.split("/"):
        if part == "..":
            if not parts:
                raise BadArchive(path, f"{name!r} is a link out of the archive")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _decompressed(file: BinaryIO) -> BinaryIO:
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if magic.startswith(b"BZh"):
        return cast(BinaryIO, bz2.BZ2File(file))
    if magic.startswith(b"\xfd7zXZ"):
        return cast(BinaryIO, lzma.LZMAFile(file))
    return file


def _chunks(data: IO[bytes]) -> Iterator[bytes]:
    while chunk := data.read(_CHUNK):
        yield chunk


class Limits:
    """What one archive may hold: names, members, bytes, and how much it may grow."""

    def __init__(self, path: Path, archive_bytes: int, max_bytes: int) -> None:
        self._path = path
        self._names = NameSet()
        self._members = 0
        self._written = 0
        self._declared = 0
        self._max_bytes = min(max_bytes, _FREE_BYTES + MAX_RATIO * archive_bytes)

    def check(self, member: Member) -> None:
        """Refuse a member before a byte of it is written."""
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise BadArchive(self._path, f"it has more than {MAX_MEMBERS} members")
        if member.is_folder and member.name == ".":
            return
        problem = member_problem(member.name)
        if problem is None:
            problem = self._names.add(member.name, is_folder=member.is_folder)
        if problem is not None:
            raise BadArchive(self._path, f"the member name {member.name!r} is not allowed: {problem}")
        self._declared += member.size_bytes
        self._refuse_above(self._declared)

    def count(self, member: Member, size_bytes: int) -> None:
        """Add bytes really written."""
        self._written += size_bytes
        self._refuse_above(self._written)

    def _refuse_above(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise BadArchive(self._path, f"it unpacks to more than {self._max_bytes} bytes")
