"""Hostile and damaged input to our own readers: always a BundleError, nothing written outside, memory bounded."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import stat
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.archive.foreign import BadArchive
from bundle.archive.unpack import unpack_tar, unpack_zip
from bundle.check.verify import verify_archive
from bundle.contents.component import wheel_component
from bundle.contents.manifest import load
from bundle.errors import BundleError, StorageError, UsageError
from bundle.windows.names import NameSet, member_problem
from tests.support.trees import pack

pytestmark = pytest.mark.slow

MUTATIONS = 10_000
"""Damaged archives in all; shared out between 7z, wheels and sdists below."""
TRACED = 300
MEMORY_BYTES = 64 << 20


def zip_of(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def tar_of(path: Path, *members: tuple[str | tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refused(unpack: Callable[[Path, Path], object], archive: Path) -> BadArchive:
    """Unpack into a new folder, expect a refusal, and see that nothing was written anywhere."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(BadArchive) as caught:
        unpack(archive, archive.parent / "target")
    assert sorted(archive.parent.rglob("*")) == before
    assert caught.value.exit_code == 2
    return caught.value


BAD_NAMES = [
    *("../up", "a/../../up", "/etc/passwd", "C:/x", "C:x", "a\\..\\..\\up", "\\\\host\\share", "a//b", "a/./b"),
    *("a\x01b", "NUL", "con.txt", "a/LPT1.tar", "dot.", "space /x", "a?b", "a:stream", "x" * 2000),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_leave_the_folder_or_that_windows_cannot_hold_are_refused(tmp_path: Path, name: str) -> None:
    refused(unpack_zip, zip_of(tmp_path / "a.zip", ("fine", b"1"), (name, b"2")))
    refused(unpack_tar, tar_of(tmp_path / "a.tar.gz", ("fine", b"1"), (name, b"2")))


def test_sound_archives_are_unpacked_whole(tmp_path: Path) -> None:
    wheel = zip_of(tmp_path / "a.whl", ("a/b.py", b"1" * 5000), ("a/中文.txt", b""), ("empty/", b""))
    assert unpack_zip(wheel, tmp_path / "one") == ["a/b.py", "a/中文.txt"]
    assert (tmp_path / "one" / "a" / "b.py").read_bytes() == b"1" * 5000
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        sdist = tar_of(tmp_path / "a.tar", ("./p/a", b"1"), ("p/b", b"2"), mode=mode)
        target = tmp_path / mode.replace(":", "-")
        assert unpack_tar(sdist, target, select=lambda name: name == "p/a") == ["p/a"]
        assert [path.name for path in target.rglob("*")] == ["p", "a"]


def test_links_inside_become_copies_and_links_outside_are_refused(tmp_path: Path) -> None:
    sdist = tar_of(
        tmp_path / "a.tar.gz", ("p/a", b"1"), (link("p/l", "../p/a"), b""), (link("p/h", "p/l", tarfile.LNKTYPE), b"")
    )
    assert unpack_tar(sdist, tmp_path / "out") == ["p/a", "p/h", "p/l"]
    assert {path.read_bytes() for path in (tmp_path / "out" / "p").iterdir()} == {b"1"}
    assert not any(path.is_symlink() for path in (tmp_path / "out" / "p").iterdir())
    for target in ("../../x", "/etc/passwd", "missing", "l", "..\\x"):
        refused(unpack_tar, tar_of(tmp_path / "b.tar.gz", ("p/a", b"1"), (link("p/l", target), b"")))
    refused(unpack_tar, tar_of(tmp_path / "b.tar.gz", (link("up", "/tmp"), b""), ("up/x", b"1")))
    refused(unpack_tar, tar_of(tmp_path / "b.tar.gz", (link("fifo", "", tarfile.FIFOTYPE), b"")))
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(unpack_zip, zip_of(tmp_path / "a.zip", (info, b"/etc/passwd")))


@pytest.mark.parametrize("second", ["a/B.txt", "a/b.txt", "a/b.txt/c", "a", "A"])
def test_two_names_for_one_place_are_refused(tmp_path: Path, second: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        archive = zip_of(tmp_path / "a.zip", ("a/b.txt", b"1"), (second, b"2"))
    refused(unpack_zip, archive)
    refused(unpack_tar, tar_of(tmp_path / "a.tar.gz", ("a/b.txt", b"1"), (second, b"2")))


def test_bombs_are_refused_with_little_memory_and_time(tmp_path: Path) -> None:
    zeros = bytes(100 << 20)
    packed = zip_of(tmp_path / "a.zip", ("zeros", zeros))
    sdist = tar_of(tmp_path / "a.tar.gz", ("zeros", zeros))
    endless = tmp_path / "b.tar.gz"
    endless.write_bytes(gzip.compress(bytes(64 << 20)) * 40)  # 2.5 GB of empty tar blocks behind the end
    del zeros
    tracemalloc.start()
    start = time.monotonic()
    try:
        refused(unpack_zip, packed)
        refused(unpack_tar, sdist)
        with pytest.raises(BadArchive, match="unpacks to more than 1000 bytes"):
            unpack_zip(packed, tmp_path / "x", max_bytes=1000)
        assert unpack_tar(endless, tmp_path / "empty") == []
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 30


def test_a_size_that_lies_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of(tmp_path / "a.zip", ("x", b"12345678"), method=zipfile.ZIP_STORED).read_bytes())
    directory = data.index(b"PK\x01\x02")
    for size in (7, 9, 0xFFFFFF):
        data[directory + 24 : directory + 28] = struct.pack("<I", size)
        (tmp_path / "b.zip").write_bytes(data)
        refused(unpack_zip, tmp_path / "b.zip")


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of(tmp_path / "a.zip", ("x", b"1" * 500), ("y", b"2" * 500)).read_bytes())
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    (tmp_path / "b.zip").write_bytes(data)
    assert "overlap" in refused(unpack_zip, tmp_path / "b.zip").why


