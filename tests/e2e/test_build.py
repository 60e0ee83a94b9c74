"""python build.py as a maintainer types it: the finished archive, its bytes, its readers, and interruptions."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import py7zr
import pytest

from bundle.model.random_model import write_random_model
from tests.support.build_py import build_py

ROOT = Path(__file__).resolve().parent.parent.parent
LARGEST_ARCHIVE_BYTES = 16_000_000


def extract(archive: Path, target: Path) -> None:
    """Extract with py7zr in a process of its own: it leaves files open for the garbage collector."""
    command = [sys.executable, "-m", "py7zr", "x", archive, target]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def names(built_archive: Path) -> list[str]:
    with py7zr.SevenZipFile(built_archive) as archive:
        return archive.getnames()


def test_the_archive_holds_what_a_user_needs_and_little_more(built_archive: Path, names: list[str]) -> None:
    wanted = ("一键运行.bat", "下载模型.bat", "环境诊断.bat", "使用说明.html", "设置.toml", "python/python.exe")
    wanted += ("bundle.json", "MANIFEST.json", "sbom.cdx.json", "licenses/INDEX.md", "app/oneclick/__main__.py")
    assert {f"ChatGLM3_cpp/{name}" for name in wanted} <= set(names)
    assert all(name == "ChatGLM3_cpp" or name.startswith("ChatGLM3_cpp/") for name in names)
    assert not [name for name in names if re.search(r"/(Scripts|pip|fastapi|pydantic\w*|__pycache__)(/|$)", name)]
    assert built_archive.stat().st_size <= LARGEST_ARCHIVE_BYTES


@pytest.mark.parametrize("tool", ["7zz", "bsdtar", "py7zr"])
def test_every_reader_gets_the_same_files_out(built_archive: Path, tmp_path: Path, tool: str) -> None:
    if tool == "py7zr":
        extract(built_archive, tmp_path)
    else:
        program = shutil.which(tool)
        assert program, f"{tool} is needed: python3 tests/run.py installs it"
        command = [program, "x", f"-o{tmp_path}", "-y"] if tool == "7zz" else [program, "-C", str(tmp_path), "-xf"]
        utf8 = {**os.environ, "LC_ALL": "C.UTF-8"}
        subprocess.run([*command, built_archive], check=True, stdout=subprocess.DEVNULL, env=utf8)
    manifest = tmp_path / "ChatGLM3_cpp" / "MANIFEST.json"
    for file in json.loads(manifest.read_text(encoding="utf-8"))["files"]:
        assert sha256(tmp_path / "ChatGLM3_cpp" / file["path"]) == file["sha256"], file["path"]


def test_7zip_finds_nothing_wrong(built_archive: Path) -> None:
    done = subprocess.run(["7zz", "t", built_archive], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Everything is Ok" in done.stdout


def test_a_second_build_does_nothing_and_needs_no_network(built_archive: Path) -> None:
    before = (built_archive.stat().st_mtime_ns, sha256(built_archive))
    done = build_py("--offline", "--no-smoke", PIP_INDEX_URL="http://127.0.0.1:9/")
    assert done.returncode == 0, done.stderr
    assert "nothing changed since" in done.stdout
    assert before[1] in done.stdout
    assert (built_archive.stat().st_mtime_ns, sha256(built_archive)) == before


def test_another_folder_clock_and_umask_give_the_same_bytes(built_archive: Path, tmp_path: Path) -> None:
    code = f"import os, sys; os.umask(0o077); os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])"
    output = tmp_path / "an other" / "输出"
    done = subprocess.run(
        [sys.executable, "-c", code, ROOT / "build.py", "--offline", "--no-smoke", "--output", output],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sha256(output / built_archive.name) == sha256(built_archive)
    assert sorted(path.name for path in output.iterdir()) == ["ChatGLM3_cpp.7z", "SHA256SUMS"]


def test_the_sums_beside_the_archive_are_right(built_archive: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=built_archive.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_an_interrupted_build_keeps_the_previous_archive_and_leaves_nothing(
    built_archive: Path, tmp_path: Path
) -> None:
    output = tmp_path / "dist"
    output.mkdir()
    previous = output / built_archive.name
    previous.write_bytes(b"the archive of last week")
    with subprocess.Popen(
        [sys.executable, ROOT / "build.py", "--offline", "--no-smoke", "--output", output],
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # A run in the background hands down an ignored Ctrl+C; a maintainer's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Write the archive" in line:
                break
        while not list(output.glob(f".{built_archive.name}.part-*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait() == 130
    assert "Traceback" not in rest
    assert previous.read_bytes() == b"the archive of last week"
    assert [path.name for path in output.iterdir()] == [previous.name]


@pytest.mark.wine
def test_a_model_is_packed_in_volumes_that_verify_and_chat(built_archive: Path, tmp_path: Path) -> None:
    model = tmp_path / "mine.bin"
    write_random_model(model, "small", "f32")
    assert model.stat().st_size > 64_000_000
    output = tmp_path / "dist"
    done = build_py("--offline", "--with-model", str(model), "--volume-size", "64m", "--output", str(output))
    assert done.returncode == 0, done.stderr
    volumes = sorted(output.glob("ChatGLM3_cpp.7z.*"))
    assert len(volumes) > 1
    assert "smoke:   passed" in done.stdout
    assert build_py("verify", str(volumes[0])).returncode == 0
    assert shutil.which("7zz")
    subprocess.run(["7zz", "t", volumes[0]], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.wine
def test_an_archive_that_does_not_start_fails_the_smoke_test(built_archive: Path, tmp_path: Path) -> None:
    extract(built_archive, tmp_path)
    (tmp_path / "ChatGLM3_cpp" / "app" / "oneclick" / "__main__.py").write_text("raise SystemExit(1)")
    broken = tmp_path / "broken.7z"
    with py7zr.SevenZipFile(broken, "w", filters=[{"id": py7zr.FILTER_COPY}]) as archive:
        archive.writeall(tmp_path / "ChatGLM3_cpp", "ChatGLM3_cpp")
    done = build_py("smoke", str(broken))
    assert done.returncode == 6, done.stdout
    assert "does not do its job" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.wine
def test_the_archive_passes_its_smoke_test(built_archive: Path) -> None:
    done = build_py("smoke", str(built_archive))
    assert done.returncode == 0, done.stderr
    assert "passed on" in done.stdout and "nothing left running" in done.stdout
