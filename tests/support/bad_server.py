"""A local file host that misbehaves on request: python.org, GitHub, ModelScope and Hugging Face with every known fault.

Each page has a list of behaviours; every request to it takes the next one, the last one stays. So
``server.page("/a", data, cut(1000), ok())`` breaks the first answer after 1000 bytes and is fine afterwards.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import math
import os
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered; the defaults are those of a good file host."""

    status: int = 0
    """0: 200 or 206 as it should be."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent instead of the file."""
    ranges: bool = True
    content_range: bool = True
    content_length: bool = True
    shift_bytes: int = 0
    """A ranged answer starts so many bytes later than asked for, and says so."""
    cut_after_bytes: int | None = None
    stall_after_bytes: int | None = None
    slow_after_bytes: int = 0
    rate_bytes_s: float | None = None
    """Per connection, from ``slow_after_bytes`` on."""
    extra: bytes = b""
    latency_s: float = 0.0
    redirect: str = ""
    hang: bool = False
    """Take the request and never answer."""
    held: threading.Event | None = None
    """Answer once this is set."""
    only_one_connection: int = 0
    """Answer this status while another request to the page is being served."""


def ok(**changes: object) -> Behaviour:
    """Return a good answer, with ``changes`` to single fields."""
    return replace(Behaviour(), **changes)  # type: ignore[arg-type]


def status(code: int, **headers: str) -> Behaviour:
    return Behaviour(status=code, body=b"sorry", headers={k.replace("_", "-"): v for k, v in headers.items()})


def html(code: int = 200) -> Behaviour:
    return Behaviour(status=code, body=b"<!DOCTYPE html><html>Log in</html>", headers={"Content-Type": "text/html"})


def cut(after_bytes: int) -> Behaviour:
    return Behaviour(cut_after_bytes=after_bytes)


def stall(after_bytes: int) -> Behaviour:
    return Behaviour(stall_after_bytes=after_bytes)


def trickle(rate_bytes_s: float, after_bytes: int = 0) -> Behaviour:
    return Behaviour(rate_bytes_s=rate_bytes_s, slow_after_bytes=after_bytes)


@dataclass
class Request:
    """One request as it was served."""

    method: str
    path: str
    range: str
    start: int = 0
    sent: int = 0
    """Bytes of the body handed to the network."""
    headers: dict[str, str] = field(default_factory=dict)


class Page:
    """A path of the server: its bytes and its behaviours."""

    def __init__(self, data: bytes | Path, behaviours: Sequence[Behaviour], etag: str) -> None:
        self.data = data
        self.size_bytes = data.stat().st_size if isinstance(data, Path) else len(data)
        self.behaviours = list(behaviours) or [Behaviour()]
        self.etag = etag
        self.busy = 0
        self.lock = threading.Lock()

    def next(self) -> Behaviour:
        with self.lock:
            return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


