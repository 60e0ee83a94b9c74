from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.model.random_model import write_random_model
from oneclick.console import Console
from oneclick.doors import doctor
from oneclick.folder import BundleFolder
from oneclick.messages import set_language

LEVEL = {"name": "avx2", "folder": "app/engine/avx2", "requires": []}
BUNDLE = {
    "format": 1,
    "name": "ChatGLM3_cpp",
    "version": "1.0.0",
    "python": "3.10.11",
    "engine": {"package": "chatglm_cpp", "version": "0.3.0", "kind": "compile", "openblas": False, "levels": [LEVEL]},
    "models": [],
    "default_model": "q4_0",
}


@pytest.fixture
def folder(tmp_path: Path) -> BundleFolder:
    """A folder with an engine that says its version and nothing else: the examination imports, it does not compute."""
    set_language("zh")
    engine = tmp_path / "app" / "engine" / "avx2" / "chatglm_cpp"
    engine.mkdir(parents=True)
    (engine / "__init__.py").write_text("__version__ = '0.3.0'\n")
    (tmp_path / "bundle.json").write_text(json.dumps(BUNDLE))
    (tmp_path / "logs").mkdir()
    listed = [
        {
            "path": path.relative_to(tmp_path).as_posix(),
            "size_bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in tmp_path.rglob("*")
        if path.is_file()
    ]
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"format": 1, "files": listed}))
    write_random_model(tmp_path / "chatglm3-ggml.bin", "tiny")
    return BundleFolder(tmp_path)


def examine(folder: BundleFolder) -> tuple[int, str]:
    screen = io.StringIO()
    code = doctor.run_doctor(folder, Console(screen))
    return code, screen.getvalue()


def test_a_healthy_folder_gets_0_and_a_report_like_the_screen(folder: BundleFolder) -> None:
    code, screen = examine(folder)
    assert code == 0, screen
    report = folder.report.read_bytes()
    assert report.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in report
    for words in ("2 个文件全部完好", "avx2：可以加载（0.3.0）", "完整；不在已知列表里", "需要内存约"):
        assert words in screen
        assert words in report.decode("utf-8-sig")


def test_an_engine_that_does_not_load_is_told_with_python_s_own_words(folder: BundleFolder) -> None:
    (folder.root / "app/engine/avx2/chatglm_cpp/__init__.py").write_text("raise ImportError('DLL load failed')\n")
    code, screen = examine(folder)
    assert code == 1
    assert "avx2：不能加载" in screen
    assert "DLL load failed" in screen
    assert "1 个文件和打包时不一样" in screen


def test_without_bundle_json_everything_else_is_still_examined(folder: BundleFolder) -> None:
    folder.bundle_json.unlink()
    code, screen = examine(folder)
    assert code == 1
    assert "缺少 bundle.json" in screen
    assert "端口" in screen


def test_no_model_is_an_error_with_a_way_out(folder: BundleFolder) -> None:
    (folder.root / "chatglm3-ggml.bin").unlink()
    code, screen = examine(folder)
    assert code == 1
    assert "文件夹里没有模型" in screen


def test_the_last_errors_of_the_log_are_shown_without_the_home(
    folder: BundleFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERPROFILE", r"C:\Users\张三")
    log = folder.logs / "oneclick.log"
    lines = ["2026 INFO x: fine", *(f"2026 ERROR x: number {n} in C:\\Users\\张三\\y" for n in range(20)), "Traceback"]
    log.write_text("\n".join(lines), encoding="utf-8")
    _, screen = examine(folder)
    assert "number 19 in %USERPROFILE%\\y" in screen
    assert screen.count("ERROR x") == doctor.LAST_ERRORS
    assert not [line for line in screen.splitlines() if "ERROR x" in line and "[" in line]
    assert "张三" not in folder.report.read_text("utf-8-sig")


def test_a_wrong_setting_is_shown_with_its_line(folder: BundleFolder) -> None:
    folder.settings.write_text("\nprot = 1\n", encoding="utf-8")
    code, screen = examine(folder)
    assert code == 0
    assert "第 2 行：没有“prot”" in screen


def test_compiled_modules_that_no_manifest_names_are_removed(folder: BundleFolder) -> None:
    planted = folder.logs / "cache" / "key" / "launcher"
    planted.parent.mkdir(parents=True)
    planted.write_bytes(b"code")
    code, screen = examine(folder)
    assert code == 0 and "重新生成" in screen
    assert not (folder.logs / "cache").exists()
    assert "cache" not in examine(folder)[1]


def test_compiled_modules_that_cannot_be_removed_are_told(
    folder: BundleFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.logs / "cache").mkdir()

    def refuse(path: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("shutil.rmtree", refuse)
    _, screen = examine(folder)
    assert "logs\\cache 清除不了（Read-only file system）" in screen


def test_the_doctor_runs_from_its_sources(tmp_path: Path) -> None:
    """Planted in the cache, another doctor would say that all is well."""
    app = tmp_path / "app"
    shutil.copytree(Path("payload/oneclick"), app / "oneclick", ignore=shutil.ignore_patterns("web", "__pycache__"))
    (tmp_path / "bundle.json").write_text(json.dumps(BUNDLE))
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"format": 1, "files": []}))
    (tmp_path / "logs").mkdir()
    for program in ("download", "doctor"):
        subprocess.run(
            [sys.executable, "-m", "oneclick", program, *(["--list"] if program == "download" else [])],
            env={**os.environ, "PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
        )
        assert (tmp_path / "logs" / "cache").exists() == (program == "download")
