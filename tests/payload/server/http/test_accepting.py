"""Accepting never ends: resets, half-open and idle connections, slow and deaf clients, a listener closed underneath."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from oneclick.server.api.app import create_app
from oneclick.server.http import protocol, serve, streams
from oneclick.server.http.first_page import FirstPage
from oneclick.server.http.serve import run_server
from oneclick.server.runtime import Runtime
from oneclick.status import Status
from tests.payload.conftest import CONFIG, wait_for

pytestmark = pytest.mark.slow

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset instead of an end."""


class Live:
    """A server without a model, with its listening socket at hand."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.runtime = Runtime(CONFIG, Status())
        self.stop = threading.Event()
        arguments = (create_app(self.runtime), self.listener, self.stop, self.runtime)
        self.thread = threading.Thread(target=run_server, args=arguments)
        self.thread.start()
        wait_for(self.answers)

    def answers(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/v1/models", timeout=10).status_code == 200
        except requests.RequestException:
            return False

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@pytest.fixture
def live() -> Iterator[Live]:
    server = Live()
    yield server
    server.stop.set()
    server.thread.join(15)
    assert not server.thread.is_alive()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


def open_files() -> int:
    return psutil.Process(os.getpid()).num_fds()


def test_ten_thousand_resets_in_bursts_leave_it_answering_and_leave_nothing_open(live: Live) -> None:
    before = open_files()
    for _ in range(100):
        for connection in [live.connect() for _ in range(100)]:
            reset(connection)
    wait_for(live.answers)
    wait_for(lambda: open_files() <= before + 2)


def test_half_open_connections_and_resets_in_the_middle_of_a_request_hurt_nobody(live: Live) -> None:
    for text in (b"G", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST /v1/chat/completions HTTP/1.1\r\n"):
        for _ in range(50):
            connection = live.connect()
            connection.sendall(text)
            reset(connection)
    wait_for(live.answers)


def test_a_thousand_idle_connections_are_bounded_and_leave_room(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LOOK_S", 0.05)
    idle = [live.connect() for _ in range(1000)]
    wait_for(live.answers)
    for connection in idle:
        connection.close()


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LOOK_S", 0.05)


def closed(connection: socket.socket) -> bool:
    """Wait until the other side has closed; False when it never does."""
    connection.settimeout(20)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900000\r\n\r\n{"messages"',
    ],
)
@pytest.mark.usefixtures("quick_looks")
def test_a_client_that_does_not_go_on_is_let_go(live: Live, text: bytes) -> None:
    with live.connect() as connection:
        connection.sendall(text)
        assert closed(connection)
    assert live.answers()


@pytest.mark.parametrize(
    "before", [b"", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"], ids=["at once", "after a request"]
)
@pytest.mark.usefixtures("quick_looks")
def test_a_head_that_never_ends_is_let_go_however_busily_it_comes(live: Live, before: bytes) -> None:
    """A byte now and then keeps every idle limit waiting; a whole head has a limit of its own."""
    with live.connect() as connection:
        connection.sendall(before + b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        connection.settimeout(0.01)
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            try:
                connection.sendall(b"X-D: 1\r\n")
                if not connection.recv(65536):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("it is still listened to")
    assert live.answers()


@pytest.mark.usefixtures("quick_looks")
def test_a_client_that_reads_nothing_is_let_go(live: Live) -> None:
    ask = b"GET /js/words-zh.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with live.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.sendall(ask * 400)
        client = connection.getsockname()
        wait_for(lambda: all(one.raddr != client for one in psutil.Process().net_connections()))
    wait_for(live.answers)


def test_a_busy_keep_alive_connection_stays(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LOOK_S", 0.1)
    with requests.Session() as session:
        began = time.monotonic()
        connections = set()
        while time.monotonic() - began < 1.0:
            answer = session.get(f"http://127.0.0.1:{live.port}/v1/models", timeout=10, stream=True)
            connections.add(answer.raw.connection.sock.getsockname() if answer.raw.connection else None)
            answer.content  # noqa: B018 - frees the connection
            time.sleep(0.03)
    assert len(connections - {None}) == 1


def test_a_listener_that_was_closed_is_listened_on_anew(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "WATCH_S", 0.1)
    wait_for(live.answers)
    live.listener.shutdown(socket.SHUT_RDWR)  # listens no more, whoever holds it
    wait_for(live.answers)


def test_the_first_page_survives_a_flood_and_a_closed_connection(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    page = FirstPage([listener], "token", "run")
    page.start()
    port = listener.getsockname()[1]
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(700)]
    for connection in idle[:300]:
        reset(connection)
    wait_for(lambda: len(page._waiting) <= 200)
    for connection in idle:
        connection.close()
    assert requests.get(f"http://127.0.0.1:{port}/", timeout=10).status_code == 200
    for connection in page.hand_over():
        connection.close()
    listener.close()


def test_bodies_that_come_at_once_are_held_within_bounds(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_HELD_BYTES", 3 << 20)
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4000000\r\n\r\n"
    with contextlib.ExitStack() as at_the_end:
        half_sent = [at_the_end.enter_context(live.connect()) for _ in range(4)]
        for connection in half_sent:
            connection.sendall(head.encode() + b" " * 1_500_000)
        answered, _, _ = select.select(half_sent, [], [], 60)
        assert answered and b" 503 " in answered[0].recv(65536)
    wait_for(lambda: streams._Held.size_bytes == 0)
    assert live.answers()
