"""Hashing beside the work: the same digests, every byte handed out once and in order."""

from __future__ import annotations

import hashlib
import itertools
import random
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.archive.hashing import BUFFER_BYTES, BUFFERS, Crc32, PieceDigests, PrefixDigests, read_once


@pytest.mark.parametrize("size_bytes", [0, 1, BUFFER_BYTES, BUFFER_BYTES * (BUFFERS + 3) + 7])
def test_all_takers_and_the_caller_see_every_byte(tmp_path: Path, size_bytes: int) -> None:
    data = random.Random(1).randbytes(size_bytes)
    (tmp_path / "file").write_bytes(data)
    sha256, crc32, seen = hashlib.sha256(), Crc32(), bytearray()
    with (tmp_path / "file").open("rb", buffering=0) as source:
        for chunk in read_once(source, [sha256.update, crc32.update]):
            seen += chunk
    assert seen == data
    assert sha256.hexdigest() == hashlib.sha256(data).hexdigest()
    assert crc32.value == zlib.crc32(data)


def test_a_taker_that_fails_ends_the_reading(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(BUFFER_BYTES * (BUFFERS + 2)))

    def fail(data: memoryview) -> None:
        raise MemoryError

    with (tmp_path / "file").open("rb", buffering=0) as source, pytest.raises(MemoryError):
        for _ in read_once(source, [fail]):
            pass


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60), steps=st.lists(st.integers(1, 20), min_size=1), picks=st.lists(st.integers(0, 60)))
def test_digests_of_prefixes_and_pieces_are_those_of_the_bytes(data: bytes, steps: list[int], picks: list[int]) -> None:
    cuts = sorted(min(pick, len(data)) for pick in picks)
    prefixes, pieces, hashed, position = PrefixDigests(cuts), PieceDigests(cuts), 0, 0
    for step in itertools.cycle(steps):
        chunk = memoryview(data)[position : position + step]
        prefixes.update(chunk)
        hashed += pieces.update(chunk)
        position += step
        if position >= len(data):
            break
    assert prefixes.digests == [hashlib.sha256(data[:cut]).hexdigest() for cut in cuts]
    assert pieces.digests == [hashlib.sha256(data[start:end]).hexdigest() for start, end in itertools.pairwise(cuts)]
    assert hashed == (cuts[-1] - cuts[0] if cuts else 0)
