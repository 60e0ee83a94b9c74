"""One packed stream of an archive, unpacked from its start to its end, every checksum compared."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bundle.errors import AuditFailed

CHUNK_BYTES = 1 << 20
"""Most bytes handed out, or unpacked, at once."""


class DamagedArchive(AuditFailed):
    """An archive whose bytes are not what this builder wrote."""

    def __init__(self, path: Path, why: str, *, member: str | None = None) -> None:
        self.member = member
        where = f"{path.name} is damaged at {member}" if member else f"{path.name} is damaged"
        super().__init__(where, why=why, do="download or build it again")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One member as the archive lists it."""

    name: str
    size_bytes: int
    crc32: int
    is_folder: bool
    attributes: int
    modified: int
    """Windows FILETIME; 0 when the archive gives none."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One packed stream and the members in it, in order."""

    offset: int
    size_bytes: int
    unpacked_bytes: int
    crc32: int | None
    filters: tuple[dict[str, Any], ...]
    """As Python's lzma takes them; empty for a stored stream."""
    entries: tuple[Entry, ...]


class PackedBytes(Protocol):
    """An archive file as the unpacker needs it."""

    chunk_bytes: int
    """Packed bytes read at once."""
    packed_bytes_read: int

    def read_at(self, offset: int, size: int) -> bytes: ...

    def damaged(self, why: str, member: str | None = None) -> DamagedArchive: ...


class Unpacker:
    """Unpacks one stream from its start to its end."""

    def __init__(self, archive: PackedBytes, stream: Stream) -> None:
        self._archive, self._stream = archive, stream
        self._position, self._left = stream.offset, stream.size_bytes
        self._packed_crc32 = 0
        self._lzma = (
            lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=list(stream.filters)) if stream.filters else None
        )

    def content(self, entry: Entry) -> Iterator[bytes]:
        left, crc32 = entry.size_bytes, 0
        while left:
            chunk = self._unpack(min(left, CHUNK_BYTES), entry.name)
            left -= len(chunk)
            crc32 = zlib.crc32(chunk, crc32)
            yield chunk
        if crc32 != entry.crc32:
            raise self._archive.damaged("its content does not match its checksum", entry.name)

    def finish(self) -> None:
        """Check that the stream ends where its last member does, and that its own checksum is right."""
        last = self._stream.entries[-1].name if self._stream.entries else None
        if self._lzma is not None:
            while not self._lzma.eof:
                if self._unpack_some(1, last):
                    raise self._archive.damaged("its stream goes on behind it", last)
        if self._left or (self._lzma is not None and self._lzma.unused_data):
            raise self._archive.damaged("bytes are left over behind it", last)
        if self._stream.crc32 is not None and self._packed_crc32 != self._stream.crc32:
            raise self._archive.damaged("its stream does not match its checksum", last)

    def _unpack(self, size: int, member: str) -> bytes:
        """Between 1 and ``size`` bytes of content."""
        if self._lzma is None:
            return self._read(size, member)
        while True:
            if chunk := self._unpack_some(size, member):
                return chunk
            if self._lzma.eof:
                raise self._archive.damaged("its stream ends too early", member)

    def _unpack_some(self, size: int, member: str | None) -> bytes:
        """Up to ``size`` bytes of content; none while the decoder needs more input."""
        assert self._lzma is not None
        packed = self._read(self._archive.chunk_bytes, member) if self._lzma.needs_input else b""
        try:
            return self._lzma.decompress(packed, size)
        except (lzma.LZMAError, EOFError, MemoryError) as error:
            raise self._archive.damaged(f"its stream cannot be unpacked ({error})", member) from error

    def _read(self, size: int, member: str | None) -> bytes:
        """Between 1 and ``size`` packed bytes."""
        if not self._left:
            raise self._archive.damaged("its stream ends too early", member)
        packed = self._archive.read_at(self._position, min(size, self._left))
        if not packed:
            raise self._archive.damaged("the file ends too early", member)
        self._position += len(packed)
        self._left -= len(packed)
        self._archive.packed_bytes_read += len(packed)
        if self._stream.crc32 is not None:
            self._packed_crc32 = zlib.crc32(packed, self._packed_crc32)
        return packed
