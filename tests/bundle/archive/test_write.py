"""The archive is the same everywhere, any tool extracts it, and a broken one never takes a good one's place."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import py7zr
import pytest

from bundle.archive import write as archive_module
from bundle.archive.read import ArchiveReader
from bundle.archive.volumes import VolumeReader
from bundle.archive.write import write_archive
from bundle.errors import AuditFailed, DigestMismatch, StorageError, UsageError
from tests.support.trees import seal, stage

ROOT = Path(__file__).resolve().parents[3]
PACK = "import sys; from pathlib import Path; from bundle.archive.write import write_archive\n"
PACK += "print(write_archive(Path(sys.argv[1]), Path(sys.argv[2]), stored=['big.bin']).sha256)"
VOLUME_BYTES = 64_000_000
EMPTY = hashlib.sha256().hexdigest()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    noise = hashlib.shake_256(b"noise").digest(100_000)
    extra = {"big.bin": noise, "中文/名字 (1).txt": "你好\n".encode() * 99, "empty.txt": b""}
    return seal(stage(tmp_path / "tree", extra))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, bytes | None]:
    """Name -> bytes of everything under ``folder``; None for a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def extract(tool: str, archive: Path, out: Path) -> None:
    """Unpack ``archive`` with another program into the new folder ``out``."""
    out.mkdir()
    if tool == "py7zr":
        with archive.open("rb") as file, py7zr.SevenZipFile(file) as source:
            source.extractall(out)
        return
    command = {"7zz": ["x", str(archive), f"-o{out}"], "bsdtar": ["-xf", str(archive), "-C", str(out)]}[tool]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run([tool, *command], check=True, capture_output=True, env=environment)


@pytest.mark.parametrize(
    "tool",
    [
        pytest.param(tool, marks=pytest.mark.skipif(not shutil.which(tool), reason=f"{tool} is not installed"))
        for tool in ("7zz", "bsdtar")
    ]
    + ["py7zr"],
)
def test_any_tool_extracts_exactly_the_tree(tree: Path, tmp_path: Path, tool: str) -> None:
    info = write_archive(tree, tmp_path / "a.7z", stored=["big.bin"])
    extract(tool, info.path, tmp_path / "out")
    assert contents(tmp_path / "out" / "ChatGLM3_cpp") == contents(tree)


@pytest.mark.skipif(sys.platform == "win32", reason="umask and TZ are of Unix")
def test_folder_umask_time_zone_locale_user_and_cores_leave_no_trace(tree: Path, tmp_path: Path) -> None:
    digests = set()
    for number, (zone, umask, locale, cores) in enumerate(
        [("UTC", 0o022, "C.UTF-8", "0"), ("Asia/Shanghai", 0o077, "zh_CN.UTF-8", "0,1"), ("EST5", 0o000, "C", "0")]
    ):
        place = tmp_path / f"place {number} 中文"
        shutil.copytree(tree, place / "tree", copy_function=shutil.copyfile)
        for path in place.rglob("*"):
            os.utime(path, (number * 1e8, number * 1e8))
        folders = os.pathsep.join([str(ROOT), str(ROOT / "payload")])
        environment = {**os.environ, "TZ": zone, "LC_ALL": locale, "PYTHONPATH": folders, "USER": f"user{number}"}
        command = [sys.executable, "-X", "utf8", "-c", PACK, str(place / "tree"), str(place / "a.7z")]
        if shutil.which("taskset"):
            command = ["taskset", "-c", cores if (os.cpu_count() or 1) > 1 else "0", *command]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment, umask=umask, cwd=place
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_volumes_are_the_archive_cut_in_pieces(tmp_path: Path) -> None:
    tree = stage(tmp_path / "tree")
    with (tree / "model.bin").open("wb") as file:
        for number in range(140):
            file.write(number.to_bytes(4, "big") + bytes(range(256)) * 4096)
    one = write_archive(tree, tmp_path / "one.7z", stored=["model.bin"])
    cut = write_archive(tree, tmp_path / "cut.7z", stored=["model.bin"], volume_size=VOLUME_BYTES)
    assert [path.name for path in cut.paths] == ["cut.7z.001", "cut.7z.002", "cut.7z.003"]
    assert [path.stat().st_size for path in cut.paths[:-1]] == [VOLUME_BYTES] * 2
    assert cut.sha256 == one.sha256 == hashlib.sha256(one.path.read_bytes()).hexdigest()
    assert cut.volume_sha256 == tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in cut.paths)
    assert cut.member_sha256 == one.member_sha256 == {name: digest(tree / name) for name in one.member_sha256}
    with VolumeReader(cut.paths) as joined:
        assert joined.size_bytes == one.size_bytes
    if shutil.which("7zz"):
        extract("7zz", cut.path, tmp_path / "out")
        assert contents(tmp_path / "out" / "ChatGLM3_cpp") == contents(tree)
    (tmp_path / "cut.7z.004").write_bytes(b"left over from a larger build")
    again = write_archive(tree, tmp_path / "cut.7z", stored=["model.bin"])
    assert sorted(path.name for path in tmp_path.glob("cut.7z*")) == ["cut.7z"]
    assert again.sha256 == one.sha256


