from __future__ import annotations

import re
from pathlib import Path

import pytest

from bundle.stage.render import write_bat

DOORS = {"一键运行.bat": "", "下载模型.bat": "download", "环境诊断.bat": "doctor"}


@pytest.fixture(params=DOORS)
def bat(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    target = tmp_path / request.param
    write_bat("run.bat.j2", target, python_dir="python", subcommand=DOORS[request.param])
    return target.read_bytes()


def test_a_door_is_ascii_with_crlf_and_no_mark(bat: bytes) -> None:
    bat.decode("ascii")
    assert bat.count(b"\n") == bat.count(b"\r\n") > 10
    assert bat.startswith(b"@echo off\r\n")


def test_a_door_works_from_any_folder_and_any_drive(bat: bytes) -> None:
    assert b'pushd "%~dp0"' in bat
    assert b"DisableDelayedExpansion" in bat  # With it, ! in a path would be eaten.
    assert b"EnableDelayedExpansion" not in bat


def test_no_other_python_and_no_proxy_leaks_in(bat: bytes) -> None:
    for line in (
        b"set PYTHONHOME=\r\n",
        b"set PYTHONPATH=\r\n",
        b"set PYTHONNOUSERSITE=1\r\n",
        b"set PYTHONUTF8=1\r\n",
    ):
        assert line in bat
    assert b'set "NO_PROXY=127.0.0.1,localhost,::1,' in bat


def test_every_label_that_is_jumped_to_is_there(bat: bytes) -> None:
    text = bat.decode("ascii")
    wanted = set(re.findall(r"goto (\w+)", text))
    assert wanted == set(re.findall(r"^:(\w+)", text, re.MULTILINE))


def test_the_window_stays_open_when_something_failed(bat: bytes) -> None:
    body, missing = bat.split(b":incomplete")
    assert b"pause" in body
    assert b"pause" in missing


def test_the_doors_share_all_but_their_command(tmp_path: Path) -> None:
    bodies = []
    for name, subcommand in DOORS.items():
        write_bat("run.bat.j2", tmp_path / name, python_dir="python", subcommand=subcommand)
        text = (tmp_path / name).read_text("ascii")
        assert f"-m oneclick {subcommand + ' ' if subcommand else ''}%*" in text
        bodies.append(text.split('"python\\python.exe" -X')[0])
    assert len(set(bodies)) == 1
