"""The finished archive, tried as a user would: extracted, double-clicked, asked, stopped."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import requests

from bundle.errors import BundleError, SmokeFailed, UsageError
from bundle.log import Log, human_seconds
from bundle.model.random_model import write_random_model

AWKWARD_FOLDER = "我的 软件(测试)&1"
"""What people call folders: Chinese, a space, and characters that mean something to cmd.exe."""
RUN_BAT = "一键运行.bat"
MODEL_NAME = "chatglm3-ggml.bin"
READY_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 15.0
QUESTION = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "你好"}], "max_tokens": 8}


class Program(Protocol):
    """A double-clicked .bat."""

    @property
    def output(self) -> str: ...
    def wait_for(self, text: str, timeout_s: float = ...) -> str: ...
    def wait(self, timeout_s: float = ...) -> int: ...
    def press_enter(self) -> None: ...


class Desktop(Protocol):
    """A Windows to double-click in: this machine's own, or one that Wine gives."""

    name: str

    def double_click(self, bat: Path, *arguments: str) -> Program: ...
    def press_ctrl_c(self) -> None: ...
    def processes(self) -> dict[int, str]: ...


@dataclass(frozen=True, kw_only=True)
class SmokeReport:
    """What the smoke test saw."""

    desktop: str
    ready_s: float
    """From the double-click until a chat was possible."""
    stop_s: float
    engine: str

    def summary(self) -> str:
        """Return one line for the end of a build."""
        return (
            f"passed on {self.desktop}: ready {human_seconds(self.ready_s)} after the double-click, chatted, streamed, "
            f"stopped in {human_seconds(self.stop_s)}, nothing left running"
        )


def can_smoke() -> bool:
    """Tell whether this machine can run Windows programs."""
    return sys.platform == "win32" or bool(shutil.which("wine") or shutil.which("wine64"))


def smoke_test(archive: Path, log: Log, *, model: Path | None = None, windows_build: int = 0) -> SmokeReport:
    """Extract ``archive`` (or its first volume) into an awkward folder, double-click it, chat, and stop it.

    model: chat with this file; without it, with the one in the archive, else with a tiny generated one.
    windows_build: the build that Wine says it is, such as 22631; 0 for its own. Raises SmokeFailed with what the window
    showed, UsageError for a build on Windows, which has its own.
    """
    with tempfile.TemporaryDirectory(prefix="smoke-", ignore_cleanup_errors=True) as scratch:
        folder = lay_out(archive, Path(scratch) / AWKWARD_FOLDER, model)
        log.line(f"extracted into {AWKWARD_FOLDER}/{folder.name}")
        if not (folder / MODEL_NAME).exists():
            write_random_model(folder / MODEL_NAME)
        with desktop(windows_build) as windows:
            return _try(folder, windows, log)


def lay_out(archive: Path, target: Path, model: Path | None) -> Path:
    """Extract ``archive`` into ``target`` and give it ``model``; return the bundle's folder."""
    extract(archive, target)
    (folder,) = (path for path in target.iterdir() if path.is_dir())
    if model:
        placed = folder / MODEL_NAME
        placed.unlink(missing_ok=True)
        try:
            placed.hardlink_to(model)  # gigabytes
        except OSError:  # another disk, or a disk without links
            shutil.copyfile(model, placed)
    return folder


def extract(archive: Path, target: Path) -> None:
    """Extract an archive, or the one whose first volume (``.7z.001``) is given, as any other tool does."""
    import multivolumefile
    import py7zr

    target.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        source: Any = archive
        if archive.suffix == ".001":
            source = stack.enter_context(multivolumefile.open(archive.with_suffix(""), "rb"))
        stack.enter_context(py7zr.SevenZipFile(source)).extractall(target)


@dataclass(frozen=True, kw_only=True)
class Started:
    """A bundle that was double-clicked and answers."""

    base: str
    """``http://127.0.0.1:PORT``"""
    ready_s: float
    """From the double-click until a chat was possible."""
    health: dict[str, Any]


@contextlib.contextmanager
def double_clicked(folder: Path, windows: Desktop, log: Log) -> Iterator[Started]:
    """Double-click the bundle in ``folder``, give it once it is ready, stop it in the end and see that nothing is left.

    Raises SmokeFailed with what the window showed, also for what goes wrong inside.
    """
    start = time.monotonic()
    program = windows.double_click(folder / RUN_BAT, "--no-browser", "--port", "0")
    try:
        base = _address(program)
        health = _wait_until_ready(base, program)
        yield Started(base=base, ready_s=time.monotonic() - start, health=health)
        stop = time.monotonic()
        windows.press_ctrl_c()
        time.sleep(0.5)
        program.press_enter()
        program.wait(STOP_TIMEOUT_S)
        _check_nothing_left(windows, base, stop + STOP_TIMEOUT_S)
        log.line(f"stopped in {human_seconds(time.monotonic() - stop)}, nothing left running")
    except (BundleError, requests.RequestException, subprocess.TimeoutExpired, KeyError, ValueError) as error:
        raise SmokeFailed(
            "the finished archive does not do its job",
            why=f"{type(error).__name__}: {error}\n--- the window showed:\n{program.output.strip()}",
            do="the archive stays where it is for a look, but do not publish it",
        ) from error


