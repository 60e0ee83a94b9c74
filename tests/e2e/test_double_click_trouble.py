"""The double-click when something goes wrong: killed worker, Ctrl+C at any time, missing and changed files."""

from __future__ import annotations

import shutil
import socket
import struct
from contextlib import ExitStack
from pathlib import Path

import pytest

from bundle.model.random_model import write_random_model
from tests.e2e.conftest import MakeBundle
from tests.support.wine import READY, Bundle, Running, port_is_free, wait_until

pytestmark = pytest.mark.wine

WORKER = "oneclick.engine.worker"


def test_a_killed_worker_comes_back_and_the_cause_is_told(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    with bundle.running("--port", "0") as running:
        (first,) = bundle.prefix.pids_of(WORKER)
        bundle.prefix.kill(WORKER)
        running.program.wait_for("引擎意外退出，正在重新启动：")
        running.wait_for_phase("ready")
        assert bundle.prefix.pids_of(WORKER) != [first]
        assert running.chat("还在吗")["usage"]["completion_tokens"] > 0


def test_three_crashes_in_a_minute_stop_the_restarts(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    with bundle.running("--port", "0") as running:
        killed = 0  # Three on any but the slowest machine, where three are not within a minute.
        while wait_for_next_worker(running, killed):
            bundle.prefix.kill(WORKER)
            killed += 1
        assert killed >= 3
        assert running.get("/status")["message"]["zh"]
        running.program.wait_for("启动失败")
        assert bundle.prefix.pids_of(WORKER) == []


def wait_for_next_worker(running: Running, before: int) -> bool:
    """Wait until more than ``before`` workers of this run became ready; False when the program gave up.

    One that Wine is still starting must not be killed: its parent would hang in CreateProcess.
    """

    def ready() -> bool:
        return running.bundle.log().count("model ready after") > before

    wait_until(lambda: ready() or running.get("/status")["phase"] == "failed", running.bundle.log)
    return ready()


def test_ctrl_c_during_an_answer_ends_it_with_an_error_event(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(model=small_model(tmp_path))
    with bundle.running("--port", "0") as running, ExitStack() as streams:
        # Five answers of 4000 tokens, one after the other: the last cannot be over when Ctrl+C is pressed.
        answers = [streams.enter_context(running.stream("讲个故事", max_tokens=4000)) for _ in range(5)]
        while not answers[0].readline().startswith(b"data: "):
            pass
        assert bundle.stop(running.program) == 0
        assert '"error"' in answers[-1].read().decode("utf-8")
    wait_until(lambda: port_is_free(running.port))


def test_ctrl_c_during_a_long_prompt(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(model=small_model(tmp_path))
    with bundle.running("--port", "0") as running, running.stream("很长的问题" * 1500) as answer:
        while b"prompt_progress" not in answer.readline():
            pass
        assert bundle.stop(running.program) == 0
    wait_until(lambda: port_is_free(running.port))


def test_connections_that_are_reset_before_they_are_accepted_end_nothing(make_bundle: MakeBundle) -> None:
    """A port scan, a security program, a browser that changes its mind: python/cpython#93821."""
    bundle = make_bundle()
    with bundle.running("--port", "0") as running:
        for _ in range(300):
            connection = socket.create_connection(("127.0.0.1", running.port), timeout=30)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        assert running.chat("还在吗")["usage"]["completion_tokens"] > 0


def test_the_worker_imports_the_engine_without_our_pipe_on_its_standard_input(make_bundle: MakeBundle) -> None:
    """Asked as Windows' C runtime would: 2 is a character device, 3 a pipe."""
    bundle = make_bundle()
    package = bundle.folder / "app" / "engine" / "avx2" / "chatglm_cpp" / "__init__.py"
    look = (
        "import ctypes as _c, os as _o\n"
        "_k = _c.WinDLL('kernel32'); _k.GetStdHandle.restype = _c.c_void_p; _k.GetFileType.argtypes = [_c.c_void_p]\n"
        "open('logs/seen.txt', 'w').write(f'{_k.GetFileType(_k.GetStdHandle(-10))} {_o.read(0, 1)}')\n"
    )
    bundle.replace("app/engine/avx2/chatglm_cpp/__init__.py", look.encode() + package.read_bytes())
    with bundle.running("--port", "0"):
        assert (bundle.folder / "logs" / "seen.txt").read_text() == "2 b''"


def small_model(folder: Path) -> Path:
    """A model that takes milliseconds for a token."""
    write_random_model(folder / "small.bin", "small")
    return folder / "small.bin"


@pytest.mark.parametrize("moment", ["[1/4]", "[2/4]", "[4/4]"])
def test_ctrl_c_while_it_starts(make_bundle: MakeBundle, moment: str) -> None:
    bundle = make_bundle()
    program = bundle.double_click("--port", "0")
    program.wait_for(moment)
    assert bundle.stop(program) == 0


def test_ending_it_in_the_task_manager_leaves_nothing_and_the_next_start_works(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    program = bundle.double_click("--port", "0")
    program.wait_for(READY[bundle.prefix.locale])
    port = bundle.port()
    bundle.prefix.kill("-m oneclick --port")
    wait_until(lambda: not bundle.prefix.pids_of(WORKER))
    wait_until(lambda: port_is_free(port))
    program.press_enter()
    program.wait()
    assert (bundle.folder / "logs" / "running.json").is_file()
    with bundle.running("--port", "0") as running:
        assert running.chat("又见面了")["usage"]["completion_tokens"] > 0


def test_a_closed_window_waits_until_everything_is_put_away(make_bundle: MakeBundle) -> None:
    """Pipes have no window to close, so Windows' call to our handler is made by hand."""
    bundle = make_bundle()
    program = (
        "import threading, time; from oneclick import stopping; stop = stopping.StopSignal(); stop.listen()\n"
        "threading.Timer(0.5, stop.finished.set).start()\n"
        "handled = stopping._handlers[0](stopping.CTRL_CLOSE_EVENT)\n"
        "print(handled, stop.requested.is_set(), stop.finished.is_set(), flush=True)\n"
        "print(stopping._handlers[0](0), flush=True)"
    )
    python = str(bundle.folder / "python" / "python.exe")
    run = bundle.prefix.start([python, "-c", program], cwd=bundle.folder)
    run.press_enter()
    assert run.wait() == 0
    assert run.output.split() == ["1", "True", "True", "0"]


def test_says_so_when_python_is_missing(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.folder / "python" / "python.exe").unlink()
    program = bundle.double_click()
    program.wait_for("python\\python.exe is missing")
    program.press_enter()
    assert program.wait() == 9
    assert "Extract the whole archive" in program.output


def test_says_so_when_a_file_it_needs_is_missing(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.folder / "bundle.json").unlink()
    program = bundle.double_click()
    program.wait_for("缺少 bundle.json")
    program.press_enter()
    assert program.wait() == 1


def test_the_diagnosis_of_a_healthy_folder(make_bundle: MakeBundle) -> None:
    bundle = make_bundle("我的 软件(测试)&1!")
    code, output = diagnose(bundle)
    assert code == 0, output
    for words in ("个文件全部完好", "avx2：可以加载", "代码页 936", "端口 8000", "完整；不在已知列表里", "需要内存约"):
        assert words in output
    report = (bundle.folder / "诊断报告.txt").read_text("utf-8-sig")
    assert "个文件全部完好" in report
    assert "[ XX ]" not in report


def test_the_diagnosis_names_what_an_antivirus_ate_or_a_disk_damaged(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(model=None)
    changed = bundle.folder / "app" / "oneclick" / "port" / "ports.py"
    bundle.replace("app/oneclick/port/ports.py", changed.read_bytes() + b"\n# changed\n")
    shutil.rmtree(bundle.folder / "app" / "engine" / "avx2")
    bundle.replace("chatglm3-ggml.bin", b"<html></html>")
    code, output = diagnose(bundle)
    assert code == 1
    assert "app/engine/avx2/chatglm_cpp/__init__.py" in output
    assert "1 个文件和打包时不一样：app/oneclick/port/ports.py" in output
    assert "avx2：不能加载" in output
    assert "其实是一个网页" in output


def diagnose(bundle: Bundle) -> tuple[int, str]:
    """Double-click 环境诊断.bat; return its exit code and what it printed."""
    program = bundle.double_click(bat="环境诊断.bat")
    program.wait_for("诊断报告.txt")
    program.press_enter()
    return program.wait(), program.output
