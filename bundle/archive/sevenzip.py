"""The 7z container around streams that are packed already: the list of members at the end, the header at the start.

A 7z file is 32 bytes of signature header, the packed streams, and the list of members, itself LZMA2-packed. A stream
("folder" in the format's words) holds one or more members, one after the other, behind its own chain of filters.
Source: https://py7zr.readthedocs.io/en/latest/archive_format.html and DOC/7zFormat.txt of the LZMA SDK.

py7zr 1.1 serialises the member list. Its SevenZipFile is not used for writing because it packs on one core, stamps
the present time on members, and writes the packed list without a checksum, so that damage there can go unnoticed.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import io
import lzma
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from py7zr.archiveinfo import (
    FilesInfo,
    Folder,
    Header,
    PackInfo,
    SignatureHeader,
    StreamsInfo,
    SubstreamsInfo,
    UnpackInfo,
    write_byte,
    write_bytes,
    write_uint32,
    write_uint64,
)
from py7zr.compressor import SupportedMethods
from py7zr.helpers import ArchiveTimestamp
from py7zr.properties import FILTER_COPY, PROPERTY

SIGNATURE_BYTES = 32
"""Where the first packed stream starts."""
MEMBER_TIME = ArchiveTimestamp(133485408000000000)
"""Time of every member, 2024-01-01 00:00:00 UTC as a Windows FILETIME: a build says nothing about when it was made."""
ATTRIBUTE_FILE = 0x20  # FILE_ATTRIBUTE_ARCHIVE; no Unix permissions, every host packs the same
ATTRIBUTE_FOLDER = 0x10  # FILE_ATTRIBUTE_DIRECTORY

COPY: list[dict[str, Any]] = [{"id": FILTER_COPY}]
"""Filters of a stream that is stored, not compressed."""
_LIST_FILTERS: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 20}]


@dataclass(frozen=True, kw_only=True)
class PackedMember:
    """A file inside a stream."""

    name: str
    size_bytes: int
    crc32: int


@dataclass(frozen=True, kw_only=True)
class PackedStream:
    """One packed stream as it lies in the archive."""

    members: Sequence[PackedMember]
    filters: Sequence[dict[str, Any]]
    """As Python's lzma takes them, or ``COPY``."""
    size_bytes: int
    """Size of the packed bytes."""
    crc32: int | None
    """Checksum of the packed bytes; None for a stored stream, whose member's checksum says the same."""


def start(out: BinaryIO) -> None:
    """Leave room for the signature header; packed streams follow."""
    out.write(bytes(SIGNATURE_BYTES))


def finish(out: BinaryIO, streams: Sequence[PackedStream], empty_folders: Sequence[str]) -> None:
    """Write the list of members behind the streams, and the signature header that leads to it.

    out: at the end of the last stream; must be seekable. empty_folders: the only folders listed, all others follow
    from the names of the files.
    """
    raw = io.BytesIO()
    _list_header(streams, empty_folders).write(raw, 0, encoded=False)
    packed_at = out.tell()
    packed = _compress(raw.getvalue())
    out.write(packed)
    entry = _packed_list_entry(packed_at - SIGNATURE_BYTES, len(packed), raw.getvalue())
    out.write(entry)
    signature = SignatureHeader()
    signature.nextheaderofs = packed_at + len(packed) - SIGNATURE_BYTES
    signature.calccrc(len(entry), zlib.crc32(entry))
    signature.write(out)


def _compress(data: bytes) -> bytes:
    compressor = lzma.LZMACompressor(format=lzma.FORMAT_RAW, filters=_LIST_FILTERS)
    return compressor.compress(data) + compressor.flush()


def _list_header(streams: Sequence[PackedStream], empty_folders: Sequence[str]) -> Header:
    """Everything about streams and members in py7zr's objects."""
    header = Header()
    if streams:
        header.main_streams = _streams_info(streams)
    files = [_file(member.name) for stream in streams for member in stream.members]
    files += [_file(name, is_folder=True) for name in empty_folders]
    header.files_info = FilesInfo()
    header.files_info.files = files
    return header


def _file(name: str, *, is_folder: bool = False) -> dict[str, Any]:
    return {
        "filename": name,
        "emptystream": is_folder,
        "lastwritetime": MEMBER_TIME,
        "attributes": ATTRIBUTE_FOLDER if is_folder else ATTRIBUTE_FILE,
    }


def _streams_info(streams: Sequence[PackedStream]) -> StreamsInfo:
    pack = PackInfo()
    pack.numstreams = len(streams)
    pack.packsizes = [stream.size_bytes for stream in streams]
    pack.digestdefined = [stream.crc32 is not None for stream in streams]
    pack.crcs = [stream.crc32 or 0 for stream in streams]
    pack.enable_digests = any(pack.digestdefined)

    unpack = UnpackInfo()
    unpack.numfolders = len(streams)
    unpack.folders = [_folder(stream) for stream in streams]

    parts = SubstreamsInfo()
    parts.num_unpackstreams_folders = [len(stream.members) for stream in streams]
    parts.unpacksizes = [member.size_bytes for stream in streams for member in stream.members]
    parts.digests = [member.crc32 for stream in streams for member in stream.members]
    parts.digestsdefined = [True] * len(parts.digests)

    info = StreamsInfo()
    info.packinfo, info.unpackinfo, info.substreamsinfo = pack, unpack, parts
    return info


def _folder(stream: PackedStream) -> Folder:
    folder = Folder()
    folder.prepare_coderinfo(list(stream.filters))
    size_bytes = sum(member.size_bytes for member in stream.members)
    folder.unpacksizes = [size_bytes] * len(folder.coders)
    return folder


def _packed_list_entry(offset: int, packed_bytes: int, raw: bytes) -> bytes:
    """The entry that says where the packed list is, how to unpack it, and its checksum."""
    coder = SupportedMethods.get_coder(_LIST_FILTERS[0])
    out = cast(BinaryIO, io.BytesIO())
    write_byte(out, PROPERTY.ENCODED_HEADER)
    write_byte(out, PROPERTY.PACK_INFO)
    write_uint64(out, offset)
    write_uint64(out, 1)
    write_byte(out, PROPERTY.SIZE)
    write_uint64(out, packed_bytes)
    write_byte(out, PROPERTY.END)
    write_byte(out, PROPERTY.UNPACK_INFO)
    write_byte(out, PROPERTY.FOLDER)
    write_uint64(out, 1)
    write_byte(out, b"\x00")  # the folder follows here
    write_uint64(out, 1)  # one coder
    write_byte(out, bytes([0x20 | len(coder["method"])]))
    write_bytes(out, coder["method"])
    write_uint64(out, len(coder["properties"]))
    write_bytes(out, coder["properties"])
    write_byte(out, PROPERTY.CODERS_UNPACK_SIZE)
    write_uint64(out, len(raw))
    write_byte(out, PROPERTY.CRC)
    write_byte(out, b"\x01")  # defined for all
    write_uint32(out, zlib.crc32(raw))
    write_byte(out, PROPERTY.END)
    write_byte(out, PROPERTY.END)
    return cast(io.BytesIO, out).getvalue()
