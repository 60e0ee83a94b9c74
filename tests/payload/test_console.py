from __future__ import annotations

import io
import sys

import pytest

from oneclick.console import Console, prepare


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_output_never_fails_on_a_code_page_that_lacks_the_character(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp936"))
    prepare("title")
    Console().line("你好 😀")
    assert raw.getvalue().decode("utf-8").rstrip() == "你好 😀"


def test_a_program_without_any_output_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    prepare("title")
    Console().line("nobody reads this")
    assert sys.stdout is not None
    sys.stdout.close()
    sys.stderr.close()


def test_progress_in_a_file_is_a_line_per_tenth() -> None:
    stream = io.StringIO()
    console = Console(stream)
    for percent in range(101):
        console.progress("加载", percent / 100)
    lines = stream.getvalue().splitlines()
    assert 10 <= len(lines) <= 12
    assert lines[0] == "加载   0%"


def test_progress_in_a_window_stays_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    console = Console(stream)
    console.progress("校验模型", 0.5)
    console.line("好了")
    assert stream.getvalue() == "\r校验模型  50%\n好了\n"


def test_colour_is_left_out_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    Console(stream).bad("x")
    assert stream.getvalue() == "x\n"


def test_a_closed_window_is_not_an_error() -> None:
    stream = io.StringIO()
    console = Console(stream)
    stream.close()
    console.line("x")
