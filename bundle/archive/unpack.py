"""Unpack wheels, zips and sdists that may be damaged or hostile.

Refused are names that leave the folder or that Windows cannot hold, links out of the archive, devices, encrypted or
overlapping members, duplicates, more members or bytes than allowed, and anything truncated or damaged. The target
appears only when every wanted member is there: all is written to a folder beside it first, which then takes its name.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from bundle.disk import disk_named
from bundle.errors import BundleError, StorageError, UsageError
from bundle.windows.names import NameSet, member_problem
from oneclick.files import patiently

MAX_BYTES = 2 << 30
"""Bytes an archive may unpack to unless the caller says otherwise."""
MAX_MEMBERS = 100_000
MAX_RATIO = 200
"""Unpacked bytes for each byte of the archive, beyond the first ``_FREE_BYTES``; wheels and sdists stay below 30."""
_FREE_BYTES = 64 << 20
_MAX_DIRECTORY_BYTES = 16 << 20  # a zip's list of members; bounds the memory zipfile takes before we see a name
_MAX_TAR_HEADER_BYTES = 1 << 20  # one long name or pax record; tarfile reads it whole
_CHUNK = 1 << 20

Select = Callable[[str], bool]

_DISK_ADVICE = "free some space, or choose a folder you may write to with a shorter path"


class BadArchive(UsageError):
    """An archive that is damaged, or that tries something no honest archive does."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path.name} cannot be unpacked safely",
            why=why,
            do="delete it and fetch it again; if it stays the same, do not use this source",
        )


@dataclass(frozen=True)
class _Member:
    """One entry of an archive. ``data`` must be read before the next entry is asked for."""

    name: str
    size_bytes: int
    data: Iterable[bytes]
    is_folder: bool = False
    link: str | None = None
    """Name of the member whose content this one repeats; used for links, which Windows users cannot make."""


def unpack_zip(path: Path, target: Path, *, select: Select | None = None, max_bytes: int = MAX_BYTES) -> list[str]:
    """Unpack the zip or wheel at ``path`` into the new folder ``target``; return the names written, sorted.

    select: names to take, all by default. Raises BadArchive, or StorageError when the disk does not take it.
    """
    with _opened(path) as file:
        return _write(path, _zip_members(path, file), target, select, max_bytes)


def unpack_tar(path: Path, target: Path, *, select: Select | None = None, max_bytes: int = MAX_BYTES) -> list[str]:
    """Unpack the tar at ``path`` (plain, gzip, bzip2 or xz) as unpack_zip does a zip.

    A link to another member is written as a copy of it. Permissions are not restored.
    """
    with _opened(path) as file:
        return _write(path, _tar_members(path, file, max_bytes), target, select, max_bytes)


