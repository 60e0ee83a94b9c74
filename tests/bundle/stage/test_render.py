"""Templates become files cmd.exe and Notepad read right; a missing value fails the build."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from bundle.errors import UsageError
from bundle.paths import DOORS
from bundle.recipe.recipe import read_recipe
from bundle.stage import render
from bundle.stage.render import render_text, write_bat, write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("name", "subcommand"), DOORS.items())
def test_a_door_is_ascii_with_windows_line_ends(tmp_path: Path, name: str, subcommand: str) -> None:
    write_bat("run.bat.j2", tmp_path / name, python_dir="python", subcommand=subcommand)
    data = (tmp_path / name).read_bytes()
    assert data.isascii()
    assert not data.startswith(b"\xef\xbb\xbf")
    assert data.count(b"\r\n") == data.count(b"\n") > 5
    assert b"-m oneclick" in data and b"%*" in data


def test_a_missing_value_fails(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="undefined"):
        write_bat("run.bat.j2", tmp_path / "x.bat", python_dir="python")
    assert not (tmp_path / "x.bat").exists()


def test_a_bat_with_chinese_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.bat.j2").write_text("echo 你好\n", encoding="utf-8")
    monkeypatch.setattr(render, "TEMPLATES", tmp_path)
    with pytest.raises(UsageError, match="not ASCII"):
        write_bat("bad.bat.j2", tmp_path / "bad.bat")
    assert not (tmp_path / "bad.bat").exists()


def test_the_settings_file_is_valid_and_every_line_is_commented(tmp_path: Path) -> None:
    write_text("settings.toml.j2", tmp_path / "s.toml", newline="\r\n")
    text = (tmp_path / "s.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text) == {}
    uncommented = re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)
    assert {"port", "model", "threads", "language"} <= tomllib.loads(uncommented).keys()


def test_the_help_page_stands_alone_and_gives_the_chatbox_settings() -> None:
    recipe = read_recipe("chatglm3")
    html = render_text("help.html.j2", recipe=recipe, model=recipe.model("q4_0"))
    assert "http://127.0.0.1:8000" in html and "chatglm3-ggml.bin" in html and "3.27 GB" in html
    pictures = re.findall(r'<img src="app/help/([^"]+)"', html)
    assert pictures and all((ROOT / "docs" / "help" / name).is_file() for name in pictures)
    assert not re.findall(r"""<(?:script|link|img)[^>]*(?:src|href)=["']https?:""", html)


def test_values_are_escaped_in_html() -> None:
    recipe = read_recipe("chatglm3")
    evil = json.loads('{"file_name": "<script>", "size_bytes": 1, "licence": "x"}')
    assert "<script>" not in render_text("help.html.j2", recipe=recipe, model=evil)