def test_encrypted_exotic_and_zip64_members_are_refused(tmp_path: Path) -> None:
    plain = zip_of(tmp_path / "a.zip", ("x", b"1" * 500)).read_bytes()
    encrypted = bytearray(plain)
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "e.zip").write_bytes(encrypted)
    assert "encrypted" in refused(unpack_zip, tmp_path / "e.zip").why
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        archive = zip_of(tmp_path / f"{method}.zip", ("x", b"1" * 500), method=method)
        assert "compression method" in refused(unpack_zip, archive).why
    end = plain.index(b"PK\x05\x06")
    counted = bytearray(plain)
    counted[end + 10 : end + 12] = b"\xff\xff"
    (tmp_path / "z.zip").write_bytes(counted)
    assert "zip64" in refused(unpack_zip, tmp_path / "z.zip").why


@pytest.mark.parametrize("data", [b"", b"PK", b"<html>", b"PK\x05\x06" + bytes(18), bytes(2000), b"\x1f\x8b", b"BZh9"])
def test_what_is_no_archive_is_refused_or_empty(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    for unpack in (unpack_zip, unpack_tar):
        try:
            names = unpack(tmp_path / "a", tmp_path / "out")
        except BadArchive:
            continue
        assert names == []
        (tmp_path / "out").rmdir()


@pytest.mark.parametrize("compress", [lambda data: data, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_cut_anywhere_is_refused(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    tar_of(tmp_path / "a.tar", ("a", b"1" * 700), ("b", b"2" * 700), mode="w")
    whole = (tmp_path / "a.tar").read_bytes()[: 512 * 6 + 1024]
    packed = compress(whole)
    (tmp_path / "b").write_bytes(packed)
    assert unpack_tar(tmp_path / "b", tmp_path / "out") == ["a", "b"]
    cuts = range(0, 512 * 6, 100) if packed == whole else range(1, len(packed) - 1, 7)
    for cut in cuts:
        (tmp_path / "c").write_bytes(packed[:cut])
        with pytest.raises(BadArchive):
            unpack_tar(tmp_path / "c", tmp_path / "never")
        assert not (tmp_path / "never").exists()


def test_a_header_of_gigabytes_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 8 << 30
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    tracemalloc.start()
    try:
        refused(unpack_tar, tmp_path / "a.tar")
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("x", b"1"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_bytes(b"mine")
    with pytest.raises(StorageError, match="is not empty"):
        unpack_zip(archive, tmp_path / "out")
    with pytest.raises(StorageError):
        unpack_zip(tmp_path / "missing.zip", tmp_path / "new")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def mutated(data: bytes, source: random.Random) -> bytes:
    """``data`` with a few bytes changed, swapped, dropped or doubled."""
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 5))):
        place = source.randrange(max(1, len(changed)))
        kind = source.randrange(6)
        if kind <= 2 and changed:
            changed[place] = source.choice(
                (0, 0xFF, changed[place] ^ (1 << source.randrange(8)), source.randrange(256))
            )
        elif kind == 3:
            del changed[place : place + source.choice((1, 4, 100))]
        elif kind == 4:
            changed[place:place] = changed[place : place + source.choice((1, 8, 64))]
        else:
            changed[place : place + 8] = struct.pack("<Q", source.choice((0, 1 << 31, 1 << 40, (1 << 64) - 1)))
    return bytes(changed)


def survives(read: Callable[[], object]) -> bool:
    """Whether ``read`` took the input; anything but a BundleError fails the test."""
    try:
        read()
    except BundleError:
        return False
    return True


def test_ten_thousand_damaged_archives_end_in_words(tmp_path: Path) -> None:
    source = random.Random(20240101)
    sealed = pack(tmp_path).path.read_bytes()
    wheel = zip_of(
        tmp_path / "w.whl", ("a/x.py", b"x = 1\n" * 50), ("a-1.dist-info/METADATA", b"Name: a\nVersion: 1\n")
    ).read_bytes()
    sdist = tar_of(tmp_path / "s.tar", ("a/x.py", b"x" * 300), (link("a/l", "x.py"), b""), mode="w").read_bytes()[:5120]
    packed_sdist = gzip.compress(sdist)
    file, out = tmp_path / "work" / "damaged", tmp_path / "work" / "out"
    file.parent.mkdir()
    readers: list[tuple[bytes, Callable[[], object], int]] = [
        (sealed, lambda: verify_archive(file), MUTATIONS * 4 // 10),
        (wheel, lambda: wheel_component(file, "app/packages"), MUTATIONS * 2 // 10),
        (wheel, lambda: unpack_zip(file, out), MUTATIONS * 2 // 10),
        (sdist, lambda: unpack_tar(file, out), MUTATIONS // 10),
        (packed_sdist, lambda: unpack_tar(file, out), MUTATIONS // 10),
    ]
    tracemalloc.start()  # it makes everything slow, so it watches only the first hundreds for each reader
    try:
        for good, read, count in readers:
            for number in range(count):
                if number == TRACED:
                    assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
                    tracemalloc.stop()
                elif number == 0 and not tracemalloc.is_tracing():
                    tracemalloc.start()
                data = mutated(good, source)
                file.write_bytes(data)
                if survives(read) and out.exists():
                    for path in out.rglob("*"):
                        assert not path.is_symlink()
                    _remove(out)
                assert [path.name for path in file.parent.iterdir()] == ["damaged"]
    finally:
        tracemalloc.stop()


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_by_every_reader(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "any"
    for start in (b"", b"7z\xbc\xaf\x27\x1c\x00\x04", b"PK\x03\x04", b"\x1f\x8b\x08", b"\xfd7zXZ\x00"):
        file.write_bytes(start + data)
        assert not verify_archive(file).ok
        survives(lambda: unpack_zip(file, tmp_path / "out"))
        survives(lambda: unpack_tar(file, tmp_path / "out"))
        if (tmp_path / "out").exists():
            _remove(tmp_path / "out")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(JSON, st.sampled_from(["format", "name", "version", "build", "files", "components"]))
def test_any_json_is_a_manifest_or_is_refused(value: object, key: str) -> None:
    whole = {"format": 1, "name": "n", "version": "1", "build": {}, "files": [], "components": []}
    survives(lambda: load(json.dumps(value).encode()))
    survives(lambda: load(json.dumps({**whole, key: value}).encode()))
    with pytest.raises(UsageError):
        load(json.dumps(whole).encode()[:-1])


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60))
def test_a_name_without_a_problem_stays_inside_on_every_system(name: str) -> None:
    if member_problem(name) is None:
        assert not name.startswith(("/", "\\"))
        assert ".." not in name.split("/")
        assert not set(name) & set(':\\<>"|?*\0')
        assert NameSet().add(name) is None


def test_hostile_lists_of_members_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    """A list that unpacks to gigabytes, or names millions of members, in a few hundred bytes."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0}]
    for raw in (bytes(200 << 20), b"\x01\x05" + b"\xf0\xff\xff\xff\x0f" + bytes(6 << 20)):
        compressor = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
        packed = compressor.compress(raw) + compressor.flush()
        number = b"\xff" + struct.pack("<Q", len(raw))
        entry = (
            b"\x17\x06\x00\x01\x09\xff" + struct.pack("<Q", len(packed)) + b"\x00\x07\x0b\x01\x00\x01\x21\x21\x01\x14"
        )
        entry += b"\x0c" + number + b"\x0a\x01" + struct.pack("<I", zlib.crc32(raw)) + b"\x00\x00"
        head = struct.pack("<QQI", len(packed), len(entry), zlib.crc32(entry))
        data = b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(head)) + head + packed + entry
        file = tmp_path / "a.7z"
        file.write_bytes(data)
        del raw
        tracemalloc.start()
        try:
            assert not verify_archive(file).ok
            assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
        finally:
            tracemalloc.stop()
