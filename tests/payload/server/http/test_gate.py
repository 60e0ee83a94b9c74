"""Who may use the server: Host, Origin, keys, sizes, on a live server with raw requests."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oneclick.server.api_errors import ApiError
from oneclick.server.http import gate
from oneclick.server.runtime import ServerConfig
from tests.payload.conftest import LiveServer, StartServer

BODY = json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}).encode()


@pytest.fixture(scope="module")
def server(our_server: LiveServer) -> LiveServer:
    return our_server


def send(
    server: LiveServer, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """Send exactly these headers and return (status, headers, body)."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def code_of(body: bytes) -> str:
    code: str = json.loads(body)["error"]["code"]
    return code


GOOD_HOSTS = ["127.0.0.1", "127.0.0.1:{port}", "localhost", "LocalHost:{port}", "[::1]", "[::1]:{port}", "127.0.0.1:80"]
BAD_HOSTS = [
    "evil.com",
    "evil.com:{port}",
    "127.0.0.1.evil.com",
    "evil.localhost",
    "localhost.evil.com",
    "localhost.",
    "127.0.0.1.",
    "sub.127.0.0.1",
    "user@127.0.0.1",
    "127.0.0.1@evil.com",
    "0.0.0.0",
    "127.1",
    "2130706433",
    "0x7f000001",
    "127.0.0.2",
    "192.168.1.2",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::1]x",
    "[::1",
    "::1",
    "localhost:99999",
    "localhost:port",
    "localhost:",
    "a b",
    "",
    "rebind.network",
    "host.docker.internal",
    "router.local",
]


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_this_computers_names_are_answered(server: LiveServer, host: str) -> None:
    assert send(server, "GET", "/v1/models", [("Host", host.format(port=server.port))])[0] == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("path", ["/v1/models", "/health", "/", "/status"])
def test_other_names_are_refused_everywhere(server: LiveServer, host: str, path: str) -> None:
    status, _, body = send(server, "GET", path, [("Host", host.format(port=server.port))])
    # h11 itself refuses what cannot be a header value.
    assert status in (400, 403)
    if status == 403:
        assert code_of(body) == "host_not_allowed"


def test_two_host_headers_are_refused(server: LiveServer) -> None:
    assert send(server, "GET", "/health", [("Host", "127.0.0.1"), ("Host", "evil.com")])[0] in (400, 403)


def test_only_http_1_0_may_leave_the_host_out(server: LiveServer) -> None:
    def status(version: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"GET /health HTTP/" + version + b"\r\n\r\n")
            return connection.recv(65536).split(b" ")[1]

    assert status(b"1.0") == b"200"
    assert status(b"1.1") in (b"400", b"403")


