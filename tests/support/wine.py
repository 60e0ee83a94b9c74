"""A user's PC for tests: an extracted bundle in a folder of our choice, double-clicked under Wine."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bundle.fetch.cache import Cache, default_cache_dir
from bundle.fetch.sources import Sources
from bundle.log import Log
from bundle.plan import resolve_plan
from bundle.stage.python import stage_python
from bundle.windows.wine import PATIENCE_S, WindowsProgram, WinePrefix

PRESS_AGAIN_S = 3.0
"""Wine 8 loses a Ctrl+C now and then: then a person presses it again."""
READY = {"zh_CN.UTF-8": "准备好了", "en_US.UTF-8": "Ready ("}


def whole_python(target: Path) -> str:
    """Stage the Python of the default bundle, of which nothing is trimmed, in ``target``; return its minor version."""
    plan = resolve_plan(output=target.parent / "dist")
    sources = Sources(plan.recipe, plan.lock, Cache(default_cache_dir()), Log())
    stage_python(sources.fetch_any(f"python@{plan.python}")[1], plan.python, target)
    return plan.python


def install_for_windows(target: Path, python: str, *requirements: str) -> Path:
    """Install packages for a Windows Python into the folder ``target``, as ``uv pip install`` takes them; return it."""
    platform = ["--python-platform", "x86_64-pc-windows-msvc", "--python-version", python, "--only-binary", ":all:"]
    uv = [sys.executable, "-m", "uv", "pip", "install", "-q", *platform, "--target", str(target)]
    subprocess.run([*uv, *requirements], check=True)
    return target


def extract(archive: Path, target: Path) -> Path:
    """Extract a bundle's archive to ``target`` as a user does; return the one folder that was in it."""
    target.mkdir(parents=True)
    for tool, options in (("7zz", ["x", "-y", "-bd", f"-o{target}"]), ("bsdtar", ["-x", "-C", str(target), "-f"])):
        if shutil.which(tool):
            subprocess.run([tool, *options, str(archive)], check=True, stdout=subprocess.DEVNULL)
            break
    else:
        import py7zr

        with py7zr.SevenZipFile(archive) as opened:
            opened.extractall(target)
    (folder,) = target.iterdir()
    return folder


def copy_of(extracted: Path, target: Path) -> Path:
    """Return a copy of an extracted bundle at ``target``: hard links, so it costs nothing. Never edit in place."""
    shutil.copytree(extracted, target, copy_function=os.link)
    return target


class Bundle:
    """One extracted bundle and the Windows it is double-clicked on."""

    def __init__(self, folder: Path, prefix: WinePrefix) -> None:
        self.folder = folder
        self.prefix = prefix

    @property
    def model(self) -> Path:
        return self.folder / "chatglm3-ggml.bin"

    def put_model(self, source: Path, name: str = "chatglm3-ggml.bin") -> Path:
        """Put a model into the folder."""
        target = self.folder / name
        with suppress(FileNotFoundError):
            target.unlink()
        shutil.copyfile(source, target)
        return target

    def replace(self, name: str, content: bytes) -> None:
        """Give the file ``name`` another content without touching the hard link it came from."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    def double_click(
        self, *arguments: str, bat: str = "一键运行.bat", environment: Mapping[str, str] | None = None
    ) -> WindowsProgram:
        """Double-click one of the three doors; the browser stays closed."""
        if bat == "一键运行.bat" and "--no-browser" not in arguments:
            arguments = (*arguments, "--no-browser")
        return self.prefix.double_click(self.folder / bat, *arguments, environment=environment)

    @contextmanager
    def running(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
        """Double-click, wait until it is ready, stop it in the end if the test has not."""
        program = self.double_click(*arguments, environment=environment)
        try:
            program.wait_for(READY[self.prefix.locale])
            yield Running(self, program)
        finally:
            if program.process.poll() is None:
                self.stop(program)

    def stop(self, program: WindowsProgram) -> int:
        """Press Ctrl+C until the window is gone; return the exit code. bench/startup.py measures how long it takes."""
        give_up = time.monotonic() + PATIENCE_S
        self.prefix.press_ctrl_c()
        program.press_enter()
        while True:
            try:
                return program.wait(PRESS_AGAIN_S)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < give_up, program.output
                self.prefix.press_ctrl_c()

    def port(self) -> int:
        """Return the port it serves on."""
        return int(json.loads((self.folder / "logs" / "running.json").read_text())["port"])

    def log(self) -> str:
        return (self.folder / "logs" / "oneclick.log").read_text("utf-8")


class Running:
    """A bundle that serves."""

    def __init__(self, bundle: Bundle, program: WindowsProgram, port: int = 0) -> None:
        self.bundle = bundle
        self.program = program
        self.port = port or bundle.port()
        self.url = f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """Return the JSON at ``path``."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            self.url + path, timeout=PATIENCE_S
        ) as answer:
            return json.loads(answer.read())

    def page(self) -> str:
        """Return the chat page."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            self.url + "/", timeout=PATIENCE_S
        ) as answer:
            return str(answer.read().decode("utf-8"))

    def chat(self, text: str, **more: Any) -> Any:
        """Ask and return the whole answer's JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0, **more}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = json.loads(answer.read())
        connection.close()
        assert answer.status == 200, data
        return data

    @contextmanager
    def stream(self, text: str, **more: Any) -> Iterator[http.client.HTTPResponse]:
        """Ask as our page does, with news about the progress, and give the open stream."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        body = {"messages": [{"role": "user", "content": text}], "stream": True, "temperature": 0, **more}
        headers = {"Content-Type": "application/json", "X-OneClick-Progress": "1"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        try:
            yield connection.getresponse()
        finally:
            connection.close()

    def wait_for_phase(self, phase: str) -> Any:
        """Wait until /status shows ``phase``; return what it shows. Only for phases that last."""
        return self.wait_for_status(lambda status: status["phase"] == phase)

    def wait_for_status(self, wanted: Callable[[Any], object]) -> Any:
        """Wait until what /status shows is ``wanted``; return it."""
        give_up = time.monotonic() + PATIENCE_S
        while not wanted(status := self.get("/status")):
            assert time.monotonic() < give_up, status
            time.sleep(0.05)
        return status


def wait_until(true: Callable[[], object], what: Callable[[], object] = lambda: "") -> None:
    """Wait until ``true()``; fail with ``what()`` when it never is."""
    give_up = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < give_up, what()
        time.sleep(0.05)


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Tell whether nobody listens on ``port`` of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
