"""Answer the browser in the second before the HTTP server is imported, and hand it every other connection unread.

Answered here: a plain ``GET`` of one of the page's own files under a loopback name, by the same rules as later
(``server.gate``). All else, other names of this PC, API requests, half a request, an idle connection of a browser,
stays in its socket: requests are only peeked at until it is clear that they can be answered. So nothing is lost and
nobody is refused for having come early.
"""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Sequence

from oneclick.port.instance import RUN_HEADER
from oneclick.server.api_errors import ApiError
from oneclick.server.http import assets, gate

POLL_S = 0.02
"""How late a hand-over may be noticed."""
MAX_HEAD_BYTES = 16 << 10
SEND_TIMEOUT_S = 5.0
MOST_WAITING = 200
"""Connections that may wait for the server; ``select`` on Windows takes 512 sockets."""
END_OF_HEAD = b"\r\n\r\n"
LEFT_TO_THE_SERVER = frozenset(("origin", "content-length", "transfer-encoding", "upgrade", "expect", "if-none-match"))
"""Headers of requests that need more than a file as their answer."""


class FirstPage:
    """Serves the page's files on ``listeners`` from ``start`` until ``hand_over``."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        token: str,
        run: str,
        *,
        keep_token: bool = False,
    ) -> None:
        """``token`` and ``run`` as the server will tell them.

        ``keep_token``: whether the page is served without it, as where an API key is asked for.
        """
        self._keep_token = keep_token
        self._listeners = list(listeners)
        self.token = token
        self._run = run
        self._files: dict[str, Path] = {"/": assets.WEB_FOLDER / "index.html"}
        self._all_files_known = False
        self._waiting: list[socket.socket] = []
        """Accepted and still silent."""
        self._kept: list[socket.socket] = []
        """Accepted, with something in them that is not for us."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="first page", daemon=True)

    def start(self) -> None:
        """Begin to answer, in a thread of its own."""
        for listener in self._listeners:
            listener.setblocking(False)
        self._thread.start()

    def hand_over(self) -> list[socket.socket]:
        """Stop answering; return the connections that were accepted and not answered. Nothing at the second call."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        left, self._waiting, self._kept = self._waiting + self._kept, [], []
        return left

    def close(self) -> None:
        """Stop answering and let go of the connections that nobody took over."""
        for connection in self.hand_over():
            connection.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                ready, _, _ = select.select([*self._listeners, *self._waiting], [], [], POLL_S)
            except (OSError, ValueError):  # a socket that was closed under us
                self._waiting = [one for one in self._waiting if one.fileno() >= 0]
                self._ended.wait(POLL_S)
                continue
            for one in ready:
                if one in self._listeners:
                    self._accept(one)
                else:
                    self._look_at(one)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # The client may have gone again.
            connection, _ = listener.accept()
            connection.setblocking(False)
            if len(self._waiting) + len(self._kept) >= MOST_WAITING:
                connection.close()
            else:
                self._waiting.append(connection)

    def _look_at(self, connection: socket.socket) -> None:
        try:
            head = connection.recv(MAX_HEAD_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            head = b""
        self._waiting.remove(connection)
        try:
            file = self._file_asked_for(head)
            if file is None and head:
                self._kept.append(connection)
                return
            if file is not None:
                connection.recv(len(head))
                self._answer(connection, file)
        except OSError:
            pass  # The client is gone.
        connection.close()

    def _file_asked_for(self, head: bytes) -> Path | None:
        """Return the file that answers the request ``head``, None where the answer is not simply a file."""
        if not head.startswith(b"GET /") or head.find(END_OF_HEAD) != len(head) - len(END_OF_HEAD):
            return None
        request_line, *lines = head[: -len(END_OF_HEAD)].split(b"\r\n")
        parts = request_line.split(b" ")
        pairs = [line.partition(b":") for line in lines]
        if len(parts) != 3 or parts[2] != b"HTTP/1.1" or not all(colon and name.isascii() for name, colon, _ in pairs):
            return None
        headers: dict[str, list[str]] = {}
        for name, _, value in pairs:
            headers.setdefault(name.decode("ascii").lower(), []).append(value.strip().decode("latin-1"))
        if LEFT_TO_THE_SERVER & headers.keys():
            return None
        try:
            gate.check_head({"http_version": "1.1"}, headers, frozenset(), ())
        except ApiError:
            return None
        return self._file(parts[1].decode("latin-1").partition("?")[0])

    def _file(self, path: str) -> Path | None:
        if path not in self._files and not self._all_files_known:
            self._files, self._all_files_known = assets.table(), True
        return self._files.get(path)

    def _answer(self, connection: socket.socket, file: Path) -> None:
        local = connection.getpeername()[0] in ("127.0.0.1", "::1")
        content, media_type, tag = assets.read(file, self.token if local and not self._keep_token else None)
        headers = {
            **assets.SECURITY_HEADERS,
            "etag": tag,
            "content-type": media_type,
            "content-length": str(len(content)),
            "x-content-type-options": "nosniff",
            RUN_HEADER: self._run,
            "connection": "close",
        }
        lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        connection.settimeout(SEND_TIMEOUT_S)
        connection.sendall("\r\n".join(lines).encode("latin-1") + content)
