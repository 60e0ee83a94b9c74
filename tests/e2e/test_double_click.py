"""一键运行.bat through the finished archive: start, chat, stop, and nothing left behind."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeBundle, keep_open
from tests.support.wine import Running, free_port, port_is_free, wait_until

pytestmark = pytest.mark.wine

AWKWARD_FOLDERS = {
    "chinese": ("chinese_windows", "我的 软件(测试)&1!"),
    "percent": ("chinese_windows", "100% 好%PATH%"),
    "english": ("english_windows", "My Program Files & more"),
}
NONSENSE = {
    "PYTHONHOME": r"C:\no\such\python",
    "PYTHONPATH": r"C:\no\such\folder;X:\more",
    "PYTHONSTARTUP": r"C:\no\such.py",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
}


def deep_folder(tmp_path: Path, length: int = 180) -> str:
    """Return a relative folder name that makes the whole path ``length`` characters long."""
    room = length - len(str(tmp_path)) - 1
    parts = []
    while room > 0:
        parts.append("深" * min(room, 40))
        room -= 41
    return "/".join(parts)


@pytest.mark.parametrize("case", AWKWARD_FOLDERS)
def test_starts_chats_and_stops_without_a_trace(make_bundle: MakeBundle, case: str) -> None:
    windows, name = AWKWARD_FOLDERS[case]
    bundle = make_bundle(name, windows=windows)
    before = bundle.prefix.files()
    packed = {path.relative_to(bundle.folder) for path in bundle.folder.rglob("*")}
    with bundle.running("--port", "0", environment=NONSENSE) as running:
        assert "<html" in running.page()
        assert "gpt-3.5-turbo" in [model["id"] for model in running.get("/v1/models")["data"]]
        assert running.chat("你好")["choices"][0]["message"]["content"]
        assert bundle.stop(running.program) == 0
    wait_until(lambda: port_is_free(running.port))
    assert bundle.prefix.files() - before == set()
    new = {str(path.relative_to(bundle.folder)) for path in bundle.folder.rglob("*")} - set(map(str, packed))
    assert {name for name in new if not name.startswith("logs/cache")} == {"logs/oneclick.log", "logs/digests.json"}
    assert "你好" not in bundle.log()


def test_starts_in_a_folder_180_characters_deep(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(deep_folder(tmp_path))
    assert len(str(bundle.folder)) >= 175
    with bundle.running("--port", "0") as running:
        assert running.chat("你好")["usage"]["completion_tokens"] > 0


def test_speaks_the_language_of_windows(make_bundle: MakeBundle) -> None:
    for windows, words in (("chinese_windows", "聊天网页"), ("english_windows", "Chat page")):
        bundle = make_bundle(windows, windows=windows)
        with bundle.running("--port", "0") as running:
            assert words in running.program.output


def test_tells_what_to_enter_in_chatbox_and_a_curl_line(make_bundle: MakeBundle) -> None:
    with make_bundle().running("--port", "0") as running:
        assert f"http://127.0.0.1:{running.port}" in running.program.output
        assert re.search(r"curl http://127\.0\.0\.1:\d+/v1/chat/completions", running.program.output)


def test_a_second_double_click_opens_the_running_one(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    with bundle.running("--port", "0") as running:
        second = bundle.double_click()
        assert second.wait() == 0
        assert f"已经在运行了：http://127.0.0.1:{running.port}/" in second.output
        assert running.chat("还在吗")["usage"]["completion_tokens"] > 0


def test_two_double_clicks_at_once_start_one_server(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    port = str(free_port())
    programs = [bundle.double_click("--port", port) for _ in range(2)]
    wait_until(
        lambda: all("准备好了" in one.output or "已经在运行了" in one.output for one in programs),
        lambda: [one.output for one in programs],
    )
    outputs = sorted("准备好了" in one.output for one in programs)
    assert outputs == [False, True]
    for one in programs:
        bundle.stop(one)


def test_takes_the_next_port_when_the_usual_one_is_taken(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    with taken_port(8000), bundle.running() as running:
        assert running.port > 8000
        assert "8000 已被占用" in running.program.output
        assert running.get("/status")["port"] == running.port


def test_a_fixed_port_that_is_taken_is_an_error_before_anything_slow(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        bundle.replace("设置.toml", f"port = {port}\n".encode())
        program = bundle.double_click()
        program.wait_for("设置.toml")
        program.press_enter()
        assert program.wait() == 1
    assert f"端口 {port} 已被" in program.output
    assert "模型" not in program.output


def test_a_line_of_the_settings_that_is_wrong_costs_that_line_only(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    lines = ["﻿# 设置", "prot = 9000", "threads ＝ 2", "browser = false", "context = 1024", "model = D:\\x.bin"]
    bundle.replace("设置.toml", "\r\n".join(lines).encode())
    with bundle.running("--port", "0") as running:
        assert "第 2 行：没有“prot”这一项，已忽略。是不是想写 port" in running.program.output
        assert "第 3 行：用了中文标点 ＝" in running.program.output
        assert "第 6 行：文字要用英文引号" in running.program.output
        assert running.get("/status")["context"]["total"] == 1024


def test_threads_auto_measures_once_and_remembers(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    bundle.replace("设置.toml", b"threads = 'auto'\n")
    for measured in (True, False):
        with bundle.running("--port", "0") as running:
            assert ("正在测试用几个线程最快" in running.program.output) == measured
            assert running.chat("快吗")["usage"]["completion_tokens"] > 0


def test_a_folder_that_cannot_be_written_still_chats(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    bundle.prefix.end()  # Wine's server opens files for its programs: it must see the read-only folder, too.
    folder = bundle.folder
    mount = f'mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && exec "$@"'
    port = free_port()
    program = bundle.prefix.start(
        ["cmd", "/c", "一键运行.bat", "--no-browser", "--port", str(port)],
        cwd=folder,
        wrapper=["unshare", "--mount", "sh", "-c", f"cd / && {mount}", "sh", "env", "-C", str(folder)],
    )
    program.wait_for("准备好了")
    assert "不能写入" in program.output
    running = Running(bundle, program, port)
    assert running.chat("你好")["usage"]["completion_tokens"] > 0
    bundle.stop(program)
    bundle.prefix.end()
    keep_open(bundle.prefix)


class taken_port:
    """Hold a port, unless somebody else on this machine already does."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._port = port

    def __enter__(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(("127.0.0.1", self._port))
            self._socket.listen()
        except OSError:
            assert not port_is_free(self._port)

    def __exit__(self, *error: object) -> None:
        self._socket.close()
