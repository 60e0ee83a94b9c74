"""Read a .7z of this builder as a stream of members, without unpacking it and without trusting it.

Only what bundle.archive.write writes is accepted: stored, LZMA2, or x86-BCJ + LZMA2 streams that follow each other
without gaps, a checksum for everything, safe names, no links. So a byte that differs from what was written is always
noticed.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from py7zr import SevenZipFile
from py7zr.archiveinfo import HeaderStreamsInfo
from py7zr.properties import COMPRESSION_METHOD, MAGIC_7Z, PROPERTY

from bundle.archive.sevenzip import SIGNATURE_BYTES
from bundle.archive.unpacker import CHUNK_BYTES, DamagedArchive, Entry, Stream, Unpacker
from bundle.archive.volumes import VolumeReader, find_volumes
from bundle.errors import BundleError, StorageError
from bundle.windows.names import NameSet, member_problem

MAX_DICTIONARY_BYTES = 128 << 20
MAX_LIST_BYTES = 8 << 20
"""Unpacked size of the list of members: some 40 000 of them."""
MAX_ENTRIES = 50_000
MAX_RATIO = 1000
"""Unpacked bytes for each byte of the archive, beyond 1 GiB."""

_VERSION = b"\x00\x04"
_ATTRIBUTE_FOLDER, _ATTRIBUTE_LINK, _ATTRIBUTE_UNIX = 0x10, 0x400, 0x8000


class ArchiveReader:
    """The members of one archive (or of its volumes); a context manager.

    Raises UsageError when the file is not there, StorageError when the disk fails, DamagedArchive for everything else.
    """

    def __init__(self, path: Path, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        """chunk_bytes: packed bytes read at once; small ones make ``packed_bytes_read`` exact."""
        self.chunk_bytes = chunk_bytes
        self.packed_bytes_read = 0
        self.volumes = find_volumes(path)
        self.path = path if len(self.volumes) == 1 else self.volumes[0].with_suffix("")
        try:
            self._raw = VolumeReader(self.volumes)
        except OSError as error:
            raise self._unreadable(error) from error
        self._file = cast(BinaryIO, io.BufferedReader(self._raw, CHUNK_BYTES))
        try:
            self.streams, self.folders = self._read_list()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def size_bytes(self) -> int:
        """Size of the archive, all volumes together."""
        return self._raw.size_bytes

    @property
    def entries(self) -> list[Entry]:
        """All members: files in the order in which they are packed, then the folders that are listed."""
        return [entry for stream in self.streams for entry in stream.entries] + list(self.folders)

    def members(self) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Yield each file with its content in chunks, in packed order; the checksum is compared at its end.

        A content must be read before the next member is asked for; what is left of it is read and checked then.
        """
        for stream in self.streams:
            yield from self.members_of(stream)

    def members_of(self, stream: Stream, *, unread: Collection[str] = ()) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """``members`` of one stream alone.

        unread: names of stored members that come without their content.
        """
        if not stream.filters and all(entry.name in unread for entry in stream.entries):
            yield from ((entry, iter(())) for entry in stream.entries)
            return
        source = Unpacker(self, stream)
        for entry in stream.entries:
            content = source.content(entry)
            yield entry, content
            for _ in content:
                pass
        source.finish()

    def damaged(self, why: str, member: str | None = None) -> DamagedArchive:
        """The error for this archive."""
        return DamagedArchive(self.path, why, member=member)

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes of the archive file itself; fewer at its end."""
        try:
            return self._raw.read_at(offset, size)
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path.name} cannot be read",
            why=error.strerror or str(error),
            do="check the disk and the permissions",
        )

    # The list of members

    def _read_list(self) -> tuple[list[Stream], list[Entry]]:
        list_at = self._check_signature()
        try:
            self._check_packed_list(list_at)
            self._file.seek(0)
            with SevenZipFile(cast(Any, self._file), "r") as archive:
                files, header = list(archive.files), archive.header
                entries = [self._entry(file) for file in files]
                has_data = [not file.emptystream for file in files]
        except BundleError:
            raise
        except OSError as error:
            raise self._unreadable(error) from error
        except (Exception, MemoryError) as error:
            # py7zr lets many kinds of exceptions through for hostile bytes, AssertionError and TypeError among them.
            raise self.damaged(f"its list of members cannot be read ({type(error).__name__}: {error})") from error
        self._check_names(entries)
        streams = self._streams(header, [entry for entry, data in zip(entries, has_data, strict=True) if data])
        folders = [entry for entry, data in zip(entries, has_data, strict=True) if not data]
        for entry in folders:
            if not entry.is_folder:
                raise self.damaged("a file has no content", entry.name)
        self._check_gaps(streams)
        return streams, folders

    def _check_signature(self) -> int:
        """Check the first 32 bytes and that the list of members ends the file; return where it starts."""
        head = self.read_at(0, SIGNATURE_BYTES)
        if len(head) < SIGNATURE_BYTES or head[:6] != MAGIC_7Z:
            raise self.damaged("it does not start like a .7z file")
        if head[6:8] != _VERSION:
            raise self.damaged(f"it has 7z version {head[6]}.{head[7]}, this builder writes 0.4")
        crc32, offset, size, list_crc32 = struct.unpack("<IQQI", head[8:])
        if zlib.crc32(head[12:]) != crc32:
            raise self.damaged("its signature header does not match its checksum")
        if SIGNATURE_BYTES + offset + size != self.size_bytes:
            raise self.damaged(f"it is {self.size_bytes} bytes long, its header says {SIGNATURE_BYTES + offset + size}")
        if not 0 < size <= 1 << 16:
            raise self.damaged(f"the entry for its list of members has {size} bytes")
        if zlib.crc32(self.read_at(SIGNATURE_BYTES + offset, size)) != list_crc32:
            raise self.damaged("the entry for its list of members does not match its checksum")
        self._entry_bytes = size
        return SIGNATURE_BYTES + int(offset)

    def _check_packed_list(self, entry_at: int) -> None:
        """Refuse a list that would unpack to too much, before py7zr unpacks it, or one that has no checksum."""
        entry = io.BytesIO(self.read_at(entry_at, self._entry_bytes))
        if entry.read(1) != PROPERTY.ENCODED_HEADER:
            raise self.damaged("its list of members is not packed as this builder packs it")
        info = HeaderStreamsInfo.retrieve(cast(BinaryIO, entry))
        if len(info.unpackinfo.folders) != 1 or len(info.packinfo.packsizes) != 1 or entry.read(1):
            raise self.damaged("its list of members is not in one piece")
        folder = info.unpackinfo.folders[0]
        self._list_at = SIGNATURE_BYTES + info.packinfo.packpos
        if self._list_at + info.packinfo.packsizes[0] != entry_at:
            raise self.damaged("there are bytes that belong to nothing before the end")
        if not folder.digestdefined:
            raise self.damaged("its list of members has no checksum")
        if folder.unpacksizes[-1] > MAX_LIST_BYTES:
            raise self.damaged(f"its list of members unpacks to {folder.unpacksizes[-1]} bytes")
        filters = self._filters(folder.coders)
        if not filters:
            raise self.damaged("its list of members is stored")
        # py7zr stops when it has all members; the end mark behind them must be right as well.
        unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=list(filters))
        unpacker.decompress(self.read_at(self._list_at, info.packinfo.packsizes[0]), MAX_LIST_BYTES + 1)
        if not unpacker.eof or unpacker.unused_data:
            raise self.damaged("its list of members does not end where it should")

    def _filters(self, coders: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
        """Filters for Python's lzma from the archive's coders; empty for a stored stream."""
        methods = [coder["method"] for coder in coders]
        if any(coder["numinstreams"] != 1 or coder["numoutstreams"] != 1 for coder in coders):
            raise self.damaged("a stream is split")
        if methods == [COMPRESSION_METHOD.COPY]:
            return ()
        if methods not in (
            [COMPRESSION_METHOD.LZMA2],
            [COMPRESSION_METHOD.LZMA2, COMPRESSION_METHOD.P7Z_BCJ],
        ):
            raise self.damaged("it is compressed in a way this builder does not use")
        properties = coders[0]["properties"]
        if not properties or len(properties) != 1 or (len(coders) == 2 and coders[1]["properties"]):
            raise self.damaged("a compression setting is broken")
        dictionary = _lzma2_dictionary_bytes(properties[0])
        if dictionary > MAX_DICTIONARY_BYTES:
            raise self.damaged(f"a stream needs {dictionary} bytes of memory to unpack")
        lzma2 = {"id": lzma.FILTER_LZMA2, "dict_size": dictionary}
        return ({"id": lzma.FILTER_X86}, lzma2) if len(coders) == 2 else (lzma2,)

    def _entry(self, file: Any) -> Entry:
        attributes = file._get_property("attributes") or 0
        if attributes & (_ATTRIBUTE_LINK | _ATTRIBUTE_UNIX):
            raise self.damaged("it is a link, or carries Unix permissions", file.filename)
        crc32 = file.crc32
        if not file.emptystream and crc32 is None:
            raise self.damaged("it has no checksum", file.filename)
        return Entry(
            name=file.filename,
            size_bytes=file.uncompressed,
            crc32=crc32 or 0,
            is_folder=bool(attributes & _ATTRIBUTE_FOLDER),
            attributes=attributes,
            modified=int(file.lastwritetime or 0),
        )

    def _check_names(self, entries: list[Entry]) -> None:
        if len(entries) > MAX_ENTRIES:
            raise self.damaged(f"it lists {len(entries)} members, more than {MAX_ENTRIES}")
        names = NameSet()
        for entry in entries:
            problem = member_problem(entry.name) or names.add(entry.name, is_folder=entry.is_folder)
            if problem is not None:
                raise self.damaged(f"the member name {entry.name!r} is not allowed: {problem}")

    def _streams(self, header: Any, entries: list[Entry]) -> list[Stream]:
        """The packed streams, each with its share of ``entries`` (the members with content)."""
        info = header.main_streams
        if info is None:
            if entries:
                raise self.damaged("members have no streams")
            return []
        folders, pack, parts = info.unpackinfo.folders, info.packinfo, info.substreamsinfo
        if parts is None or sum(parts.num_unpackstreams_folders) != len(entries) or len(folders) != pack.numstreams:
            raise self.damaged("its list of members does not fit its streams")
        if pack.packpos != 0:
            raise self.damaged("its first stream is not where it should be")
        crcs = iter(pack.crcs)
        defined = pack.digestdefined or [False] * pack.numstreams
        streams, offset, rest = [], SIGNATURE_BYTES, iter(entries)
        for folder, packed, count, has_crc in zip(
            folders, pack.packsizes, parts.num_unpackstreams_folders, defined, strict=True
        ):
            mine = tuple(next(rest) for _ in range(count))
            streams.append(
                Stream(
                    offset=offset,
                    size_bytes=packed,
                    unpacked_bytes=sum(entry.size_bytes for entry in mine),
                    crc32=next(crcs) if has_crc else None,
                    filters=self._filters(folder.coders),
                    entries=mine,
                )
            )
            self._check_sizes(streams[-1], folder.unpacksizes)
            offset += packed
        return streams

    def _check_sizes(self, stream: Stream, unpacked: list[int]) -> None:
        if any(entry.size_bytes < 0 for entry in stream.entries) or set(unpacked) != {stream.unpacked_bytes}:
            raise self.damaged("the sizes of its members do not fit their stream")
        if stream.unpacked_bytes > (1 << 30) + MAX_RATIO * stream.size_bytes:
            raise self.damaged(f"a stream of {stream.size_bytes} bytes unpacks to {stream.unpacked_bytes} bytes")
        if stream.filters and stream.crc32 is None:
            raise self.damaged("a stream has no checksum")

    def _check_gaps(self, streams: list[Stream]) -> None:
        end = streams[-1].offset + streams[-1].size_bytes if streams else SIGNATURE_BYTES
        if end != self._list_at:
            raise self.damaged("there are bytes that belong to no member")


def _lzma2_dictionary_bytes(setting: int) -> int:
    """Memory an LZMA2 stream asks for: 2 or 3 times a power of two, from its one byte of settings."""
    return (1 << 32) - 1 if setting >= 40 else (2 | (setting & 1)) << (setting // 2 + 11)
