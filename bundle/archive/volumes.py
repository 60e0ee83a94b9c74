"""One long file as numbered volumes: ``ChatGLM3_cpp.7z.001``, ``.002`` ... as 7-Zip names and joins them.

The volumes are the file cut into pieces; all but the last have the same size. They exist for FAT32 (no file of 4 GiB)
and for net disks with a limit on file size.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.errors import StorageError, UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MIN_VOLUME_BYTES = 64_000_000
"""Smaller volumes of a 3.5 GB pack would be a folder of loose files that nobody can download by hand."""
MAX_VOLUMES = 999
WRITE_BYTES = 256 << 10
"""Most bytes given to the system at once: for larger writes Linux looks for larger pieces of free memory, and a search
that fails is slow (3.5 GB took 1.3 to 9 s with writes of 1 to 8 MiB, 1.7 to 2 s with these)."""

_NUMBER = re.compile(r"\.\d{3}$")


def check_volume_size(size_bytes: int) -> None:
    """Raise UsageError when volumes of ``size_bytes`` are too small to be of use."""
    if size_bytes < MIN_VOLUME_BYTES:
        raise UsageError(
            f"volumes of {size_bytes} bytes are too small",
            why=f"the smallest volume size is {MIN_VOLUME_BYTES // 1_000_000} MB",
            do="give --volume-size 64m or more, for instance 2g",
        )


def volume_path(path: Path, number: int) -> Path:
    """The volume ``number`` (from 1) of the file that would be called ``path``."""
    return path.with_name(f"{path.name}.{number:03d}")


def existing_volumes(path: Path) -> list[Path]:
    """Every volume of ``path`` in its folder, in order, also those behind a gap."""
    pattern = re.compile(re.escape(path.name) + r"\.\d{3}$")
    return sorted(file for file in path.parent.iterdir() if pattern.match(file.name)) if path.parent.is_dir() else []


def find_volumes(path: Path) -> list[Path]:
    """The files that make up ``path``: itself, or its volumes when it is one of them or only they exist.

    Raises UsageError when there is no such file or a volume is missing.
    """
    if path.is_file() and not _NUMBER.search(path.name):
        return [path]
    whole = path.with_name(_NUMBER.sub("", path.name))
    volumes = existing_volumes(whole)
    if not volumes:
        if path.is_file():
            return [path]
        raise UsageError(f"{path} is not there", why="no file or first volume has this name", do="check the path")
    for number, volume in enumerate(volumes, start=1):
        if volume != volume_path(whole, number):
            raise UsageError(
                f"a volume of {whole.name} is missing",
                why=f"{volume_path(whole, number).name} is not beside {volume.name}",
                do="put all volumes into one folder",
            )
    return volumes


class VolumeReader(io.RawIOBase):
    """Volumes read as the one file they are."""

    def __init__(self, volumes: Sequence[Path]) -> None:
        self._files: list[io.FileIO] = []
        try:
            for volume in volumes:
                self._files.append(volume.open("rb", buffering=0))
        except OSError:
            self.close()
            raise
        sizes = [file.seek(0, io.SEEK_END) for file in self._files]
        self._starts = [0, *accumulate(sizes)]
        self._position = 0

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""
        return self._starts[-1]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` as far as the volume goes that is being read."""
        view = memoryview(buffer).cast("B")
        if not view or self._position >= self.size_bytes:
            return 0
        file, room = self._at(self._position)
        size = file.readinto(view[:room])
        self._position += size
        return size

    def read_at(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on; fewer only at the end."""
        parts = []
        while size > 0 and offset < self.size_bytes:
            file, room = self._at(offset)
            data = file.read(min(size, room))
            if not data:
                break
            parts.append(data)
            offset += len(data)
            size -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _at(self, offset: int) -> tuple[io.FileIO, int]:
        """The volume that has ``offset``, which is less than ``size_bytes``, and the bytes from there to its end."""
        index = bisect_right(self._starts, offset) - 1
        file = self._files[index]
        file.seek(offset - self._starts[index])
        return file, self._starts[index + 1] - offset

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


class VolumeWriter(io.RawIOBase):
    """One file written as volumes of ``volume_size`` bytes, or as a single file when that is None.

    ``paths`` are the files made so far. Seeking back is allowed: the 7z header at the start is written last.
    """

    def __init__(self, path: Path, volume_size: int | None) -> None:
        self._path, self._volume_size = path, volume_size
        self._files: list[io.FileIO] = []
        self.paths: list[Path] = []
        self._position = 0
        self._volume(0)

    def _volume(self, index: int) -> io.FileIO:
        while index >= len(self._files):
            if len(self._files) == MAX_VOLUMES:
                raise StorageError(
                    f"{self._path.name} needs more than {MAX_VOLUMES} volumes",
                    why="volume numbers have three digits",
                    do="give a larger --volume-size",
                )
            path = self._path if self._volume_size is None else volume_path(self._path, len(self._files) + 1)
            # Unbuffered: the buffer would cut every large write at its own size, which makes copying twice as slow.
            self._files.append(path.open("wb", buffering=0))
            self.paths.append(path)
        return self._files[index]

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence != io.SEEK_SET:
            raise io.UnsupportedOperation("seek from the end")
        self._position = offset
        return offset

    def write(self, data: ReadableBuffer) -> int:
        view = memoryview(data).cast("B")
        total = len(view)
        while view:
            if self._volume_size is None:
                index, offset, room = 0, self._position, len(view)
            else:
                index, offset = divmod(self._position, self._volume_size)
                room = self._volume_size - offset
            file = self._volume(index)
            if file.tell() != offset:
                file.seek(offset)
            written = file.write(view[: min(room, WRITE_BYTES)])
            view = view[written:]
            self._position += written
        return total

    def close(self) -> None:
        try:
            for file in self._files:
                file.close()
        finally:
            super().close()
