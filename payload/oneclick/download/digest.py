"""The digest of the whole file, computed while it grows so that little is left to check at the end."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, BinaryIO, Callable

from oneclick.download.part import Part, Slice

if TYPE_CHECKING:
    from hashlib import _Hash


class RunningDigest:
    """Follows the first missing byte and hashes everything before it, reading it back from the disk.

    Slices of an earlier run are compared with their own digests on the way, blocks with the pinned ones; what does
    not agree is dropped, told through ``on_damage``, and waited for again.
    """

    def __init__(
        self,
        part: Part,
        size_bytes: int,
        block_bytes: int,
        on_damage: Callable[[str, bool], None],
        on_end: Callable[[], None],
    ) -> None:
        """``on_damage(source, pinned)``: ``pinned`` tells a wrong delivery from bytes that rotted on this disk."""
        self.part = part
        self.size_bytes = size_bytes
        self.block_bytes = block_bytes
        self.position = 0
        """Everything before this has been hashed."""
        self.failure: OSError | None = None
        self._on_damage = on_damage
        self._on_end = on_end
        self._running = False
        self._stop_asked = False
        self._thread: threading.Thread | None = None
        self._whole = hashlib.sha256()
        self._midstates: dict[int, _Hash] = {0: self._whole.copy()}
        """Block number -> state of the whole digest at the block's start: the way back."""

    @property
    def complete(self) -> bool:
        return self.position >= self.size_bytes

    def hexdigest(self) -> str:
        """Return the digest of everything before ``position``."""
        return self._whole.hexdigest()

    @property
    def running(self) -> bool:
        return self._running

    def start(self) -> None:
        """Hash on in a thread of its own until everything is hashed or ``stop`` is called."""
        self._stop_asked = False
        self._running = True
        self._thread = threading.Thread(target=self._run, name="digest", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        with self.part.changed:
            self._stop_asked = True
            self.part.changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def rewind(self, position: int) -> None:
        """Go back to the start of the block that ``position`` lies in; only while the thread is not running."""
        block = min(position, self.position) // self.block_bytes
        self.position = block * self.block_bytes
        self._whole = self._midstates[block].copy()

    def _run(self) -> None:
        try:
            with self.part.path.open("rb", buffering=0) as stream:
                while not self.complete:
                    piece = self._next()
                    if piece is None:
                        return
                    self._take(piece, stream)
        except OSError as error:
            self.failure = error
        finally:
            self._running = False
            self._on_end()

    def _next(self) -> Slice | None:
        """Wait for the slice at ``position``; None when asked to stop."""
        with self.part.changed:
            while not self._stop_asked:
                piece = self.part.slice_at(self.position)
                if piece is not None:
                    return piece
                self.part.changed.wait()
            return None

    def _take(self, piece: Slice, stream: BinaryIO) -> None:
        before = self._whole.copy()
        own = None if piece.proven else hashlib.sha256()
        stream.seek(piece.start)
        left = piece.length
        while left:
            data = stream.read(min(left, 1 << 20))
            if not data:
                break
            self._whole.update(data)
            if own is not None:
                own.update(data)
            left -= len(data)
        if left or (own is not None and own.hexdigest() != piece.sha256):
            self._whole = before
            self.part.drop(piece.start, piece.stop)
            self._on_damage(piece.source, False)
            return
        self.position = piece.stop
        if self.position % self.block_bytes == 0 or self.complete:
            self._end_block(stream)

    def _end_block(self, stream: BinaryIO) -> None:
        """Compare the block that just ended with its pinned digest, and remember the way back to here."""
        block = (self.position - 1) // self.block_bytes
        pinned = self.part.file.block_sha256
        if pinned:
            start, stop = block * self.block_bytes, self.position
            if self._digest_between(stream, start, stop) != pinned[block]:
                first = self.part.slice_at(start)
                self.rewind(start)
                self.part.drop(start, stop)
                self._on_damage(first.source if first else "", True)
                return
        self._midstates[block + 1] = self._whole.copy()

    @staticmethod
    def _digest_between(stream: BinaryIO, start: int, stop: int) -> str:
        digest = hashlib.sha256()
        stream.seek(start)
        left = stop - start
        while left:
            data = stream.read(min(left, 1 << 20))
            if not data:
                break
            digest.update(data)
            left -= len(data)
        return digest.hexdigest()
