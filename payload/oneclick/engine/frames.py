"""Messages between the HTTP process and the worker: a 4-byte big-endian length, then that much UTF-8 JSON."""

from __future__ import annotations

import json
from typing import Any, BinaryIO, Dict

Message = Dict[str, Any]

_LARGEST_BYTES = 64 << 20
"""A length above this is a broken stream: the largest prompt, 32 768 ids, is below 1 MiB."""


# json.dumps would make a new encoder for every token.
_encode = json.JSONEncoder(separators=(",", ":")).encode


class BrokenFrame(Exception):
    """The stream holds something that is not one of our frames."""


def write_frame(stream: BinaryIO, message: Message) -> None:
    """Write ``message`` in one ``write`` and flush it. Raises OSError when the other side is gone."""
    body = _encode(message).encode("ascii")
    stream.write(len(body).to_bytes(4, "big") + body)
    stream.flush()


def _read_exactly(stream: BinaryIO, size_bytes: int) -> bytes | None:
    parts = []
    while size_bytes:
        part = stream.read(size_bytes)
        if not part:
            return None
        parts.append(part)
        size_bytes -= len(part)
    return b"".join(parts)


def read_frame(stream: BinaryIO) -> Message | None:
    """Return the next message, or None at the end of the stream (also in the middle of a frame)."""
    head = _read_exactly(stream, 4)
    if head is None:
        return None
    size_bytes = int.from_bytes(head, "big")
    if size_bytes > _LARGEST_BYTES:
        raise BrokenFrame(f"a frame of {size_bytes} bytes")
    body = _read_exactly(stream, size_bytes)
    if body is None:
        return None
    message = json.loads(body)
    if not isinstance(message, dict):
        raise BrokenFrame("a frame that is not an object")
    return message