class BadServer:
    """The server; ``with BadServer() as server`` starts and ends it."""

    def __init__(self, send_buffer_bytes: int | None = None, connect_latency_s: float = 0.0) -> None:
        self.pages: dict[str, Page] = {}
        self.answers: dict[str, Callable[[Request], tuple[int, dict[str, str], bytes]]] = {}
        """Paths answered by a function of the request, without ranges."""
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.send_buffer_bytes = send_buffer_bytes
        self.most_bytes: float = math.inf
        """No connection is sent more while all bodies so far amount to this: what a test waits for cannot be missed."""
        self.connect_latency_s = connect_latency_s
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self.port: int = self._http.server_address[1]
        self.base = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> BadServer:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.close_connections()
        self._http.server_close()
        self._thread.join()

    def page(self, path: str, data: bytes | Path, *behaviours: Behaviour, etag: str = '"v1"') -> str:
        """Serve ``data`` at ``path`` and return its address."""
        self.pages[path] = Page(data, behaviours, etag)
        return self.base + path

    def fetched(self, prefix: str = "") -> list[Request]:
        """Return the requests so far to paths that start with ``prefix``."""
        with self.lock:
            return [request for request in self.requests if request.path.startswith(prefix)]

    def sent_bytes(self, prefix: str = "") -> int:
        return sum(request.sent for request in self.fetched(prefix))

    # -- hubs -------------------------------------------------------------------------------------------------

    def modelscope(
        self,
        repo: str,
        path: str,
        data: bytes,
        *behaviours: Behaviour,
        revision: str = "master",
        sha256: str = "",
        size_bytes: int | None = None,
        link_uses: int = 1000,
    ) -> None:
        """Play ModelScope for one LFS file: the listing, and a redirect to a link that dies after ``link_uses``."""
        listing = {
            "Code": 200,
            "Data": {
                "Files": [
                    {"Path": "README.md", "Name": "README.md", "Type": "blob", "Size": 12, "Sha256": "0" * 64},
                    {
                        "Path": path,
                        "Name": Path(path).name,
                        "Type": "blob",
                        "Size": len(data) if size_bytes is None else size_bytes,
                        "Sha256": sha256,
                    },
                ]
            },
        }
        self.answers[f"/api/v1/models/{repo}/repo/files"] = lambda _: (
            200,
            {"Content-Type": "application/json; charset=utf-8"},
            json.dumps(listing).encode(),
        )
        self._expiring(f"/models/{repo}/resolve/{revision}/{path}", data, behaviours, link_uses, {})

    def huggingface(
        self,
        repo: str,
        path: str,
        data: bytes,
        *behaviours: Behaviour,
        revision: str = "main",
        sha256: str = "",
        size_bytes: int | None = None,
        link_uses: int = 1000,
    ) -> None:
        """Play Hugging Face for one LFS file: X-Linked-* on the redirect, links that expire."""
        headers = {
            "X-Repo-Commit": "a" * 40,
            "X-Linked-Size": str(len(data) if size_bytes is None else size_bytes),
            "X-Linked-ETag": f'"{sha256}"',
        }
        self._expiring(f"/{repo}/resolve/{revision}/{path}", data, behaviours, link_uses, headers)

    def _expiring(
        self, path: str, data: bytes, behaviours: Sequence[Behaviour], link_uses: int, headers: Mapping[str, str]
    ) -> None:
        numbers = iter(range(1, 1_000_000))

        def answer(_: Request) -> tuple[int, dict[str, str], bytes]:
            link = f"/signed{path}/{next(numbers)}"
            self.pages[link] = Page(data, [*([Behaviour()] * link_uses), status(403)], '"v1"')
            if behaviours:
                self.pages[link].behaviours = list(behaviours)
            return 302, {**headers, "Location": f"{self.base}{link}?Expires=1"}, b""

        self.answers[path] = answer


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: BadServer

    def __init__(self, *args: object) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)  # type: ignore[arg-type]

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        if self.owner.send_buffer_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.owner.send_buffer_bytes)
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    wbufsize = 0

    def setup(self) -> None:
        time.sleep(self.server.owner.connect_latency_s)
        super().setup()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def _serve(self, body: bool) -> None:
        owner = self.server.owner
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        request = Request(self.command, path, self.headers.get("Range", ""), headers=dict(self.headers))
        with owner.lock:
            owner.requests.append(request)
        if path in owner.answers:
            code, headers, content = owner.answers[path](request)
            self._head(code, {**headers, "Content-Length": str(len(content))})
            if body:
                self._send(content)
            return
        page = owner.pages.get(path)
        if page is None:
            self._head(404, {"Content-Length": "0"})
            return
        with page.lock:
            page.busy += 1
            crowded = page.busy > 1
        try:
            self._serve_page(page, page.next(), request, body, crowded)
        finally:
            with page.lock:
                page.busy -= 1

    def _serve_page(self, page: Page, how: Behaviour, request: Request, body: bool, crowded: bool) -> None:
        owner = self.server.owner
        if how.only_one_connection and crowded:
            how = status(how.only_one_connection, Retry_After="0")
        if how.hang:
            owner.stopping.wait()
        while how.held is not None and not how.held.wait(0.05) and not owner.stopping.is_set():
            pass
        if how.latency_s:
            time.sleep(how.latency_s)
        if how.redirect:
            self._head(302, {"Location": how.redirect, "Content-Length": "0"})
            return
        size = page.size_bytes if how.body is None else len(how.body)
        start, stop, code = 0, size, 200
        if request.range and how.ranges and how.body is None:
            start, stop = _parse_range(request.range, size)
            start += how.shift_bytes
            code = 206
            if start >= size:
                self._head(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
                return
        request.start = start
        code = how.status or code
        headers = {"Content-Type": "application/octet-stream", "ETag": page.etag, **how.headers}
        if code == 206 and how.content_range:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        if how.content_length:
            headers["Content-Length"] = str(stop - start + len(how.extra))
        else:
            headers["Transfer-Encoding"] = "chunked"
        self._head(code, headers)
        if body:
            self._send_body(page, how, request, start, stop)

    def _head(self, code: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_body(self, page: Page, how: Behaviour, request: Request, start: int, stop: int) -> None:
        data = page.data if how.body is None else how.body
        plain = how == Behaviour(latency_s=how.latency_s, rate_bytes_s=how.rate_bytes_s)
        if isinstance(data, Path):
            with data.open("rb") as stream:
                if plain and how.rate_bytes_s is None and self.server.owner.most_bytes == math.inf:
                    self._send_file(stream.fileno(), request, start, stop)
                    return
                pieces = _file_pieces(stream.fileno(), start, stop)
                self._send_pieces(pieces, how, request)
            return
        whole = memoryview(data)[start:stop]
        self._send_pieces((whole[i : i + PIECE_BYTES] for i in range(0, len(whole), PIECE_BYTES)), how, request)

    def _send_file(self, handle: int, request: Request, start: int, stop: int) -> None:
        while start < stop:
            sent = os.sendfile(self.connection.fileno(), handle, start, stop - start)
            if not sent:
                return
            start += sent
            request.sent += sent

    def _send_pieces(self, pieces: Iterator[memoryview | bytes], how: Behaviour, request: Request) -> None:
        owner, began, began_at = self.server.owner, 0, 0.0
        for piece in pieces:
            for part in _split(piece, how, request.sent):
                if how.cut_after_bytes is not None and request.sent >= how.cut_after_bytes:
                    self._break()
                    return
                if how.stall_after_bytes is not None and request.sent >= how.stall_after_bytes:
                    owner.stopping.wait()
                    return
                if how.rate_bytes_s is not None and request.sent >= how.slow_after_bytes:
                    if not began_at:
                        began, began_at = request.sent, time.monotonic()
                    due = began_at + (request.sent - began + len(part)) / how.rate_bytes_s
                    if owner.stopping.wait(max(0.0, due - time.monotonic())):
                        return
                while owner.sent_bytes() >= owner.most_bytes:
                    if owner.stopping.wait(0.01):
                        return
                self._send(part if how.content_length else b"%x\r\n%b\r\n" % (len(part), part))
                request.sent += len(part)
        if how.cut_after_bytes is not None:
            self._break()
            return
        if how.extra:
            self._send(how.extra if how.content_length else b"%x\r\n%b\r\n" % (len(how.extra), how.extra))
        if not how.content_length:
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes | memoryview) -> None:
        self.connection.sendall(data)

    def _break(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _split(piece: memoryview | bytes, how: Behaviour, sent: int) -> Iterator[memoryview | bytes]:
    """Cut ``piece`` where the behaviour changes, and into short steps where it is slow."""
    marks = [mark for mark in (how.cut_after_bytes, how.stall_after_bytes, how.slow_after_bytes) if mark]
    step = PIECE_BYTES if how.rate_bytes_s is None else max(1, int(how.rate_bytes_s / 50))
    position = 0
    while position < len(piece):
        stop = min(len(piece), position + step)
        for mark in marks:
            if sent + position < mark < sent + stop:
                stop = mark - sent
        yield piece[position:stop]
        position = stop


def _file_pieces(handle: int, start: int, stop: int) -> Iterator[bytes]:
    while start < stop:
        data = os.pread(handle, min(PIECE_BYTES, stop - start), start)
        yield data
        start += len(data)


def _parse_range(text: str, size: int) -> tuple[int, int]:
    first, _, last = text.removeprefix("bytes=").partition("-")
    return int(first), min(size, int(last) + 1) if last else size
