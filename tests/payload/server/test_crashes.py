"""Every input known to end or confuse the engine natively, sent over HTTP: the server survives each one."""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from oneclick.engine.exit_codes import explain
from oneclick.server.supervisor import CRASH_LIMIT
from tests.payload.conftest import LiveServer, StartServer, standing_still, wait_for

HELLO = [{"role": "user", "content": "你好"}]
LONG = [{"role": "user", "content": "天气 很 好 " * 3000}]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": HELLO, "max_tokens": 1},  # upstream: double free, li-plus/chatglm.cpp issue 272
        {"messages": HELLO, "max_tokens": 0},
        {"messages": HELLO, "max_tokens": 1, "stream": True},
        {"messages": LONG, "max_tokens": 5},  # more than the scratch memory of 0.3.x takes in one call
        {"messages": LONG * 4, "max_tokens": 2**31 - 1},
        {"messages": [{"role": "user", "content": "天" * 8100}], "max_tokens": 8191},
        {"messages": [{"role": "tool", "content": "x"}], "max_tokens": 2},
        {"messages": [{"role": "developer", "content": "x"}], "max_tokens": 2},
        {"messages": [{"role": "user", "content": "\ud83d\udc4b \udc4b"}], "max_tokens": 2},
        {"messages": [{"role": "user", "content": "\x00\x00"}], "max_tokens": 2},
        {"messages": [], "max_tokens": 2},
        {"messages": HELLO, "top_p": 0, "max_tokens": 2},
        {"messages": HELLO, "temperature": 1e-39, "max_tokens": 2},
        {"messages": HELLO, "temperature": 1e-3, "max_tokens": 2},
        {"messages": HELLO, "temperature": float("nan"), "max_tokens": 2},
        {"messages": HELLO, "temperature": float("inf"), "max_tokens": 2},
        {"messages": HELLO, "repetition_penalty": 0, "max_tokens": 2},
        {"messages": HELLO, "repetition_penalty": 0.01, "max_tokens": 2},
        {"messages": HELLO, "top_k": 2**31 - 1, "max_tokens": 2},
        {"messages": HELLO, "max_tokens": -1},
        {"messages": [{"role": "user", "content": "[gMASK]sop<|system|>\n<|assistant|></s>"}], "max_tokens": 2},
        {"messages": [{"role": "user", "content": "\U0010ffff\u0300\ufffe" * 50}], "max_tokens": 2},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_the_worker_survives(server: LiveServer, body: dict[str, Any]) -> None:
    pid = server.runtime.worker_pid
    data = json.dumps(body).encode()  # as requests would refuse NaN
    response = requests.post(server.url + "/v1/chat/completions", data=data, timeout=120)
    assert response.status_code in (200, 400)
    assert server.answer(HELLO, max_tokens=2)["choices"]
    assert server.runtime.worker_pid == pid


def test_empty_prompts_of_plain_completions_are_survived(server: LiveServer) -> None:
    pid = server.runtime.worker_pid
    for body in ({"prompt": ""}, {}, {"prompt": "", "max_tokens": 1, "echo": True}):
        assert server.post("/v1/completions", {"max_tokens": 3, **body}).status_code == 200
    assert server.runtime.worker_pid == pid


def open_stream(server: LiveServer) -> requests.Response:
    """Begin an answer that takes many seconds; greedy, as a sampled one may meet a stop token at any moment."""
    body = {"messages": HELLO, "max_tokens": 8000, "temperature": 0, "stream": True}
    return requests.post(server.url + "/v1/chat/completions", json=body, stream=True, timeout=60)


def test_a_worker_killed_in_a_stream_gives_an_error_event_and_the_next_request_works(
    engine: Path, models: Callable[..., Path], start_server: StartServer
) -> None:
    server = start_server(models("small"), engine)
    pid = server.runtime.worker_pid
    assert pid is not None
    with open_stream(server) as response:
        lines = response.iter_lines()
        for line in lines:
            if b'"content":"\\u' in line or b'"content":" ' in line:
                break
        os.kill(pid, signal.SIGKILL)
        rest = [line for line in lines if line]
    assert rest[-1] == b"data: [DONE]"
    error = json.loads(rest[-2][6:])["error"]
    assert error["code"] == "worker_died"
    assert explain(-9)[1] in error["message"]
    # At once: it waits for the worker to be back.
    assert server.answer(HELLO, max_tokens=3)["usage"]["completion_tokens"] == 3
    assert server.runtime.worker_pid not in (None, pid)
    assert requests.get(server.url + "/status", timeout=10).json()["worker"]["exits"] == 1


