"""Sockets, stopping, and visitors who speak another protocol."""

from __future__ import annotations

import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from oneclick.server.api.app import create_app
from oneclick.server.http.serve import run_server
from oneclick.server.runtime import Runtime
from oneclick.status import Status
from tests.payload.conftest import CONFIG, LiveServer, StartServer
from tests.support.server_processes import wait_until_ready

ROOT = Path(__file__).resolve().parents[4]


def both_loopbacks() -> tuple[socket.socket, socket.socket]:
    """Return listeners on 127.0.0.1 and [::1] with the same port, which must be free on both."""
    for _ in range(20):
        four = socket.socket()
        four.bind(("127.0.0.1", 0))
        six = socket.socket(socket.AF_INET6)
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            six.bind(("::1", four.getsockname()[1]))
        except OSError:
            four.close()
            six.close()
            continue
        four.listen()
        six.listen()
        return four, six
    raise OSError("no port is free on both addresses")


def test_both_loopback_addresses_are_served() -> None:
    four, six = both_loopbacks()
    port = four.getsockname()[1]
    runtime, stop = Runtime(CONFIG, Status()), threading.Event()
    thread = threading.Thread(target=run_server, args=(create_app(runtime), [four, six], stop, runtime))
    thread.start()
    try:
        for host in ("127.0.0.1", "[::1]", "localhost"):
            status = requests.get(f"http://{host}:{port}/status", timeout=10).json()
            assert (status["phase"], status["port"]) == ("starting", port)
    finally:
        stop.set()
        thread.join(10)


def test_the_page_is_there_before_any_model(start_server: StartServer) -> None:
    server = start_server(None)
    assert requests.get(server.url + "/", timeout=10).status_code == 200
    assert requests.get(server.url + "/v1/models", timeout=10).json()["data"][0]["id"] == "chatglm3-6b"
    health = requests.get(server.url + "/health", timeout=10)
    assert (health.status_code, health.json()["error"]["message"]) == (503, "Loading model")


def test_https_on_our_port_is_explained_in_the_log(our_server: LiveServer, caplog: pytest.LogCaptureFixture) -> None:
    context = ssl.create_default_context()
    with (
        caplog.at_level(logging.WARNING, "oneclick.server"),
        socket.create_connection(("127.0.0.1", our_server.port), timeout=10) as plain,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        context.wrap_socket(plain, server_hostname="localhost")
    assert "http://" in caplog.text


def test_a_body_that_comes_slowly_or_half_is_no_trouble(our_server: LiveServer) -> None:
    body = b'{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", our_server.port), timeout=20) as connection:
        connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        for byte in body:
            connection.sendall(bytes([byte]))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    with socket.create_connection(("127.0.0.1", our_server.port), timeout=20) as connection:
        connection.sendall(head + b"\r\n" + body[:10])
    with socket.create_connection(("127.0.0.1", our_server.port), timeout=20) as connection:
        connection.sendall(b"\x00\x01nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert our_server.chat(max_tokens=1).status_code == 200


def test_two_requests_on_one_connection_are_answered_in_turn(our_server: LiveServer) -> None:
    request = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", our_server.port), timeout=10) as connection:
        connection.sendall(request * 2)
        data = b""
        while data.count(b"HTTP/1.1 200") < 2:
            data += connection.recv(65536)


def test_no_prompt_and_no_answer_is_logged(
    our_engine: Path, models: Callable[..., Path], start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "oneclick.server"):
        server = start_server(models("tiny"), our_engine)
        answer = server.answer([{"role": "user", "content": "非常秘密的问题"}], max_tokens=20)["choices"][0]["message"][
            "content"
        ]
        server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "秘密" * 9000}]})
    assert "prompt" in caplog.text
    assert "秘密" not in caplog.text
    assert answer
    assert answer not in caplog.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_server_and_worker_within_five_seconds(
    our_engine: Path, models: Callable[..., Path], number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "tests.support.serve_model", str(models("small")), str(our_engine), "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        wait_until_ready(url, process)
        (worker,) = psutil.Process(process.pid).children()
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8000, "temperature": 0}
        with requests.post(
            f"{url}/v1/chat/completions", json={**body, "stream": True}, stream=True, timeout=60
        ) as response:
            lines = response.iter_lines()
            next(lines)
            began = time.monotonic()
            process.send_signal(number)
            assert b"data: [DONE]" in list(lines)
        process.wait(60)
        assert time.monotonic() - began < 5
        assert not worker.is_running()
