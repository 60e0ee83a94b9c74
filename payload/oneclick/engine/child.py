"""The worker as a child process: started, spoken to, watched, and never left behind."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable, cast

from oneclick.engine.frames import BrokenFrame, Message, read_frame, write_frame

log = logging.getLogger("oneclick.server")

_CREATE_NO_WINDOW = 0x08000000
"""subprocess names it on Windows only."""

OnEvent = Callable[["WorkerProcess", Message], None]
OnExit = Callable[["WorkerProcess", int], None]


@dataclass(frozen=True)
class Spawned:
    """A worker that waits for its first frame; it ends when its stdin is closed, and on Windows when we do."""

    process: subprocess.Popen[bytes]
    job: object | None
    """Ties its life to ours as long as it is kept."""

    def discard(self, timeout_s: float = 1.0) -> None:
        """End a worker that is not needed after all."""
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def spawn() -> Spawned:
    """Start a worker. Raises OSError where the system refuses, such as an antivirus program's veto."""
    environment = dict(os.environ)
    # Where the interpreter is the bundle's, its ._pth file lists this folder already and PYTHONPATH is ignored.
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    environment["PYTHONUTF8"] = "1"
    # No console of its own to show, and none shared: Ctrl+C is for the HTTP process, which stops us in order.
    options: Any = {"creationflags": _CREATE_NO_WINDOW} if sys.platform == "win32" else {"start_new_session": True}
    process = subprocess.Popen(
        [sys.executable, "-m", "oneclick.engine.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        **options,
    )
    return Spawned(process, _kill_with_us(process))


class WorkerProcess:
    """One run of ``oneclick.engine.worker``.

    ``on_event`` and ``on_exit`` are called from this object's own thread, the latter once, after the last event.
    """

    def __init__(self, on_event: OnEvent, on_exit: OnExit, spawned: Spawned | None = None) -> None:
        """``spawned`` is a worker that was started ahead of time; without it one is started now."""
        self._on_event = on_event
        self._on_exit = on_exit
        self._lock = threading.Lock()
        self.last_words: deque[str] = deque(maxlen=40)
        """The last lines the worker wrote to stderr."""
        self._spawned = spawned or spawn()
        self._process = self._spawned.process
        self._stdin = cast(BinaryIO, self._process.stdin)
        self._stdout = cast(BinaryIO, self._process.stdout)
        self._stderr = cast(BinaryIO, self._process.stderr)
        self._errors = threading.Thread(target=self._read_errors, name="worker stderr", daemon=True)
        self._errors.start()
        self._events = threading.Thread(target=self._read_events, name="worker events", daemon=True)
        self._events.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Message) -> None:
        """Send a frame; a worker that is gone is reported by ``on_exit``, not here."""
        try:
            with self._lock:
                write_frame(self._stdin, message)
        except (OSError, ValueError):
            log.debug("the worker is gone")

    def stop(self, timeout_s: float = 1.0) -> None:
        """Ask the worker to exit; kill it when it does not within ``timeout_s``."""
        self.send({"op": "exit"})
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._events.join(2)

    def kill(self) -> None:
        """End the worker now, whatever it is doing."""
        self._process.kill()

    def _read_errors(self) -> None:
        for line in self._stderr:
            text = line.decode("utf-8", "replace").rstrip()
            self.last_words.append(text)
            log.debug("worker: %s", text)
        self._stderr.close()

    def _read_events(self) -> None:
        try:
            while True:
                message = read_frame(self._stdout)
                if message is None:
                    break
                self._on_event(self, message)
        except (BrokenFrame, ValueError, OSError):
            log.exception("the worker sent something that is not a message")
            self._process.kill()
        code = self._process.wait()
        self._errors.join(2)
        self._stdout.close()
        with self._lock, contextlib.suppress(OSError):
            self._stdin.close()
        self._on_exit(self, code)


def _kill_with_us(process: subprocess.Popen[bytes]) -> object | None:
    """On Windows, tie the child's life to ours; keep the returned object alive. Elsewhere the child asks itself."""
    if sys.platform == "win32":
        from oneclick.engine.windows_job import KillOnClose

        return KillOnClose(int(process._handle))
    return None