@contextlib.contextmanager
def read_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the zip or wheel at ``path`` for reading members in memory; names, sizes and overlaps are checked first.

    Raises BadArchive for what unpack_zip refuses, also for damage found inside the ``with`` block.
    """
    with _opened(path) as file, _damage_named(path):
        _check_directory_size(path, file)
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            _check_overlap(path, infos, archive.start_dir)
            limits = _Limits(path, path.stat().st_size, MAX_BYTES)
            for info in infos:
                _check_zip_entry(path, info)
                limits.check(_Member(_zip_name(path, info), info.file_size, (), is_folder=info.is_dir()))
            yield archive


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be read", why=error.strerror or str(error), do=f"check {path.parent}"
        ) from error
    with file:
        yield file


# Reading


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
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


def _zip_members(path: Path, file: BinaryIO) -> Generator[_Member, None, None]:
    with _damage_named(path):
        _check_directory_size(path, file)
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            _check_overlap(path, infos, archive.start_dir)
            for info in infos:
                _check_zip_entry(path, info)
                name = _zip_name(path, info)
                if info.is_dir():
                    yield _Member(name, 0, (), is_folder=True)
                    continue
                with archive.open(info) as data:
                    yield _Member(name, info.file_size, _chunks(data))


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


def _tar_members(path: Path, file: BinaryIO, max_bytes: int) -> Generator[_Member, None, None]:
    with _damage_named(path):
        stream = _Limited(_decompressed(file), max_bytes + 2048 * MAX_MEMBERS)

        class Header(_TarInfo):
            """A class of its own, because tarfile takes a class and ``ended_by`` belongs to one archive."""

        with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", tarinfo=Header, errorlevel=1) as archive:
            while (info := archive.next()) is not None:
                yield _tar_member(path, archive, info)
        if Header.ended_by != "EOFHeaderError":
            raise BadArchive(path, "its end is missing or a header is damaged")


def _tar_member(path: Path, archive: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    name = info.name.rstrip("/")
    name = name[2:] if name.startswith("./") else name
    if info.isdir():
        return _Member(name or ".", 0, (), is_folder=True)
    if info.islnk():
        return _Member(name, 0, (), link=_inside(path, name, info.linkname))
    if info.issym():
        return _Member(name, 0, (), link=_inside(path, name, "/".join([*name.split("/")[:-1], info.linkname])))
    if not info.isreg() or info.issparse():
        raise BadArchive(path, f"{name!r} is a device or another special file")
    data = archive.extractfile(info)
    if data is None:
        raise BadArchive(path, f"{name!r} has no content")
    return _Member(name, info.size, _chunks(data))


def _inside(path: Path, name: str, target: str) -> str:
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


# Writing


def _write(
    path: Path, members: Generator[_Member, None, None], target: Path, select: Select | None, max_bytes: int
) -> list[str]:
    """Write the wanted members to a folder beside ``target``, then give it that name."""
    # An OSError here means the disk: the readers' own were mapped before.
    with contextlib.ExitStack() as stack, disk_named(target, _DISK_ADVICE):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StorageError(f"{target} is not empty", why="unpacking makes a new folder", do="remove it first")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        stack.callback(members.close)
        content = temporary / "content"
        content.mkdir()
        limits = _Limits(path, path.stat().st_size, max_bytes)
        written: list[str] = []
        links: list[_Member] = []
        for member in members:
            limits.check(member)
            if member.is_folder or (select is not None and not select(member.name)):
                continue
            written.append(member.name)
            if member.link is not None:
                links.append(member)
                continue
            _write_file(path, content / member.name, member, limits)
        _copy_links(path, content, links, limits)
        if target.exists():
            target.rmdir()
        patiently(lambda: content.replace(target))
        return sorted(written)


def _write_file(path: Path, file: Path, member: _Member, limits: _Limits) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with file.open("xb") as out:
        for chunk in _read_by(path, member.data):
            size += len(chunk)
            limits.count(member, len(chunk))
            out.write(chunk)
    if size != member.size_bytes:
        raise BadArchive(path, f"{member.name} has {size} bytes, {member.size_bytes} were declared")


def _read_by(path: Path, data: Iterable[bytes]) -> Iterator[bytes]:
    """``data``, with the reader's errors told apart from the disk's."""
    iterator = iter(data)
    while True:
        with _damage_named(path):
            chunk = next(iterator, b"")
        if not chunk:
            return
        yield chunk


def _copy_links(path: Path, content: Path, links: list[_Member], limits: _Limits) -> None:
    """Write each link as a copy of what it points to, following links to links."""
    targets = {member.name: member.link or "" for member in links}
    for member in links:
        name, steps = member.name, 0
        while name in targets and steps <= len(targets):
            name, steps = targets[name], steps + 1
        source = content / name
        if not name or member_problem(name) or not source.is_file():
            raise BadArchive(path, f"{member.name} is a link to {member.link!r}, which is no file unpacked here")
        limits.count(member, source.stat().st_size)
        copy = content / member.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


class _Limits:
    """What one archive may hold: names, members, bytes, and how much it may grow."""

    def __init__(self, path: Path, archive_bytes: int, max_bytes: int) -> None:
        self._path = path
        self._names = NameSet()
        self._members = 0
        self._written = 0
        self._declared = 0
        self._max_bytes = min(max_bytes, _FREE_BYTES + MAX_RATIO * archive_bytes)

    def check(self, member: _Member) -> None:
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

    def count(self, member: _Member, size_bytes: int) -> None:
        """Add bytes really written."""
        self._written += size_bytes
        self._refuse_above(self._written)

    def _refuse_above(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise BadArchive(self._path, f"it unpacks to more than {self._max_bytes} bytes")
