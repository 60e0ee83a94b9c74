"""A server on port 0 that takes uploads and can be told to fail in the ways real ones do; the kinds are beside it."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "the-secret-token-of-this-test"
PIECE_BYTES = 1024


class Refused(Exception):
    """The request is answered with ``status``."""

    def __init__(self, status: int, said: str = "") -> None:
        super().__init__(said)
        self.status, self.said = status, said


@dataclass
class Faults:
    """What goes wrong from now on."""

    status: int = 0
    """Answer of everything; 0: as it should be."""
    upload_status: int = 0
    """Answer of uploads."""
    hold_after_bytes: int | None = None
    """Bytes of an upload's body after which no more is read until ``go_on``."""
    cut_after_bytes: int | None = None
    """Bytes of an upload's body after which the connection is closed."""
    spoiled: set[str] = field(default_factory=set)
    """Names of files that are given back with a byte changed."""
    held: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


class Host:
    """What every kind of host has; ``files`` is what people can download."""

    environment: ClassVar[dict[str, str]]
    """Variables with the token; ``{url}`` stands for the server's address."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.files: dict[str, bytes] = {}
        self.uploads: list[str] = []
        """Names (or digests) of bodies that arrived whole, in order."""
        self.url = ""
        self.lock = threading.RLock()

    @property
    def target(self) -> str:
        """Argument of ``--to``."""
        raise NotImplementedError

    def variables(self) -> dict[str, str]:
        return {name: value.format(url=self.url) for name, value in self.environment.items()}

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body; raise Refused."""
        raise NotImplementedError

    def given(self, name: str) -> bytes:
        """The bytes of a file as they are downloaded."""
        data = self.files[name]
        return bytes([data[0] ^ 1]) + data[1:] if name in self.faults.spoiled else data


class Request(http.server.BaseHTTPRequestHandler):
    """One request; the body is read by the host when it wants it."""

    protocol_version = "HTTP/1.1"
    server: Server
    unread = False
    """The body was refused without being read."""

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""

    @property
    def where(self) -> str:
        return unquote(urlsplit(self.path).path)

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def body(self) -> bytes:
        """A small body, whole."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def upload(self) -> bytes:
        """A file's body, with the faults that were asked for."""
        faults = self.server.host.faults
        if faults.upload_status:
            self.unread = True
            raise Refused(faults.upload_status, "no room")
        left, pieces = int(self.headers["Content-Length"]), []
        done = 0
        while left:
            limits = [limit for limit in (faults.hold_after_bytes, faults.cut_after_bytes) if limit is not None]
            piece = self.rfile.read(min([left, PIECE_BYTES, *(limit - done for limit in limits if limit > done)]))
            if not piece:
                raise ConnectionError("the client is gone")
            pieces.append(piece)
            done, left = done + len(piece), left - len(piece)
            if faults.hold_after_bytes is not None and done >= faults.hold_after_bytes:
                faults.held.set()
                faults.go_on.wait()
                raise ConnectionError("the client was held until it was gone")
            if faults.cut_after_bytes is not None and done >= faults.cut_after_bytes:
                raise ConnectionError("cut")
        return b"".join(pieces)

    def serve(self) -> None:
        host = self.server.host
        try:
            if host.faults.status:
                raise Refused(host.faults.status, "refused by the test")
            status, headers, data = host.answer(self)
        except Refused as refusal:
            status, headers = refusal.status, {"Content-Type": "application/json"}
            data = json.dumps({"message": refusal.said, "error": refusal.said, "Message": refusal.said}).encode()
            if not self.unread:
                self.body()
        except ConnectionError:
            self.close_connection = True
            return
        self.close_connection = True  # a client that keeps connections would keep the server's threads too
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = serve


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, host: Host) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.host = host

    def handle_error(self, *_: object) -> None:
        """A client that goes away is part of the tests."""


@contextlib.contextmanager
def serving(host: Host) -> Iterator[Host]:
    """Serve ``host`` until the block ends; its ``url`` is set."""
    with Server(host) as server, running(host, server.server_port, server.serve_forever, server.shutdown):
        yield host


@contextlib.contextmanager
def running(host: Host, port: int, serve: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """Call ``serve`` in a thread until the block ends; ``stop`` makes it return."""
    host.url = f"http://127.0.0.1:{port}"
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        host.faults.go_on.set()
        stop()
        thread.join()


def reply(data: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps(data).encode()


def need_token(request: Request, scheme: str = "Bearer") -> None:
    if request.headers.get("Authorization") != f"{scheme} {TOKEN}":
        raise Refused(401, "Bad credentials")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
