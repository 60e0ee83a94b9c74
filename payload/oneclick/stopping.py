"""One event for every way a user ends the program: Ctrl+C, closing the window, logging off, shutting down."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

CTRL_CLOSE_EVENT = 2
CTRL_LOGOFF_EVENT = 5
CTRL_SHUTDOWN_EVENT = 6
WINDOW_CLOSE_GRACE_S = 4.5
"""Windows ends a process 5 s after its window was closed; the handler holds it that long for us."""
POLL_S = 0.2

_handlers: list[Any] = []
"""Keeps the callback given to Windows alive: ctypes would free it."""


class StopSignal:
    """Set once the program shall end; ``finished`` is set once everything has been put away."""

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.finished = threading.Event()

    def request(self) -> None:
        """Ask everyone to stop."""
        self.requested.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until a stop is requested, or for ``timeout_s``; tell whether it was.

        Waits in short pieces: on Windows a signal does not wake a thread that waits without limit.
        """
        if timeout_s is not None:
            return self.requested.wait(timeout_s)
        while not self.requested.wait(POLL_S):
            pass
        return True

    def listen(self) -> None:
        """Let Ctrl+C, Ctrl+Break, a closed window, log-off and shutdown request the stop. Call in the main thread."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            # Not here: this runs in the main thread, which may just hold the lock inside ``requested.wait``.
            threading.Thread(target=self.request, name="stop", daemon=True).start()

        signal.signal(signal.SIGINT, on_signal)
        signal.signal(signal.SIGTERM, on_signal)
        if sys.platform == "win32":
            signal.signal(signal.SIGBREAK, on_signal)
            self._listen_to_windows()

    if sys.platform == "win32":

        def _listen_to_windows(self) -> None:
            import ctypes
            from ctypes import wintypes

            @ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)  # type: ignore[untyped-decorator, unused-ignore]
            def on_event(event: int) -> bool:
                if event not in (CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT):
                    return False  # Ctrl+C and Ctrl+Break go on to Python's own handler.
                self.request()
                self.finished.wait(WINDOW_CLOSE_GRACE_S)  # The process ends when this returns.
                return True

            _handlers.append(on_event)
            ctypes.windll.kernel32.SetConsoleCtrlHandler(on_event, True)