def test_a_worker_killed_during_a_plain_request_is_a_503_that_may_be_repeated(
    our_engine: Path, models: Callable[..., Path], start_server: StartServer
) -> None:
    server = start_server(models("small"), our_engine)
    pid = server.runtime.worker_pid
    assert pid is not None
    with ThreadPoolExecutor(1) as pool, standing_still(pid):
        answer = pool.submit(server.chat, max_tokens=8000, temperature=0)
        wait_for(lambda: server.runtime.queue.busy)
        os.kill(pid, signal.SIGSEGV)
        os.kill(pid, signal.SIGCONT)  # a process that stands still does not see the other signal
        response = answer.result()
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "worker_died"
    assert response.headers["x-should-retry"] == "true"
    assert response.headers["retry-after"]
    server.wait_ready()


def test_a_worker_that_keeps_dying_is_given_up_with_the_reason(
    our_engine: Path, models: Callable[..., Path], start_server: StartServer
) -> None:
    server = start_server(models("tiny"), our_engine)

    def failed() -> bool:
        return server.runtime.status.get().phase == "failed"

    for _ in range(CRASH_LIMIT):
        server.wait_ready()
        pid = server.runtime.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGILL)
        wait_for(lambda pid=pid: server.runtime.worker_pid not in (None, pid) or failed())  # type: ignore[misc]
    assert failed()
    health = requests.get(server.url + "/health", timeout=10)
    assert (health.status_code, health.json()["status"]) == (503, "failed")
    error = server.chat().json()["error"]
    assert error["code"] == "model_failed"
    assert "AVX2" in error["message"]
    assert "AVX2" in requests.get(server.url + "/status", timeout=10).json()["message"]["zh"]
    # A new model file is a new start.
    server.runtime.start_model(models("tiny"), our_engine)
    server.wait_ready()
    assert server.answer(HELLO, max_tokens=2)["choices"]


def test_a_damaged_model_fails_with_words_and_does_not_respawn(
    engine: Path, models: Callable[..., Path], start_server: StartServer, tmp_path: Path
) -> None:
    whole = models("tiny").read_bytes()
    path = tmp_path / "chatglm3-ggml.bin"
    path.write_bytes(whole[: len(whole) // 2])
    server = start_server(path, engine, wait=False)
    server.wait_phase("failed")
    message = requests.get(server.url + "/status", timeout=10).json()["message"]
    assert message["zh"]
    assert server.chat().status_code == 503


def test_health_answers_at_once_while_the_engine_computes(
    released_engine: Path, models: Callable[..., Path], start_server: StartServer
) -> None:
    # As released the engine holds the interpreter's lock for the whole prompt: the worker cannot even read a message.
    server = start_server(models("small"), released_engine)
    body = {"messages": [{"role": "user", "content": "天" * 2000}], "max_tokens": 1}
    taken_s: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.post, "/v1/chat/completions", body)
        wait_for(lambda: server.runtime.queue.busy)
        while server.runtime.queue.busy:
            began = time.monotonic()
            assert requests.get(server.url + "/health", timeout=60).status_code == 200
            taken_s.append(time.monotonic() - began)
        assert answer.result().json()["timings"]["prompt_n"] > 2000
    # One that waited for the call would be the only one. The slowest of many, on a quiet machine: bench/health.py.
    assert statistics.median(taken_s) < 0.2


def test_no_worker_is_left_after_the_server_stopped(
    our_engine: Path, models: Callable[..., Path], start_server: StartServer
) -> None:
    server = start_server(models("small"), our_engine)
    pid = server.runtime.worker_pid
    assert pid is not None
    with open_stream(server) as response:
        lines = response.iter_lines()
        next(lines)
        server.close()
        assert not psutil.pid_exists(pid)
        rest = [line for line in lines if line]
    assert b'"code":"shutting_down"' in rest[-2]
    assert rest[-1] == b"data: [DONE]"
