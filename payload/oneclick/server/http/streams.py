"""Bodies in, answers out: bounded reading, error answers, and streams that notice when nobody listens any more."""

from __future__ import annotations

import asyncio
import json
from typing import Any, AsyncIterator, Awaitable, MutableMapping, TypeVar

from oneclick.server.api_errors import ApiError, too_large, unavailable
from oneclick.server.chat.body_text import JsonObject, check_not_lost, decode, parse_json, unpack
from oneclick.server.http.asgi import ClientDisconnect, JSONResponse, Request, Response
from oneclick.server.http.gate import MAX_BODY_BYTES

Result = TypeVar("Result")

MAX_HELD_BYTES = 64 << 20
"""Of bodies that are still coming, all together."""

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    # Asks proxies between us and the client not to collect the stream first.
    "x-accel-buffering": "no",
}


# json.dumps would make a new encoder for every token.
_to_json = json.JSONEncoder(separators=(",", ":")).encode


def encode(value: Any) -> bytes:
    """Return ``value`` as JSON in ASCII."""
    return _to_json(value).encode("ascii")


class _Held:
    """How much of all bodies that are still coming lies in memory. The event loop's thread alone counts."""

    size_bytes = 0


async def _read_body(request: Request) -> bytes:
    """Return the body. ApiError 413 for a long one, 503 where all of them together are too much for a PC of 8 GB."""
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            _Held.size_bytes += len(part)
            if len(body) > MAX_BODY_BYTES:
                raise too_large(MAX_BODY_BYTES)
            if _Held.size_bytes > MAX_HELD_BYTES:
                raise unavailable("server.bodies", "too_many_bodies")
        return bytes(body)
    finally:
        _Held.size_bytes -= len(body)


async def read_json(request: Request) -> JsonObject:
    """Return the request's JSON object, whatever media type it claims (curl without -H claims a form)."""
    body = await _read_body(request)
    headers = request.headers
    plain = unpack(body, headers.get("content-encoding", ""), MAX_BODY_BYTES)
    text = decode(plain, headers.get("content-type", ""))
    value = parse_json(text)
    if "origin" not in headers and "sec-fetch-mode" not in headers:  # browsers lose nothing
        check_not_lost(text, value)
    return value


def error_response(error: ApiError, path: str) -> Response:
    """Return ``error`` as the clients of ``path`` read it; the connection of a body nobody read is closed."""
    headers = dict(error.headers)
    if error.status in (403, 413):
        headers["connection"] = "close"
    body = error.ollama_body() if path.startswith("/api/") else error.body()
    return JSONResponse(body, status_code=error.status, headers=headers)


def event(data: dict[str, Any]) -> bytes:
    """Return one event. ASCII only: old clients decode network packets one by one and would break characters."""
    return b"data: " + encode(data) + b"\n\n"


def named_event(name: str, data: dict[str, Any]) -> bytes:
    """Return one event of a stream whose events have names."""
    return b"event: " + name.encode("ascii") + b"\n" + event(data)


def comment(data: dict[str, Any]) -> bytes:
    """Return news for our own page, which asked for them."""
    return b": " + encode(data) + b"\n\n"


SILENCE = b": keep-alive\n"
"""A sign of life. One line break: it is the first line of the next event, as no strict reader expects an event without
data."""
END = b"data: [DONE]\n\n"


async def until_disconnect(receive: Any) -> None:
    """Return when the client is gone (after its body was read completely)."""
    while True:
        message: MutableMapping[str, Any] = await receive()
        if message["type"] == "http.disconnect":
            return


async def while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """Return the result of ``work``; cancel it and raise ClientDisconnect when the client goes away first."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(until_disconnect(request.receive))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        # Before Python 3.12 wait_for() swallows a cancellation that meets its result: ask until it is heard.
        while not (task.done() and watcher.done()):
            task.cancel()
            watcher.cancel()
            await asyncio.wait({task, watcher}, timeout=0.05)
        await asyncio.gather(task, watcher, return_exceptions=True)


class SlowAnswer:
    """A JSON answer that may take minutes.

    Some clients and proxies give up after 60 s without a byte. JSON may begin with white space: so after ``patience_s``
    the head is sent and then a line break now and then. A failure before that has its own status, one after it is
    told in the body.
    """

    def __init__(self, work: Awaitable[dict[str, Any]], headers: dict[str, str], patience_s: float) -> None:
        self._work = work
        self._headers = headers
        self._patience_s = patience_s

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.ensure_future(self._work)
        try:
            await asyncio.wait({task}, timeout=self._patience_s)
            if task.done():
                await JSONResponse(task.result(), headers=self._headers)(scope, receive, send)
            else:
                await self._send_slowly(task, send)
        except ClientDisconnect:
            return
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _send_slowly(self, task: asyncio.Future[dict[str, Any]], send: Any) -> None:
        blank = JSONResponse(None, headers=self._headers)
        headers = [(name, value) for name, value in blank.raw_headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while not task.done():
            await send({"type": "http.response.body", "body": b"\n", "more_body": True})
            await asyncio.wait({task}, timeout=self._patience_s)
        try:
            answer = task.result()
        except ApiError as error:
            answer = error.body()
        await send({"type": "http.response.body", "body": JSONResponse(answer).body})


class EventStream:
    """An answer whose parts are sent one by one, each in a single write."""

    def __init__(self, parts: AsyncIterator[bytes], headers: dict[str, str] | None = None) -> None:
        """``parts`` is closed in any case, so that its ``finally`` runs when the client goes away."""
        self._parts = parts
        self._headers = {**STREAM_HEADERS, **(headers or {})}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        try:
            await while_connected(request, self._send(send))
        except ClientDisconnect:
            return

    async def _send(self, send: Any) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._headers.items()]
        parts: Any = self._parts
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await parts.aclose()
