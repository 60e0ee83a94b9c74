"""Redirects: followed a little way, never read, never from https to http, never from the network into this PC."""

from __future__ import annotations

import contextlib
import http.server
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from oneclick.download import transport
from oneclick.download.faults import Fault
from oneclick.download.transport import ask_small, is_private, make_session

BOMB_BYTES = 256 << 20


class Leading(http.server.BaseHTTPRequestHandler):
    """``/N`` leads to ``/N-1`` with an endless body behind each redirect; ``/0`` is the file."""

    sent_bytes = 0

    def do_GET(self) -> None:
        number = int(self.path.strip("/"))
        if number == 0:
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"file")
            return
        self.send_response(302)
        self.send_header("Location", f"/{number - 1}")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(BOMB_BYTES))
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(BOMB_BYTES >> 16):
                self.wfile.write(bytes(1 << 16))
                Leading.sent_bytes += 1 << 16

    def log_message(self, *_: object) -> None:
        pass


class Threading(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


@pytest.fixture
def leading() -> Iterator[str]:
    Leading.sent_bytes = 0
    with Threading(("127.0.0.1", 0), Leading) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_redirects_are_followed_and_their_bodies_left_unread(leading: str) -> None:
    with make_session() as session:
        assert ask_small(session, f"{leading}/{transport.MOST_REDIRECTS}", 30, 100) == b"file"
    # What the kernels' buffers took, and no more.
    assert Leading.sent_bytes < transport.MOST_REDIRECTS * (16 << 20)


def test_a_way_without_end_is_given_up(leading: str) -> None:
    with make_session() as session, pytest.raises(Fault) as told:
        ask_small(session, f"{leading}/{transport.MOST_REDIRECTS + 1}", 30, 100)
    assert told.value.key == "redirects"


class Answer:
    def __init__(self, target: str) -> None:
        self.status_code, self.headers, self.history = 302, {"Location": target}, []

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("https://example.com/m", "http://example.com/m"),
        ("https://example.com/m", "https://127.0.0.1:8000/oneclick"),
        ("http://example.com/m", "http://192.168.1.1/admin"),
        ("http://example.com/m", "http://[::1]/"),
        ("http://example.com/m", "http://169.254.169.254/latest"),
        ("http://example.com/m", "http://localhost/"),
        ("http://example.com/m", "http://router/"),
        ("http://example.com/m", "//nas.local/m"),
        ("http://example.com/m", "file:///etc/passwd"),
        ("http://example.com/m", "ftp://example.com/m"),
    ],
)
def test_it_does_not_lead_into_this_network_or_out_of_https(
    monkeypatch: pytest.MonkeyPatch, source: str, target: str
) -> None:
    asked: list[str] = []

    def send(_session: Any, _method: str, url: str, *_: Any) -> Any:
        asked.append(url)
        return Answer(target)

    monkeypatch.setattr(transport, "_send", send)
    with make_session() as session, pytest.raises(Fault) as told:
        ask_small(session, source, 30, 100)
    assert told.value.key == "bad_redirect" and asked == [source]
    assert told.value.attempt("A").reason


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.2.3", "192.168.0.9", "::1", "fe80::1", "localhost", "nas.local", ""]
)
def test_hosts_of_ones_own_network_are_known(host: str) -> None:
    assert is_private(host)
    assert not is_private("example.com") and not is_private("8.8.8.8")