def test_too_small_volumes_are_refused_before_any_work(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too small"):
        write_archive(tree, tmp_path / "a.7z", volume_size=1 << 20)
    assert list(tmp_path.iterdir()) == [tree]


def test_members_are_sorted_with_one_time_and_plain_attributes(tree: Path, tmp_path: Path) -> None:
    info = write_archive(tree, tmp_path / "a.7z")
    with ArchiveReader(info.path) as archive:
        assert {entry.modified for entry in archive.entries} == {133485408000000000}
        assert {(entry.is_folder, entry.attributes) for entry in archive.entries} == {(False, 0x20), (True, 0x10)}
        assert [entry.name for entry in archive.folders] == ["ChatGLM3_cpp/logs"]
        names = [entry.name.removeprefix("ChatGLM3_cpp/") for stream in archive.streams for entry in stream.entries]
    assert set(names) == {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}


def test_progress_counts_packing_and_reading_back(tree: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_archive(tree, tmp_path / "a.7z", progress=lambda done, total: seen.append((done, total)))
    size_bytes = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
    assert {total for _, total in seen} == {2 * size_bytes}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == 2 * size_bytes


def test_every_way_to_pack_a_member_gives_its_digest(tree: Path, tmp_path: Path) -> None:
    digests = {name: digest(tree / name) for name, content in contents(tree).items() if content is not None}
    assert write_archive(tree, tmp_path / "packed.7z").member_sha256 == digests
    every = write_archive(tree, tmp_path / "stored.7z", stored=list(digests))
    assert every.member_sha256 == digests
    pinned = write_archive(tree, tmp_path / "pinned.7z", stored=list(digests), digests=digests)
    assert pinned.sha256 == every.sha256
    some = write_archive(tree, tmp_path / "a.7z", stored=["empty.txt", "big.bin"], digests={"empty.txt": EMPTY})
    assert some.member_sha256 == digests


@pytest.fixture
def good(tree: Path, tmp_path: Path) -> Iterator[Path]:
    """A finished archive that every failure must leave as it is, and no rubbish beside it."""
    path = tmp_path / "a.7z"
    write_archive(tree, path)
    before, names = path.read_bytes(), sorted(tmp_path.iterdir())
    yield path
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == names


def test_a_full_disk_leaves_the_previous_archive(tree: Path, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(archive_module.VolumeWriter):
        def write(self, data: Any) -> int:
            if self.tell() > 2000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(archive_module, "VolumeWriter", Full)
    with pytest.raises(StorageError, match="No space left") as caught:
        write_archive(tree, good, stored=["big.bin"])
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("pinned", [False, True])
def test_bytes_that_change_on_the_way_leave_the_previous_archive(
    tree: Path, good: Path, monkeypatch: pytest.MonkeyPatch, pinned: bool
) -> None:
    class Forgetful(archive_module.VolumeWriter):
        def write(self, data: Any) -> int:
            return super().write(bytes(data).replace(b"U" * 1000, b"T" * 1000))

    (tree / "big.bin").write_bytes(b"U" * 100_000)
    digests = {"big.bin": digest(tree / "big.bin")} if pinned else {}
    monkeypatch.setattr(archive_module, "VolumeWriter", Forgetful)
    with pytest.raises(AuditFailed, match=r"damaged at ChatGLM3_cpp/big\.bin"):
        write_archive(tree, good, stored=["big.bin"], digests=digests)


def test_a_file_that_grows_while_it_is_packed_is_refused(
    tree: Path, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = archive_module.list_tree

    def list_then_grow(folder: Path) -> Any:
        result = listed(folder)
        (folder / "empty.txt").write_bytes(b"late")
        return result

    monkeypatch.setattr(archive_module, "list_tree", list_then_grow)
    with pytest.raises(UsageError, match="changed while it was packed"):
        write_archive(tree, good)


def test_a_target_that_cannot_be_written_is_said(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        write_archive(tree, tmp_path / "file" / "a.7z")
    assert caught.value.exit_code == 7


@pytest.mark.skipif(sys.platform == "win32", reason="making links needs a privilege there")
def test_links_and_impossible_names_are_refused(tree: Path, tmp_path: Path) -> None:
    (tree / "link").symlink_to("bundle.json")
    with pytest.raises(UsageError, match="link or a device"):
        write_archive(tree, tmp_path / "a.7z")
    (tree / "link").unlink()
    (tree / "nul.txt").write_bytes(b"")
    with pytest.raises(UsageError, match="device name"):
        write_archive(tree, tmp_path / "a.7z")


def test_an_unknown_stored_name_and_an_empty_tree_are_refused(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.bin is not in the tree"):
        write_archive(tree, tmp_path / "a.7z", stored=["nothing.bin"])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UsageError, match="holds no files"):
        write_archive(tmp_path / "nothing", tmp_path / "a.7z")


def test_what_a_killed_build_left_is_cleared_away_and_a_running_one_is_not(tree: Path, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, other = tmp_path / f".a.7z.part-{dead.pid}", tmp_path / f".a.7z.part-{os.getppid()}"
    for folder in (left, other):
        folder.mkdir()
        (folder / "a.7z").write_bytes(b"half")
    write_archive(tree, tmp_path / "a.7z")
    assert not left.exists()
    assert other.exists()


def test_a_model_that_is_not_the_expected_one_is_not_packed(tree: Path, good: Path) -> None:
    right = {"big.bin": digest(tree / "big.bin")}
    with pytest.raises(DigestMismatch, match=r"big\.bin is not the file") as caught:
        write_archive(tree, good, stored=["big.bin"], digests={"big.bin": "0" * 64})
    assert caught.value.exit_code == 4
    write_archive(tree, tree.parent / "elsewhere" / "a.7z", stored=["big.bin"], digests=right)
    shutil.rmtree(tree.parent / "elsewhere")
