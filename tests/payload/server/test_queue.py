"""Several requests at once: in order, never mixed, and gone when their client is."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from oneclick.server.api_errors import unavailable
from oneclick.server.runtime import ServerConfig
from tests.payload.conftest import CONFIG, LiveServer, StartServer, standing_still, wait_for

Models = Callable[..., Path]

ENDLESS: dict[str, Any] = {"max_tokens": 8000, "temperature": 0}
"""Greedy, as a sampled answer may meet a stop token at any moment."""


def question(number: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"问题 {number} 是 什么"}]


@pytest.fixture(scope="module")
def slow(engine: Path, models: Models, module_server: StartServer) -> LiveServer:
    """A server whose longest answers take many seconds."""
    return module_server(models("small"), engine, replace(CONFIG, queue_limit=16))


def open_request(server: LiveServer, body: dict[str, Any]) -> socket.socket:
    """Send a chat request as our page does and return its connection, nothing read."""
    data = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-OneClick-Progress: 1\r\n"
        b"Content-Length: %d\r\n\r\n" % len(data) + data
    )
    return connection


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        part = connection.recv(65536)
        assert part, data
        data += part
    return data


def idle(server: LiveServer) -> bool:
    return not server.runtime.queue.busy and len(server.runtime.queue) == 0


def test_streams_and_plain_requests_at_once_equal_their_sequential_answers(slow: LiveServer) -> None:
    def ask(number: int, stream: bool) -> str:
        body = {"messages": question(number), "temperature": 0, "max_tokens": 25, "cache_prompt": False}
        response = slow.post("/v1/chat/completions", {**body, "stream": stream})
        if not stream:
            text: str = response.json()["choices"][0]["message"]["content"]
            return text
        parts = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith(b"data: {")]
        return "".join(part["choices"][0]["delta"].get("content", "") for part in parts)

    kinds = [(0, True), (1, True), (2, False), (3, True), (4, False)]
    alone = [ask(*kind) for kind in kinds]
    assert len(set(alone)) == len(kinds)
    with ThreadPoolExecutor(len(kinds)) as pool:
        assert list(pool.map(lambda kind: ask(*kind), kinds)) == alone


def test_waiting_streams_get_headers_at_once_and_hear_their_position(slow: LiveServer) -> None:
    with contextlib.ExitStack() as stack:
        with standing_still(slow.runtime.worker_pid):
            first = stack.enter_context(open_request(slow, {"messages": question(1), **ENDLESS}))
            wait_for(lambda: slow.runtime.queue.busy)
            waiting = []
            for number in range(3):
                body = {"messages": question(number), "max_tokens": 2, "stream": True}
                connection = stack.enter_context(open_request(slow, body))
                head = read_until(connection, b'{"queue_position":%d}' % (number + 1))
                assert head.startswith(b"HTTP/1.1 200")
                assert b'"role":"assistant"' in head
                waiting.append(connection)
            first.close()
        for number, connection in enumerate(waiting):
            data = read_until(connection, b"[DONE]")
            assert b"finish_reason" in data
            if number:
                assert b'{"queue_position":1}' in data
    wait_for(lambda: idle(slow))


def test_requests_are_answered_in_the_order_they_came(slow: LiveServer, caplog: pytest.LogCaptureFixture) -> None:
    came: dict[int, str] = {}

    def ask(number: int) -> None:
        body = {"messages": question(number), "max_tokens": 3, "temperature": 0}
        came[number] = slow.post("/v1/chat/completions", body).headers["x-request-id"]

    with (
        caplog.at_level(logging.INFO, "oneclick.server"),
        ThreadPoolExecutor(5) as pool,
        standing_still(slow.runtime.worker_pid),
        open_request(slow, {"messages": question(0), **ENDLESS}),
    ):
        wait_for(lambda: slow.runtime.queue.busy)
        for number in range(5):
            pool.submit(ask, number)
            wait_for(lambda expected=number + 1: len(slow.runtime.queue) == expected)  # type: ignore[misc]
    # The server's log: here threads that got their answers may overtake each other.
    answered = [record.args[0] for record in caplog.records if "queue" in record.msg and isinstance(record.args, tuple)]
    assert answered[-5:] == [came[number] for number in range(5)]


def test_a_full_queue_is_a_503_that_may_be_repeated(slow: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneclick.server.metrics.Metrics.mean_request_s", 7.5)
    limit = slow.runtime.config.queue_limit
    with standing_still(slow.runtime.worker_pid), contextlib.ExitStack() as stack:
        for _ in range(limit + 1):
            stack.enter_context(open_request(slow, {"messages": question(0), **ENDLESS}))
        wait_for(lambda: len(slow.runtime.queue) == limit)
        response = slow.chat()
        assert (response.status_code, response.json()["error"]["code"]) == (503, "queue_full")
        assert response.headers["retry-after"] == "8"
        assert response.headers["x-should-retry"] == "true"
    wait_for(lambda: idle(slow))


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_the_queue_is_forgotten_before_its_turn(slow: LiveServer, stream: bool) -> None:
    with standing_still(slow.runtime.worker_pid), open_request(slow, {"messages": question(1), **ENDLESS}):
        wait_for(lambda: slow.runtime.queue.busy)
        with open_request(slow, {"messages": question(2), **ENDLESS, "stream": stream}):
            wait_for(lambda: len(slow.runtime.queue) == 1)
        wait_for(lambda: len(slow.runtime.queue) == 0)
        assert slow.runtime.queue.busy
    wait_for(lambda: idle(slow))


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_in_the_middle_frees_the_worker(slow: LiveServer, stream: bool) -> None:
    cancelled, generated = slow.runtime.metrics.cancelled, slow.runtime.metrics.generated_tokens
    with open_request(slow, {"messages": question(3), **ENDLESS, "stream": stream}) as connection:
        if stream:
            read_until(connection, b'"content":"\\u')
        wait_for(lambda: slow.runtime.queue.busy)
    wait_for(lambda: idle(slow))
    assert slow.runtime.metrics.cancelled == cancelled + 1
    assert slow.runtime.metrics.generated_tokens < generated + ENDLESS["max_tokens"]
    assert slow.answer(question(4), max_tokens=2)["choices"]


def test_a_client_that_leaves_in_a_long_prompt_frees_our_engine(
    our_engine: Path, models: Models, start_server: StartServer
) -> None:
    server = start_server(models("small"), our_engine)
    pid = server.runtime.worker_pid
    message = {"role": "user", "content": "天" * 7000}
    with open_request(server, {"messages": [message], "max_tokens": 4, "stream": True}) as connection:
        read_until(connection, b'"prompt_progress":0')
    wait_for(lambda: idle(server))
    # It ended between two chunks, before the answer began.
    assert server.runtime.metrics.cancelled == 1
    assert server.runtime.metrics.generated_tokens == 0
    assert server.runtime.worker_pid == pid


def test_the_next_client_does_not_wait_long_for_a_prompt_nobody_wants(
    released_engine: Path, models: Models, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As released the engine evaluates a prompt in one call that nothing can interrupt. Standing still makes that call
    # last for ever.
    monkeypatch.setattr("oneclick.server.queue.CANCEL_PATIENCE_S", 0.2)
    server = start_server(models("small"), released_engine)
    pid = server.runtime.worker_pid
    message = {"role": "user", "content": "天" * 2000}
    with standing_still(server.runtime.worker_pid):
        with open_request(server, {"messages": [message], "max_tokens": 4, "stream": True}):
            wait_for(lambda: server.runtime.queue.busy)
        assert server.answer(question(5), max_tokens=2)["choices"]
    assert server.runtime.worker_pid not in (None, pid)
    assert server.runtime.status.get().phase == "ready"


def test_silence_is_filled_with_comments(our_engine: Path, models: Models, start_server: StartServer) -> None:
    config = ServerConfig(preload=False, threads=1, keep_alive_s=0.1)
    server = start_server(models("tiny"), our_engine, config)
    with contextlib.ExitStack() as stack:
        with standing_still(server.runtime.worker_pid):
            running, waiting = (
                stack.enter_context(open_request(server, {"messages": question(0), "max_tokens": 1, "stream": True}))
                for _ in range(2)
            )
            seen = {running: b"", waiting: b""}
            for _ in range(3):
                for connection in seen:
                    seen[connection] += read_until(connection, b": keep-alive\n")
        for connection in seen:
            data = seen[connection] + read_until(connection, b"[DONE]")
            assert b"finish_reason" in data
            # A sign of life is the first line of the next event: no event is without data.
            assert b": keep-alive\n\n" not in data


def test_a_slow_plain_answer_shows_signs_of_life(our_engine: Path, models: Models, start_server: StartServer) -> None:
    server = start_server(models("tiny"), our_engine, replace(CONFIG, keep_alive_s=0.1))
    body = {"messages": question(0), "max_tokens": 2, "temperature": 0}
    with standing_still(server.runtime.worker_pid):
        connection = open_request(server, body)
        head = read_until(connection, b"\n\r\n1\r\n\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    with connection:
        data = head + read_until(connection, b"\r\n0\r\n\r\n")
    *_, last = data.partition(b"\r\n\r\n")[2].split(b"\r\n")[:-3]
    assert json.loads(last)["choices"] == server.answer(question(0), max_tokens=2)["choices"]


def test_a_failure_after_a_sign_of_life_is_told_in_the_body(
    our_engine: Path, models: Models, start_server: StartServer
) -> None:
    server = start_server(models("tiny"), our_engine, replace(CONFIG, keep_alive_s=0.1))
    with standing_still(server.runtime.worker_pid), open_request(server, {"messages": question(0)}) as connection:
        read_until(connection, b"\n\r\n1\r\n\n")
        psutil.Process(server.runtime.worker_pid).kill()
        assert b'"code":"worker_died"' in read_until(connection, b"\r\n0\r\n\r\n")
    server.wait_ready()


def test_a_client_that_leaves_a_slow_plain_answer_is_forgotten(
    our_engine: Path, models: Models, start_server: StartServer
) -> None:
    server = start_server(models("small"), our_engine, replace(CONFIG, keep_alive_s=0.05))
    with open_request(server, {"messages": question(0), **ENDLESS}) as connection:
        read_until(connection, b"\n\r\n1\r\n\n")
    wait_for(lambda: idle(server))
    assert server.runtime.metrics.cancelled == 1


def test_a_dozen_at_once_are_all_answered(slow: LiveServer) -> None:
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda number: slow.chat(str(number), max_tokens=2).status_code, range(36)))
    assert statuses == [200] * 36


def test_when_to_come_again_follows_the_measured_speed() -> None:
    for measured_s, told in ((0.0, "1"), (0.2, "1"), (7.2, "8"), (900.0, "60")):
        error = unavailable("server.queue_full", "queue_full", limit=1)
        error.retry_after(measured_s)
        assert error.headers["retry-after"] == told


def test_cancelling_one_of_several_answers_cancels_all(slow: LiveServer) -> None:
    cancelled = slow.runtime.metrics.cancelled
    with open_request(slow, {"messages": question(3), **ENDLESS, "n": 3, "stream": True}) as connection:
        read_until(connection, b'"content":"\\u')
        assert len(slow.runtime.queue) == 2
    wait_for(lambda: idle(slow))
    assert slow.runtime.metrics.cancelled == cancelled + 3


def test_cancelling_what_waits_leaves_the_running_one_alone(slow: LiveServer) -> None:
    body = {"messages": question(8), "temperature": 0, "max_tokens": 40}
    expected = slow.post("/v1/chat/completions", body).json()["choices"]
    with ThreadPoolExecutor(1) as pool:
        with standing_still(slow.runtime.worker_pid):
            running = pool.submit(slow.post, "/v1/chat/completions", body)
            wait_for(lambda: slow.runtime.queue.busy)
            for _ in range(3):
                with open_request(slow, {"messages": question(2), **ENDLESS}):
                    wait_for(lambda: len(slow.runtime.queue) == 1)
                wait_for(lambda: len(slow.runtime.queue) == 0)
        assert running.result().json()["choices"] == expected


def test_a_request_that_comes_while_the_model_loads_waits_for_it(
    our_engine: Path, models: Models, start_server: StartServer
) -> None:
    server = start_server(models("small"), our_engine, wait=False)
    answer = server.answer(question(6), max_tokens=3)
    assert answer["usage"]["completion_tokens"] == 3


def test_without_a_model_requests_are_told_to_come_again(start_server: StartServer) -> None:
    server = start_server(None)
    for phase in ("starting", "checking", "no_model", "downloading", "verifying"):
        server.runtime.status.set(phase)
        response = server.chat()
        assert (response.status_code, response.json()["error"]["code"]) == (503, "loading_model")
        assert response.headers["retry-after"]
        health = requests.get(server.url + "/health", timeout=10)
        assert health.status_code == 503
        assert health.json()["phase"] == phase


def test_random_requests_with_random_disconnects_leave_nothing_behind(
    our_engine: Path, models: Models, start_server: StartServer
) -> None:
    """The short form of bench/soak_server.py."""
    server = start_server(models("tiny"), our_engine)
    chance = random.Random(5)
    pid = server.runtime.worker_pid

    def one(number: int) -> None:
        body = {
            "messages": question(number % 7),
            "max_tokens": chance.randrange(1, 200),
            "stream": chance.random() < 0.6,
        }
        with open_request(server, body) as connection:
            connection.settimeout(chance.random() * 0.2)
            with contextlib.suppress(OSError):
                while connection.recv(4096) and chance.random() > 0.2:
                    pass

    def threads() -> list[str]:
        # Pools make their threads when they need them; what a request makes has no business to stay.
        return sorted(one.name for one in threading.enumerate() if not one.name.startswith(("helper", "ThreadPool")))

    before = threads()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(one, range(160)))
    wait_for(lambda: idle(server))
    wait_for(lambda: threads() == before)
    assert server.runtime.worker_pid == pid
    assert server.answer(question(1), max_tokens=4)["usage"]["completion_tokens"] == 4
    assert pid is not None
    assert psutil.Process(pid).num_threads() < 12
