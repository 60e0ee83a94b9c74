"""The black window: title, no freezing on a click, output that never fails, one progress line."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

ENABLE_QUICK_EDIT_MODE = 0x0040
ENABLE_EXTENDED_FLAGS = 0x0080
ENABLE_VIRTUAL_TERMINAL_PROCESSING = 0x0004
STD_INPUT_HANDLE = -10
STD_OUTPUT_HANDLE = -11

REDIRECTED_PROGRESS_STEP = 0.1
"""A redirected output gets a progress line each time this much more is done."""


def prepare(title: str) -> None:
    """Make the window of this process safe to print to and to click into; do nothing where there is none."""
    _survive_any_text()
    if sys.platform == "win32":
        _set_title(title)
        # With QuickEdit a click into the window starts a selection, and a selection blocks every print.
        _add_to_console_mode(STD_INPUT_HANDLE, ENABLE_EXTENDED_FLAGS, without=ENABLE_QUICK_EDIT_MODE)


def _survive_any_text() -> None:
    """Let ``print`` replace what the output cannot show, and never meet a missing stream.

    A console gets UTF-16 from Python whatever its code page is; a file or pipe gets UTF-8, because
    a log in cp936 would fail at the first emoji.
    """
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            if stream.isatty():
                stream.reconfigure(errors="replace")
            else:
                stream.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)


def _set_title(title: str) -> None:
    if sys.platform == "win32":
        import ctypes

        ctypes.windll.kernel32.SetConsoleTitleW(title)


def _add_to_console_mode(stream_number: int, flags: int, without: int = 0) -> bool:
    """Switch ``flags`` on and ``without`` off for one of the console's streams; False where there is no console."""
    if sys.platform == "win32":
        import ctypes
        from ctypes import wintypes

        kernel32 = ctypes.WinDLL("kernel32")
        kernel32.GetStdHandle.restype = wintypes.HANDLE
        kernel32.GetConsoleMode.argtypes = (wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD))
        kernel32.SetConsoleMode.argtypes = (wintypes.HANDLE, wintypes.DWORD)
        handle = kernel32.GetStdHandle(stream_number)
        mode = wintypes.DWORD()
        if kernel32.GetConsoleMode(handle, ctypes.byref(mode)):
            return bool(kernel32.SetConsoleMode(handle, (mode.value & ~without) | flags))
    return False


def supports_ansi(stream: TextIO) -> bool:
    """Tell whether escape sequences may be written to ``stream``, switching them on where Windows needs that."""
    if not stream.isatty() or "NO_COLOR" in os.environ:
        return False
    if sys.platform == "win32":
        return _add_to_console_mode(STD_OUTPUT_HANDLE, ENABLE_VIRTUAL_TERMINAL_PROCESSING)
    return os.environ.get("TERM", "dumb") != "dumb"


class Console:
    """Lines and one progress line on ``stream``.

    A progress line is rewritten in place in a real window and becomes a line per tenth elsewhere, so that a
    redirected log stays readable.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._in_place = self._stream.isatty()
        self._ansi = supports_ansi(self._stream)
        self._pending = ""
        self._reported = (-1.0, "")
        self._last_shown = 0.0

    def line(self, text: str = "") -> None:
        """Print one line (or several, with line breaks in ``text``)."""
        self._finish_progress()
        self._write(text + "\n")

    def good(self, text: str) -> None:
        """Print a line that says all is well; green where the window can."""
        self.line(self._coloured(text, "32"))

    def bad(self, text: str) -> None:
        """Print a line that says something is wrong; red where the window can."""
        self.line(self._coloured(text, "31"))

    def progress(self, text: str, fraction: float | None) -> None:
        """Show how far ``text`` is, ``fraction`` from 0.0 to 1.0; None where it cannot be known."""
        shown = text if fraction is None else f"{text} {int(fraction * 100):3d}%"
        if self._in_place:
            if shown == self._pending or time.monotonic() - self._last_shown < 0.1:
                return
            self._last_shown = time.monotonic()
            self._write("\r" + shown + " " * max(0, _columns(self._pending) - _columns(shown)))
            self._pending = shown
            return
        step, last_text = self._reported
        if text != last_text or (fraction is not None and fraction >= step + REDIRECTED_PROGRESS_STEP):
            self._reported = (fraction or 0.0, text)
            self._write(shown + "\n")

    def _finish_progress(self) -> None:
        self._reported = (-1.0, "")
        if self._pending:
            self._write("\n")
            self._pending = ""

    def _coloured(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._ansi else text

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # The window is being closed or the pipe's reader has gone: nobody reads this any more.


def _columns(text: str) -> int:
    """Return how wide ``text`` is in a console: Chinese characters take two cells."""
    return sum(2 if ord(char) > 0x2E7F else 1 for char in text)
