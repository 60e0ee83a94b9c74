"""What the engine finds when it is imported: no pipe of ours on a standard handle, and reading threads that end loudly.

Wine does not make one call on a pipe wait for another one as Windows does; so what is asked here is what is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oneclick.engine import exit_codes, generation
from oneclick.engine.child import WorkerProcess
from oneclick.engine.generation import Generator
from oneclick.engine.sampling import Drawn, Sampling
from oneclick.pc import power

PAYLOAD = Path(__file__).resolve().parents[3] / "payload"
LOOKING_ENGINE = """
import os, stat, sys
kinds = [stat.S_IFMT(os.fstat(fd).st_mode) for fd in (0, 1)]
fifos = [fd for fd in (0, 1) if stat.S_ISFIFO(os.fstat(fd).st_mode) and os.fstat(fd).st_ino != os.fstat(2).st_ino]
raise ImportError(f"fifos {fifos}, reads {os.read(0, 1)!r}")
"""
"""Does at import what OpenBLAS's Fortran runtime does, and one thing more: what it reads is nobody's frame."""


@pytest.fixture
def looking_engine(tmp_path: Path) -> Path:
    package = tmp_path / "engine" / "chatglm_cpp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(LOOKING_ENGINE)
    (tmp_path / "m.bin").write_bytes(b"model")
    return tmp_path / "engine"


def load(engine: Path) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    codes: list[int] = []
    worker = WorkerProcess(lambda _, event: found.append(event), lambda _, code: codes.append(code))
    model = str(engine.parent / "m.bin")
    worker.send({"op": "load", "model": model, "engine": str(engine), "dll_folders": [], "threads": 1})
    deadline = time.monotonic() + 60
    while not codes and time.monotonic() < deadline:
        time.sleep(0.01)
    return found[-1]


def test_the_worker_imports_the_engine_without_a_pipe_on_its_standard_handles(looking_engine: Path) -> None:
    refusal = load(looking_engine)
    assert refusal["event"] == "load_failed"
    assert refusal["values"]["reason"] == "fifos [], reads b''"


def test_the_trial_of_threads_does_so_too(looking_engine: Path) -> None:
    request = {"model": str(looking_engine.parent / "m.bin"), "engine": str(looking_engine), "dll_folders": []}
    done = subprocess.run(
        [sys.executable, "-m", "oneclick.engine.trial"],
        input=json.dumps({**request, "threads": [1]}),
        env={**os.environ, "PYTHONPATH": str(PAYLOAD)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ImportError: fifos [], reads b''" in done.stderr


@pytest.mark.parametrize("sent", [b"\xff\xff\xff\xff", b"\0\0\0\x02[]", b"\0\0\0\x03nix", b"\0\0\0\x02{}"])
def test_a_worker_that_was_sent_nonsense_ends(looking_engine: Path, sent: bytes) -> None:
    codes: list[int] = []
    worker = WorkerProcess(lambda *_: None, lambda _, code: codes.append(code))
    stdin = worker._stdin
    stdin.write(sent)
    stdin.flush()
    deadline = time.monotonic() + 60
    while not codes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert codes == [1]
    assert any("Error" in line or "BrokenFrame" in line for line in worker.last_words)


def test_an_engine_without_memory_is_said_to_be_without_memory(tmp_path: Path) -> None:
    package = tmp_path / "engine" / "chatglm_cpp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise MemoryError")
    (tmp_path / "m.bin").write_bytes(b"model")
    codes: list[int] = []
    worker = WorkerProcess(lambda *_: None, lambda _, code: codes.append(code))
    message = {"op": "load", "model": str(tmp_path / "m.bin"), "engine": str(tmp_path / "engine"), "dll_folders": []}
    worker.send({**message, "threads": 1})
    deadline = time.monotonic() + 60
    while not codes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert exit_codes.meaning(codes[0]) == "server.exit_memory"


def test_a_clock_that_does_not_tick_is_no_division_by_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation.time, "perf_counter", lambda: 5.0)
    engine: Any = SimpleNamespace(
        chunked=True, single_call_tokens=64, evaluate=lambda *_: None, drawing=lambda *_: lambda *_: Drawn(7)
    )
    told: list[Drawn] = []
    generator = Generator(engine)
    for first in (0, 9):  # the second one is planned with the speed of the first
        prompt = list(range(first, 300))
        generator.run(prompt, 2, Sampling(), frozenset(), lambda: False, lambda *_: None, told.append)
    assert set(told) == {Drawn(7)}


@pytest.mark.parametrize(
    ("code", "key"),
    [
        (0xC0000006, "server.exit_disk"),
        (0xC0000142, "server.exit_dll"),
        (0xC000007B, "server.exit_dll"),
        (0xC0000428, "server.exit_blocked"),
        (0xC0E90002, "server.exit_blocked"),
        (0xC0000017, "server.exit_memory"),
    ],
)
def test_ends_that_windows_gives_a_process_have_a_sentence(code: int, key: str) -> None:
    assert exit_codes.meaning(code) == key


@pytest.mark.parametrize(
    ("error", "blocked"),
    [
        (ImportError("DLL load failed while importing _C: 应用程序控制策略已阻止此文件。"), True),
        (ImportError("DLL load failed while importing _C: An Application Control policy has blocked this file."), True),
        (ImportError("DLL load failed while importing _C: 找不到指定的模块。"), False),
        (OSError(22, "blocked by group policy"), True),
        (OSError(2, "No such file"), False),
    ],
)
def test_a_policy_that_forbids_the_engine_is_told_from_a_missing_file(error: Exception, blocked: bool) -> None:
    assert (exit_codes.key_of_refusal(error) == "server.engine_blocked") is blocked


class _Callable:
    """A function that takes attributes, as those of ctypes do."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class Kernel:
    """Counts what Windows is asked for."""

    def __init__(self, answer: int = 1) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._answer = answer
        self.SetProcessInformation = _Callable(self._set_process_information)

    def SetErrorMode(self, mode: int) -> int:
        self.asked.append(("mode", mode))
        return 0

    def GetCurrentProcess(self) -> int:
        return -1

    def _set_process_information(self, process: int, kind: int, state: Any, size: int) -> int:
        self.asked.append(("throttling", kind, state._obj.ControlMask, state._obj.StateMask, size))
        return self._answer

    def SetThreadExecutionState(self, flags: int) -> int:
        self.asked.append(("awake", flags))
        return self._answer


@pytest.mark.parametrize("answer", [0, 1])
def test_windows_is_told_not_to_slow_us_down_and_a_refusal_changes_nothing(answer: int) -> None:
    kernel = Kernel(answer)
    power.be_a_plain_process(kernel)
    assert kernel.asked == [("mode", 3), ("throttling", 4, 1, 0, 12), ("throttling", 4, 4, 0, 12)]


def test_the_pc_stays_awake_while_there_is_work_and_only_then() -> None:
    kernel = Kernel()
    awake = power.Awake(kernel)
    for on in (False, True, True, False, False, True, False):
        awake.set(on)
    assert [flags for _, flags in kernel.asked] == [0x80000001, 0x80000000, 0x80000001, 0x80000000]


def test_what_native_code_prints_goes_to_the_log_and_not_between_the_frames() -> None:
    code = (
        "from oneclick.engine.own_process import take_streams; s, t = take_streams(); print('noise'); t.write(s.read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=b"hello",
        env={**os.environ, "PYTHONPATH": str(PAYLOAD)},
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"hello" and b"noise" in done.stderr
