"""Real sockets on port 0: what the first page answers itself and what it hands over untouched."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from oneclick.port import ports
from oneclick.port.instance import RUN_HEADER
from oneclick.server.api.app import create_app
from oneclick.server.http import assets
from oneclick.server.http.first_page import FirstPage
from oneclick.server.http.serve import run_server
from oneclick.server.runtime import Runtime, ServerConfig
from oneclick.status import Status

HEAD = "GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"
PATIENCE_S = 60.0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with ports.listen("127.0.0.1", 0) as one:
        yield one


@pytest.fixture
def first_page(listener: socket.socket) -> Iterator[FirstPage]:
    page = FirstPage([listener], "the-token", "the-run")
    page.start()
    yield page
    for one in page.hand_over():
        one.close()


def sent(listener: socket.socket, request: bytes) -> socket.socket:
    client = socket.create_connection(listener.getsockname(), timeout=PATIENCE_S)
    client.sendall(request)
    return client


def whole(client: socket.socket) -> tuple[str, bytes]:
    with client:
        parts = []
        while part := client.recv(1 << 16):
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


def request(path: str = "/", host: str = "127.0.0.1", more: str = "") -> bytes:
    return HEAD.format(path=path, host=host, more=more).encode()


def test_the_page_comes_with_token_run_and_the_headers_of_the_server(
    listener: socket.socket, first_page: FirstPage
) -> None:
    head, body = whole(sent(listener, request()))
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert f"{RUN_HEADER}: the-run" in head
    assert b'<meta name="oneclick-token" content="the-token">' in body
    for name, value in assets.SECURITY_HEADERS.items():
        assert f"{name}: {value}" in head


def test_the_pages_own_files_come_too(listener: socket.socket, first_page: FirstPage) -> None:
    head, body = whole(sent(listener, request("/css/base.css?v=1")))
    assert "content-type: text/css" in head
    assert body == (assets.WEB_FOLDER / "css" / "base.css").read_bytes()


LEFT = {
    "an API path": request("/v1/models"),
    "a file outside": request("/../launcher.py"),
    "another host": request(host="evil.example"),
    "another website": request(more="Origin: http://evil.example\r\n"),
    "a body": request(more="Content-Length: 1\r\n"),
    "a question": b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}",
    "half a request": b"GET / HTTP/1.1\r\nHost: 127.",
    "two requests": request() * 2,
    "no HTTP": b"\x16\x03\x01",
}


@pytest.mark.parametrize("case", LEFT)
def test_everything_else_is_handed_over_unread(listener: socket.socket, first_page: FirstPage, case: str) -> None:
    with sent(listener, LEFT[case]) as client:
        whole(sent(listener, request()))  # Accepted later, so the other was looked at or still waits.
        (handed,) = first_page.hand_over()
        with handed:
            handed.settimeout(PATIENCE_S)
            assert handed.getpeername() == client.getsockname()
            assert handed.recv(1 << 16) == LEFT[case]


def test_a_silent_connection_is_handed_over(listener: socket.socket, first_page: FirstPage) -> None:
    with sent(listener, b"") as client:
        whole(sent(listener, request()))
        (handed,) = first_page.hand_over()
        with handed:
            assert handed.getpeername() == client.getsockname()


def test_a_client_that_went_away_disturbs_nobody(listener: socket.socket, first_page: FirstPage) -> None:
    for _ in range(5):
        sent(listener, b"").close()
    assert whole(sent(listener, request()))[0].startswith("HTTP/1.1 200")


def test_after_the_hand_over_the_port_is_the_servers(listener: socket.socket, first_page: FirstPage) -> None:
    assert first_page.hand_over() == []
    with sent(listener, request()) as client:
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getpeername() == client.getsockname()
    assert first_page.hand_over() == []


def test_the_server_answers_whoever_came_before_it(listener: socket.socket, first_page: FirstPage) -> None:
    asked = [sent(listener, request(path)) for path in ("/status", "/v1/models", "/metrics")]
    whole(sent(listener, request()))
    runtime = Runtime(ServerConfig(), Status())
    stop = threading.Event()
    arguments = (create_app(runtime), listener, stop, runtime, first_page.hand_over)
    server = threading.Thread(target=run_server, args=arguments)
    server.start()
    for client in asked:
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")
    late = sent(listener, request("/status"))
    assert late.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")
    stop.set()
    server.join(PATIENCE_S)
    assert not server.is_alive()
    for client in (*asked, late):
        client.close()


def test_where_a_key_is_asked_for_the_page_comes_without_the_token(listener: socket.socket) -> None:
    page = FirstPage([listener], "the-token", "the-run", keep_token=True)
    page.start()
    try:
        head, body = whole(sent(listener, request()))
    finally:
        page.close()
    assert head.startswith("HTTP/1.1 200 OK") and b"the-token" not in body
