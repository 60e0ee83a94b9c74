"""Hashing beside the work: the same digests, every byte handed out once and in order."""

from __future__ import annotations

import hashlib
import random
import zlib
from pathlib import Path

import pytest

from bundle.hashing import BUFFER_BYTES, BUFFERS, Crc32, hashed_chunks


@pytest.mark.parametrize("size_bytes", [0, 1, BUFFER_BYTES, BUFFER_BYTES * (BUFFERS + 3) + 7])
def test_all_digests_and_the_caller_see_every_byte(tmp_path: Path, size_bytes: int) -> None:
    data = random.Random(1).randbytes(size_bytes)
    (tmp_path / "file").write_bytes(data)
    sha256, crc32, seen = hashlib.sha256(), Crc32(), bytearray()
    with (tmp_path / "file").open("rb", buffering=0) as source:
        for chunk in hashed_chunks(source, [sha256, crc32]):
            seen += chunk
    assert seen == data
    assert sha256.hexdigest() == hashlib.sha256(data).hexdigest()
    assert crc32.value == zlib.crc32(data)


def test_a_digest_that_fails_ends_the_reading(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(BUFFER_BYTES * (BUFFERS + 2)))

    class Failing:
        def update(self, data: memoryview) -> None:
            raise MemoryError

    with (tmp_path / "file").open("rb", buffering=0) as source, pytest.raises(MemoryError):
        for _ in hashed_chunks(source, [Failing()]):
            pass
