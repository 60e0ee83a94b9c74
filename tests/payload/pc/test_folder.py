from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from oneclick.messages import set_language
from oneclick.pc import folder
from oneclick.pc.findings import OK, WARNING
from oneclick.pc.folder import check_disk, check_folder, check_mark, check_online_only, check_path_length, check_place
from oneclick.pc.folder import check_writable as check
from oneclick.pc.machine import Disk


@pytest.fixture(autouse=True)
def chinese() -> None:
    set_language("zh")


def test_a_good_folder_is_left_as_it_was(tmp_path: Path) -> None:
    assert check(tmp_path).severity == OK
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_refuses_is_told() -> None:
    """/proc refuses even root."""
    finding = check(Path("/proc"))
    assert finding.severity == WARNING
    assert "不能写入" in str(finding)


def test_a_path_that_windows_cannot_open_is_told() -> None:
    root = Path("/" + "x" * 200)
    assert check_path_length(root, 50).severity == OK
    assert "路径太长" in str(check_path_length(root, 60))


@pytest.mark.parametrize(("variable", "words"), [("TEMP", "临时文件夹"), ("OneDrive", "OneDrive")])
def test_bad_places_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, words: str) -> None:
    for name in ("TEMP", "OneDrive", "OneDriveConsumer", "OneDriveCommercial"):
        monkeypatch.delenv(name, raising=False)
    assert check_place(tmp_path, "fixed").severity == OK
    monkeypatch.setenv(variable, str(tmp_path))
    assert words in str(check_place(tmp_path / "x", "fixed"))
    assert words in str(check_place(tmp_path, "fixed"))
    assert check_place(tmp_path.with_name(tmp_path.name + "2"), "fixed").severity == OK


def test_a_short_name_of_the_temporary_folder_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archive viewers extract to %TEMP%, which is an 8.3 path where the user's name is long or Chinese."""
    monkeypatch.setattr(folder, "full_name", lambda path: path.replace("ZHANGS~1", "zhangsanfeng"))
    monkeypatch.setenv("TEMP", str(tmp_path / "ZHANGS~1" / "Temp"))
    for name in ("zhangsanfeng", "ZHANGS~1"):
        assert "临时文件夹" in str(check_place(tmp_path / name / "Temp" / "7zO1" / "x", "fixed"))


def test_a_share_is_told_also_when_it_has_a_letter(tmp_path: Path) -> None:
    """pushd maps ``\\\\server\\share`` to Z: before the program starts."""
    found = check_folder(tmp_path, Disk(100 << 30, "NTFS", "network"), 100)
    assert "网络共享" in "".join(map(str, found))
    assert "网络共享" not in "".join(map(str, check_folder(tmp_path, Disk(100 << 30, "NTFS", "fixed"), 100)))


def test_a_full_disk_and_fat32_are_told() -> None:
    assert "只剩 100.0 MB" in str(check_disk(Disk(100 << 20, "NTFS", "fixed")))
    assert "FAT32" in str(check_disk(Disk(100 << 30, "FAT32", "removable")))
    assert check_disk(Disk(100 << 30, "NTFS", "fixed")).severity == OK


def test_the_mark_of_the_web_is_seen(tmp_path: Path) -> None:
    program = tmp_path / "python.exe"
    program.touch()
    assert check_mark([program]).severity == OK
    # Outside NTFS a stream is a file of that name.
    (tmp_path / "python.exe:Zone.Identifier").write_text("[ZoneTransfer]\nZoneId=3\n")
    assert "python.exe" in str(check_mark([program]))


def test_a_local_file_is_not_called_a_placeholder(tmp_path: Path) -> None:
    (tmp_path / "x.bin").touch()
    assert check_online_only(tmp_path / "x.bin") is None


def test_nothing_of_windows_is_needed_to_import_the_checks() -> None:
    code = (
        "import oneclick.pc.folder, oneclick.pc.machine, oneclick.pc.checks, oneclick.doors.doctor, oneclick.doors.run"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": "payload"}, cwd=Path(__file__).parents[3]
    )