def _try(folder: Path, windows: Desktop, log: Log) -> SmokeReport:
    """Run the steps a user takes in the extracted ``folder``."""
    with double_clicked(folder, windows, log) as started:
        _check_answers(started.base)
        log.line(f"answered at {started.base} on {windows.name}")
        stop = time.monotonic()
    return SmokeReport(
        desktop=windows.name,
        ready_s=started.ready_s,
        stop_s=time.monotonic() - stop,
        engine=str(started.health.get("engine")),
    )


def _address(program: Program) -> str:
    """Return ``http://127.0.0.1:PORT`` as the window shows it."""
    output = program.wait_for("http://127.0.0.1:", 60)
    give_up = time.monotonic() + 10
    while not (match := re.search(r"http://127\.0\.0\.1:(\d+)\b", output)) and time.monotonic() < give_up:
        time.sleep(0.1)
        output = program.output
    if not match:
        raise SmokeFailed("no address was shown", why=output, do="look at the launcher")
    return match[0]


def _wait_until_ready(base: str, program: Program) -> dict[str, Any]:
    """Return what /health says once the model is loaded."""
    give_up = time.monotonic() + READY_TIMEOUT_S
    last: object = None
    while time.monotonic() < give_up:
        with contextlib.suppress(requests.ConnectionError):
            answer = requests.get(f"{base}/health", timeout=10, proxies={"http": ""})
            last = answer.text
            if answer.status_code == 200:
                return dict(answer.json())
            if answer.json().get("phase") == "failed":
                break
        time.sleep(0.2)
    raise SmokeFailed("the model was never ready", why=f"/health last said {last}", do="read the window's text")


def _check_answers(base: str) -> None:
    """Ask what the tutorial's clients ask: the list of models, an answer, a streamed answer."""
    with requests.Session() as session:
        session.trust_env = False
        models = session.get(f"{base}/v1/models", timeout=30).json()
        if "gpt-3.5-turbo" not in [model["id"] for model in models["data"]]:
            raise SmokeFailed("/v1/models lacks gpt-3.5-turbo", why=str(models), do="see the server")
        answer = session.post(f"{base}/v1/chat/completions", json=QUESTION, timeout=120).json()
        if not answer["choices"][0]["message"]["content"]:
            raise SmokeFailed("the answer is empty", why=str(answer), do="see the server")
        streamed = session.post(f"{base}/v1/chat/completions", json={**QUESTION, "stream": True}, timeout=120).text
        lines = [line[6:] for line in streamed.splitlines() if line.startswith("data: ")]
        if lines[-1] != "[DONE]" or not any(_delta(line) for line in lines[:-1]):
            raise SmokeFailed("the streamed answer is not whole", why=streamed[-500:], do="see the server")


def _delta(line: str) -> str:
    choices = json.loads(line).get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or "")


def _check_nothing_left(windows: Desktop, base: str, give_up: float) -> None:
    """See that no process runs any more and the port is free."""
    while windows.processes() and time.monotonic() < give_up:
        time.sleep(0.1)
    if left := windows.processes():
        raise SmokeFailed("something still runs after the stop", why=str(left), do="see the launcher's stopping")
    port = int(base.rsplit(":", 1)[1])
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SmokeFailed("the port is still open after the stop", why=base, do="see the launcher's stopping")


@contextlib.contextmanager
def desktop(build: int = 0) -> Iterator[Desktop]:
    """Give this machine's Windows, or a fresh one made by Wine: with its own build where ``build`` is 0."""
    if sys.platform == "win32":
        if build:
            raise UsageError(
                "a Windows cannot be told its build", why="only Wine plays others", do="leave --windows-build out"
            )
        yield NativeDesktop()
        return
    from bundle.windows.wine import WinePrefix, usable_locale

    with WinePrefix.temporary(locale=usable_locale(), build=build) as prefix:
        yield prefix


class NativeDesktop:
    """Windows itself."""

    name = "Windows"

    def __init__(self) -> None:
        self._started: subprocess.Popen[bytes] | None = None

    def double_click(self, bat: Path, *arguments: str) -> Program:
        """Start ``bat`` through cmd, in a process group of its own so that it can be sent Ctrl+Break."""
        from bundle.windows.wine import WindowsProgram

        self._started = subprocess.Popen(
            ["cmd", "/c", bat.name, *arguments],
            cwd=bat.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        return WindowsProgram(self._started, "mbcs")

    def press_ctrl_c(self) -> None:
        """Send Ctrl+Break, the one of the two that reaches a process group."""
        assert self._started is not None
        self._started.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))

    def processes(self) -> dict[int, str]:
        """Return what is left of the program that was started: its own processes and their children."""
        assert self._started is not None
        found: dict[int, str] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._started.pid)
            for process in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found[process.pid] = " ".join(process.cmdline())
        return found
