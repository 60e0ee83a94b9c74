"""A bundle's folder for the machine the tests run on: our payload, the native engine, tiny models; started for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from bundle.model.random_model import write_random_model
from oneclick.update.integrity import file_sha256
from tests.support.native_engine import native_engine

PAYLOAD = Path(__file__).parents[2] / "payload" / "oneclick"
MODEL_NAME = "chatglm3-ggml.bin"
START_S = 60.0
STOP_S = 15.0


def make_native_bundle(folder: Path, *, models: Sequence[dict[str, Any]] = ()) -> Path:
    """Lay out ``folder`` like an extracted archive, with links to payload and engine; ``models`` is its catalogue."""
    (folder / "app" / "engine").mkdir(parents=True)
    (folder / "app" / "oneclick").symlink_to(PAYLOAD, target_is_directory=True)
    (folder / "app" / "engine" / "native").symlink_to(native_engine(patched=True), target_is_directory=True)
    info = {
        "format": 1,
        "name": "ChatGLM3_cpp",
        "version": "1.0.0",
        "python": "3.10.11",
        "engine": {
            "package": "chatglm_cpp",
            "version": "0.3.0",
            "kind": "compile",
            "openblas": False,
            "levels": [{"name": "native", "folder": "app/engine/native", "requires": []}],
        },
        "models": list(models),
        "default_model": models[0]["id"] if models else "",
    }
    (folder / "bundle.json").write_text(json.dumps(info, ensure_ascii=False), encoding="utf-8")
    return folder


def catalogue_entry(model: Path, url: str) -> dict[str, Any]:
    """Return the catalogue's entry of a model file that a server gives out at ``url``."""
    return {
        "id": "tiny",
        "title": {"zh": "测试模型", "en": "Test model"},
        "file_name": MODEL_NAME,
        "size_bytes": model.stat().st_size,
        "sha256": file_sha256(model),
        "header_hex": model.read_bytes()[:40].hex(),
        "licence": "none",
        "sources": [{"name": "local", "kind": "file", "url": url}],
    }


def add_model(folder: Path, shape: str = "tiny", **more: Any) -> Path:
    """Put a model with random weights into the bundle's folder."""
    path = folder / MODEL_NAME
    write_random_model(path, shape, **more)
    return path


@dataclass
class Program:
    """``python -m oneclick`` in a bundle's folder, as a double-click starts it."""

    folder: Path
    port: int = 0
    arguments: Sequence[str] = ()
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, again on the port it had, and wait until it serves its page."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.folder / "app"),
            "PYTHONUTF8": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        running = self.folder / "logs" / "running.json"
        running.unlink(missing_ok=True)
        with (self.folder / "window.txt").open("ab") as window:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "oneclick", "--no-browser", "--port", str(self.port), *self.arguments],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=window,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.port = self._wait_for_port(running)
        except BaseException:
            self.kill()
            raise

    def _wait_for_port(self, running: Path) -> int:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                port: int = json.loads(running.read_text(encoding="utf-8"))["port"]
                return port
            except (OSError, ValueError, KeyError):
                time.sleep(0.05)
        raise AssertionError((self.folder / "window.txt").read_text(encoding="utf-8", errors="replace"))

    def status(self) -> dict[str, Any]:
        """Return its /status."""
        found: dict[str, Any] = requests.get(f"{self.url}/status", timeout=60).json()
        return found

    def evidence(self) -> str:
        """Return what tells why a test failed: its state, its window and the end of its log."""
        told = [f"exit code {self.process.poll()}"]
        if self.process.poll() is None:
            told.append(requests.get(f"{self.url}/status", timeout=10).text)
        for path in (self.folder / "window.txt", *sorted((self.folder / "logs").glob("*.log"))):
            told += [f"{path.name}:", path.read_text(encoding="utf-8", errors="replace")[-3000:]]
        return "\n".join(told)

    def wait_ready(self) -> None:
        """Wait until the model can answer."""
        deadline = time.monotonic() + START_S
        while self.status()["phase"] != "ready":
            assert time.monotonic() < deadline, self.status()
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, without a word, with everything it started: a power cut."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_S)

    def stop(self) -> None:
        """Ctrl+C."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
