"""Real servers on free ports, with the real engine and tiny models."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from bundle.model.random_model import write_random_model
from oneclick.server.api.app import create_app
from oneclick.server.http.serve import run_server
from oneclick.server.runtime import Runtime, ServerConfig
from oneclick.status import Status
from tests.support.native_engine import SDISTS, native_engine

START_S = 60.0
CONFIG = ServerConfig(preload=False, threads=1)
"""One thread: ggml's threads wait for each other by spinning, which takes seconds on a busy machine."""


@dataclass
class LiveServer:
    """A server in a thread of the test process; its worker is a process as always."""

    runtime: Runtime
    port: int
    stop: threading.Event
    thread: threading.Thread

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_ready(self, timeout_s: float = START_S) -> None:
        self.wait_phase("ready", timeout_s)

    def wait_phase(self, phase: str, timeout_s: float = START_S) -> None:
        wait_for(lambda: self.runtime.status.get().phase == phase, timeout_s)

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=options.pop("timeout", 60), **options)

    def chat(self, text: str = "你好", **more: Any) -> requests.Response:
        return self.post("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **more})

    def answer(self, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """Return the JSON of a greedy answer."""
        response = self.post("/v1/chat/completions", {"messages": messages, "temperature": 0, **more})
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def close(self) -> None:
        self.stop.set()
        self.thread.join(15)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def standing_still(pid: int | None) -> Iterator[None]:
    """Suspend a server's worker for the block.

    What runs keeps running and what waits keeps waiting, however fast this machine is; afterwards it goes on. The
    worker may be killed meanwhile.
    """
    assert pid is not None
    worker = psutil.Process(pid)
    worker.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.resume()


def wait_for(condition: Callable[[], bool], timeout_s: float = START_S) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


StartServer = Callable[..., LiveServer]


@contextlib.contextmanager
def starting() -> Iterator[StartServer]:
    """Give a function that starts servers; all of them end with the block."""
    servers: list[LiveServer] = []

    def start(
        model: Path | None, engine: Path | str = "", config: ServerConfig | None = None, *, wait: bool = True
    ) -> LiveServer:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        runtime = Runtime(config or CONFIG, Status())
        stop = threading.Event()
        thread = threading.Thread(target=run_server, args=(create_app(runtime), listener, stop, runtime))
        thread.start()
        server = LiveServer(runtime, listener.getsockname()[1], stop, thread)
        servers.append(server)
        if model is not None:
            runtime.start_model(model, engine)
            if wait:
                server.wait_ready()
        return server

    try:
        yield start
    finally:
        for server in servers:
            server.close()


ENGINES = os.environ.get("ENGINES", "ours released").split()
"""``ENGINES="0.3.4 0.4.2"``: run these tests on other releases of the engine. Compiling 0.4.2 takes minutes, so no test
run does it by itself."""


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Path:
    """The engine for this machine: with our patches, and as released."""
    if request.param in SDISTS:
        return native_engine(request.param, patched=False)
    return native_engine(patched=request.param == "ours")


@pytest.fixture(scope="session")
def our_engine() -> Path:
    return native_engine(patched=True)


@pytest.fixture(scope="session")
def released_engine() -> Path:
    return native_engine(patched=False)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes each kind of test model once."""
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def model(shape: str = "tiny", **more: Any) -> Path:
        key = "-".join([shape, *(f"{name}_{value}" for name, value in sorted(more.items()))])
        if key not in made:
            path = folder / f"{key}.bin"
            write_random_model(path, shape, **more)
            made[key] = path
        return made[key]

    return model


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    with starting() as start:
        yield start


@pytest.fixture(scope="module")
def module_server() -> Iterator[StartServer]:
    with starting() as start:
        yield start


@pytest.fixture(scope="module")
def server(engine: Path, models: Callable[..., Path], module_server: StartServer) -> LiveServer:
    """A ready server with a tiny model, on both engines."""
    return module_server(models("tiny"), engine)


@pytest.fixture(scope="module")
def our_server(our_engine: Path, models: Callable[..., Path], module_server: StartServer) -> LiveServer:
    """A ready server with a tiny model on our engine."""
    return module_server(models("tiny"), our_engine)