GOOD_ORIGINS = [
    "http://127.0.0.1:{port}",
    "http://localhost:3000",
    "https://localhost",
    "http://[::1]:8080",
    "file://",
    "app://obsidian.md",
    "app://-",
    "tauri://localhost",
    "http://tauri.localhost",
    "https://tauri.localhost",
    "vscode-webview://1a2b3c",
]
BAD_ORIGINS = [
    "null",
    "",
    "https://evil.com",
    "https://web.chatboxai.app",
    "chrome-extension://abcdef",
    "http://evil.localhost",
    "http://localhost.evil.com",
    "http://127.0.0.1.evil.com",
    "http://localhost.",
    "http://127.0.0.1:80@evil.com",
    "http://localhost:3000, http://evil.com",
    "http://localhost/path",
    "file://evil.com/x",
    "ftp://localhost",
    "http://127.0.0.2",
    "http://192.168.0.1",
    "HTTP://EVIL.COM",
]


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
def test_local_pages_and_applications_are_answered(server: LiveServer, origin: str) -> None:
    origin = origin.format(port=server.port)
    headers = [("Host", "127.0.0.1"), ("Origin", origin)]
    status, answer, _ = send(server, "POST", "/v1/chat/completions", headers, BODY)
    assert status == 200
    assert answer["access-control-allow-origin"] == origin
    assert answer["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer


@pytest.mark.parametrize("origin", BAD_ORIGINS)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_foreign_pages_are_refused_before_any_work(server: LiveServer, origin: str, content_type: str) -> None:
    # text/plain is what a page may send without asking the browser first.
    before = server.runtime.metrics.requests
    headers = [("Host", "127.0.0.1"), ("Origin", origin), ("Content-Type", content_type)]
    status, answer, body = send(server, "POST", "/v1/chat/completions", headers, BODY)
    assert (status, code_of(body)) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer
    assert server.runtime.metrics.requests == before


def test_a_request_without_origin_is_answered_whatever_sec_fetch_site_says(server: LiveServer) -> None:
    # Chatbox on the desktop: web security off, so no Origin, but "cross-site".
    headers = [("Host", "127.0.0.1"), ("Sec-Fetch-Site", "cross-site"), ("Content-Type", "application/json")]
    assert send(server, "POST", "/v1/chat/completions", headers, BODY)[0] == 200


def test_a_refused_body_is_never_read(server: LiveServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: evil.com\r\nContent-Length: 1000000\r\n\r\nonly this"
        )
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 403")


def test_a_preflight_of_a_local_page_names_what_it_may_send(server: LiveServer) -> None:
    headers = [
        ("Host", "127.0.0.1"),
        ("Origin", "http://localhost:3000"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization, HTTP-Referer, x-title, cookie, a b, x-stainless-os"),
        ("Access-Control-Request-Private-Network", "true"),
    ]
    status, answer, body = send(server, "OPTIONS", "/v1/chat/completions", headers)
    assert (status, body) == (204, b"")
    assert answer["access-control-allow-headers"] == "authorization, http-referer, x-title, x-stainless-os"
    assert answer["access-control-allow-methods"] == "GET, POST, OPTIONS"
    assert answer["access-control-allow-private-network"] == "true"
    assert answer["access-control-allow-origin"] == "http://localhost:3000"


def test_a_preflight_of_a_foreign_page_is_refused(server: LiveServer) -> None:
    headers = [("Host", "127.0.0.1"), ("Origin", "https://evil.com"), ("Access-Control-Request-Method", "POST")]
    assert send(server, "OPTIONS", "/v1/chat/completions", headers)[0] == 403


@pytest.mark.parametrize("length", ["8388609", "99999999999", "-1", "many"])
def test_a_body_that_says_it_is_too_large_is_refused(server: LiveServer, length: str) -> None:
    headers = [("Host", "127.0.0.1"), ("Content-Length", length)]
    assert send(server, "POST", "/v1/chat/completions", headers)[0] in (400, 413)


def test_a_body_that_turns_out_too_large_is_refused(server: LiveServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        try:
            for _ in range(9):
                connection.sendall(piece)
        except OSError:
            pass  # refused already
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_any_content_type_is_read_as_json(server: LiveServer) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=gbk"):
        headers = [("Host", "localhost"), ("Content-Type", content_type)]
        assert send(server, "POST", "/v1/chat/completions", headers, BODY)[0] == 200


def test_the_download_needs_the_pages_token(server: LiveServer) -> None:
    body = b'{"action": "start"}'
    status, _, answer = send(server, "POST", "/oneclick/download", [("Host", "localhost")], body)
    assert (status, code_of(answer)) == (403, "token_required")
    headers = [("Host", "localhost"), ("X-OneClick-Token", "wrong")]
    assert send(server, "POST", "/oneclick/download", headers, body)[0] == 403
    headers = [("Host", "localhost"), ("X-OneClick-Token", server.runtime.token)]
    assert code_of(send(server, "POST", "/oneclick/download", headers, body)[2]) == "not_available"


def test_the_token_starts_and_pauses_the_download(start_server: StartServer) -> None:
    class Downloads:
        def __init__(self) -> None:
            self.calls: list[tuple[str, ...]] = []

        def start(self, model_id: str) -> None:
            self.calls.append(("start", model_id))

        def pause(self) -> None:
            self.calls.append(("pause",))

    server = start_server(None)
    downloads = server.runtime.downloads = Downloads()
    headers = [("Host", "localhost"), ("X-OneClick-Token", server.runtime.token)]
    for body in (b'{"action": "start", "model": "q4_0"}', b'{"action": "pause"}'):
        assert send(server, "POST", "/oneclick/download", headers, body)[0] == 202
    assert downloads.calls == [("start", "q4_0"), ("pause",)]
    for body in (b'{"action": "delete"}', b'{"action": "start", "model": 5}', b"[]"):
        assert send(server, "POST", "/oneclick/download", headers, body)[0] == 400


@pytest.fixture(scope="module")
def locked(our_engine: Path, models: Callable[..., Path], module_server: StartServer) -> LiveServer:
    config = ServerConfig(
        preload=False,
        threads=1,
        api_key="钥匙 key",
        allow_origins=("https://web.chatboxai.app",),
        allow_hosts=("192.168.1.5",),
    )
    return module_server(models("tiny"), our_engine, config)


def keyed(key: str) -> list[tuple[str, Any]]:
    # http.client writes str headers as latin-1; a key is sent as UTF-8.
    return [("Authorization", f"Bearer {key}".encode())]


def test_with_a_key_everything_but_health_and_the_page_asks_for_it(locked: LiveServer) -> None:
    host = [("Host", "localhost")]
    for method, path in [
        ("GET", "/v1/models"),
        ("GET", "/status"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/tokenize"),
        ("POST", "/oneclick/download"),
        ("GET", "/nothing"),
        ("POST", "/"),
    ]:
        status, _, body = send(locked, method, path, host, BODY if method == "POST" else b"")
        assert (status, code_of(body)) == (401, "invalid_api_key"), path
    for path in ("/health", "/v1/health", "/", "/js/main.js"):
        assert send(locked, "GET", path, host)[0] == 200


@pytest.mark.parametrize("key", ["", "钥匙", "钥匙 keyx", "xx"])
def test_a_wrong_key_is_refused(locked: LiveServer, key: str) -> None:
    assert send(locked, "GET", "/v1/models", [("Host", "localhost"), *keyed(key)])[0] == 401


def test_the_key_is_taken_from_either_header(locked: LiveServer) -> None:
    host = [("Host", "localhost")]
    assert send(locked, "GET", "/v1/models", [*host, *keyed("钥匙 key")])[0] == 200
    assert send(locked, "GET", "/v1/models", [*host, ("X-Api-Key", "钥匙 key".encode())])[0] == 200  # type: ignore[list-item]
    assert send(locked, "GET", "/v1/models", [*host, ("X-OneClick-Token", locked.runtime.token)])[0] == 200


def test_allowed_origins_and_hosts_are_let_in(locked: LiveServer) -> None:
    headers = [("Host", "192.168.1.5:8000"), ("Origin", "https://web.chatboxai.app"), *keyed("钥匙 key")]
    status, answer, _ = send(locked, "POST", "/v1/chat/completions", headers, BODY)
    assert status == 200
    assert answer["access-control-allow-origin"] == "https://web.chatboxai.app"


# Who gets the page's token, and what it opens


def test_with_a_key_the_page_holds_no_token_whoever_asks(locked: LiveServer) -> None:
    for headers in ([("Host", "localhost")], [("Host", "127.0.0.1"), ("X-Forwarded-For", "203.0.113.9")]):
        status, _, page = send(locked, "GET", "/", headers)
        assert status == 200 and locked.runtime.token.encode() not in page


def test_without_a_key_a_page_of_another_program_cannot_read_ours(server: LiveServer) -> None:
    headers = [("Host", "127.0.0.1"), ("Origin", "http://localhost:3000")]
    status, answer, _ = send(server, "GET", "/", headers)
    assert status == 200 and "access-control-allow-origin" not in answer
    assert answer["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" in send(server, "GET", "/v1/models", headers)[1]


def test_with_a_key_the_download_takes_the_key_as_well(locked: LiveServer) -> None:
    body = b'{"action": "start", "model": "q4_0"}'
    status, _, answer = send(locked, "POST", "/oneclick/download", [("Host", "localhost"), *keyed("钥匙 key")], body)
    assert (status, code_of(answer)) == (409, "not_available")


def test_the_page_that_a_phone_opened_may_chat(locked: LiveServer) -> None:
    """Its origin is the name it found us under; that name passed already."""
    headers = [("Host", "192.168.1.5:8000"), ("Origin", "http://192.168.1.5:8000"), *keyed("钥匙 key")]
    assert send(locked, "GET", "/v1/models", headers)[0] == 200
    other = [("Host", "192.168.1.5:8000"), ("Origin", "http://192.168.1.6:8000"), *keyed("钥匙 key")]
    assert code_of(send(locked, "GET", "/v1/models", other)[2]) == "origin_not_allowed"


def test_an_address_of_ours_is_a_good_host_and_a_name_of_others_is_not() -> None:
    def allowed(host: str, arrived_at: str) -> bool:
        scope = {"http_version": "1.1", "server": (arrived_at, 8000)}
        try:
            gate.check_head(scope, {"host": [host]}, frozenset(), ())
        except ApiError:
            return False
        return True

    assert allowed("10.0.0.7:8000", "10.0.0.7") and allowed("[fe80::1]:8000", "fe80::1")
    assert not allowed("10.0.0.8:8000", "10.0.0.7")
    assert not allowed("evil.com", "10.0.0.7")
    assert not allowed("127.0.0.2:8000", "127.0.0.2")  # loopback has the three names it always had


@pytest.mark.parametrize("origin", ["capacitor://localhost", "ionic://localhost", "chrome-extension://abc"])
def test_an_application_is_let_in_and_an_extension_only_when_it_was_allowed(origin: str) -> None:
    extension = origin.startswith("chrome")
    assert gate.origin_allowed(origin, ()) is not extension
    assert gate.origin_allowed(origin, ("chrome-extension://*",))
    assert not gate.origin_allowed("moz-extension://abc", ("chrome-extension://*",))
    assert not gate.origin_allowed("https://evil.com", ("chrome-extension://*",))


def test_a_refused_origin_is_told_the_line_that_lets_it_in(server: LiveServer) -> None:
    headers = [("Host", "127.0.0.1"), ("Origin", "chrome-extension://abcdef")]
    status, _, body = send(server, "GET", "/v1/models", headers)
    assert status == 403 and "allowed_origins = ['chrome-extension://abcdef']" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(("origin", "words"), [("null", "null"), ("https://*", "https://*"), ("", "")])
def test_an_origin_that_no_line_could_let_in_is_told_no_line(server: LiveServer, origin: str, words: str) -> None:
    body = send(server, "GET", "/v1/models", [("Host", "127.0.0.1"), ("Origin", origin)])[2]
    message = json.loads(body)["error"]["message"]
    assert "allowed_origins" not in message and f"（{words}）" in message


def test_a_refused_host_is_told_the_line_that_lets_it_in(server: LiveServer) -> None:
    body = send(server, "GET", "/v1/models", [("Host", "host.docker.internal:8000")])[2]
    assert "allowed_hosts = ['host.docker.internal']" in json.loads(body)["error"]["message"]


def test_a_name_for_the_model_of_any_length_is_not_echoed_in_every_chunk(server: LiveServer) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "model": "m" * 257}).encode()
    status, _, answer = send(server, "POST", "/v1/chat/completions", [("Host", "localhost")], body)
    assert status == 400 and json.loads(answer)["error"]["param"] == "model"
