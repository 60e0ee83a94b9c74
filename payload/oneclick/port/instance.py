"""Recognise our own server that already runs from this folder, so that a second double-click opens its page.

``logs/running.json`` names port and run; the server at that port must answer ``GET /health`` with the same run in its
``X-OneClick-Run`` header. Neither a file left by a crash nor a foreign program on the port is mistaken for ours.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Awaitable, Callable, MutableMapping

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

RUN_HEADER = "X-OneClick-Run"
ANSWER_TIMEOUT_S = 15.0
"""A slow PC may need seconds until its server answers; only a foreign program that stays silent costs all of it."""


@dataclass(frozen=True)
class Instance:
    """One run of the server."""

    host: str
    port: int
    run: str
    """Random name of this run; it is told to everyone who can reach the server and opens nothing."""
    token: str = field(default="", repr=False)
    """What the page of this run needs and is not given by itself, because an API key is set; else empty.

    It lies in the folder that holds the key itself, in 设置.toml: who can read the one can read the other.
    """

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://{url_host(self.host)}:{self.port}/"

    @property
    def page(self) -> str:
        """The address of the chat page, with the token it needs, which it hides at once."""
        return self.url + (f"#token={self.token}" if self.token else "")


def url_host(host: str) -> str:
    """Return ``host`` as a browser on this PC writes it."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def new_token() -> str:
    """Return a secret for one run."""
    return secrets.token_urlsafe(24)


def new_instance(host: str, port: int, *, has_key: bool = False) -> Instance:
    """Return an instance with a fresh name; ``has_key``: its page needs a token."""
    return Instance(host, port, secrets.token_hex(16), new_token() if has_key else "")


def announce(instance: Instance, file: Path) -> None:
    """Write ``instance`` to ``file``; in a folder that cannot be written a second start just takes another port."""
    text = json.dumps(asdict(instance))
    with suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")


def withdraw(instance: Instance, file: Path) -> None:
    """Remove ``file`` if it still names ``instance``."""
    if announced(file) == instance:
        with suppress(OSError):
            file.unlink()


def announced(file: Path) -> Instance | None:
    """Return the instance that ``file`` names; None where there is none or the file is damaged."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return Instance(str(data["host"]), int(data["port"]), str(data["run"]), str(data.get("token", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def running(file: Path, *, wait_s: float = 0.0) -> Instance | None:
    """Return the instance that ``file`` names if it really answers, trying for ``wait_s`` seconds."""
    give_up = time.monotonic() + wait_s
    while True:
        instance = announced(file)
        if instance and answers(instance):
            return instance
        if time.monotonic() >= give_up:
            return None
        time.sleep(0.1)


def answers(instance: Instance, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
    """Ask the server at the instance's port who it is; no proxy is ever asked."""
    import http.client  # Only a second start needs it, and it is slow to import.

    host = url_host(instance.host).strip("[]")
    connection = http.client.HTTPConnection(host, instance.port, timeout=timeout_s)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().getheader(RUN_HEADER) == instance.run
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class TellRun:
    """The server's ASGI application with RUN_HEADER on every answer."""

    def __init__(self, app: AsgiApp, run: str) -> None:
        self._app = app
        self._header = (RUN_HEADER.lower().encode("ascii"), run.encode("ascii"))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def send_with_run(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), self._header]
            await send(message)

        await self._app(scope, receive, send_with_run)
