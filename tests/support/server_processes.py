"""Servers for benchmarks, each in a process of its own: ours, and the engine's own ``chatglm_cpp.openai_api``."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import requests
import uv

from bundle.fetch.cache import default_cache_dir
from tests.support.wine import free_port

ROOT = Path(__file__).resolve().parents[2]
START_S = 300.0
UPSTREAM_PACKAGES = ("fastapi==0.115.14", "uvicorn==0.35.0", "pydantic-settings==2.10.1", "sse-starlette==2.4.1")
"""What ``chatglm_cpp[api]`` asks for, in versions of its time."""


def wait_until_ready(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until /v1/models (theirs) or /health (ours) answers 200."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with contextlib.suppress(requests.RequestException):
            for path in ("/health", "/v1/models"):
                answer = requests.get(url + path, timeout=30)
                if answer.status_code == 200:
                    return
                if answer.status_code == 503:
                    break
        time.sleep(0.1)
    raise TimeoutError(url)


@contextlib.contextmanager
def our_server(model: Path, engine: Path, threads: int = 0) -> Iterator[tuple[int, int]]:
    """Run our server; give (port, process id)."""
    command = [sys.executable, "-m", "tests.support.serve_model", str(model), str(engine), str(threads)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process)
            yield port, process.pid
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(15)


def upstream_packages() -> Path:
    """Return a folder with what the engine's own server imports, installed once."""
    digest = hashlib.sha256(" ".join((*UPSTREAM_PACKAGES, sys.version)).encode()).hexdigest()[:16]
    folder = default_cache_dir() / "bench" / f"upstream-{digest}"
    if not folder.is_dir():
        command = [uv.find_uv_bin(), "pip", "install", "--python", sys.executable, "--target", str(folder)]
        subprocess.run([*command, "--quiet", *UPSTREAM_PACKAGES], check=True)
    return folder


@contextlib.contextmanager
def upstream_server(model: Path, engine: Path, threads: int = 0) -> Iterator[tuple[int, int]]:
    """Run ``uvicorn chatglm_cpp.openai_api:app`` as the tutorial does; give (port, process id)."""
    port = free_port()
    program = (
        f"import sys; sys.path[:0] = [{str(engine)!r}, {str(upstream_packages())!r}]; "
        f"import uvicorn; uvicorn.run('chatglm_cpp.openai_api:app', port={port}, log_level='error')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=model.parent,
        env={**os.environ, "MODEL": model.name, "NUM_THREADS": str(threads)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process)
            yield port, process.pid
        finally:
            process.kill()
