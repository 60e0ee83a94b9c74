"""Bodies in, answers out: bounded reading, error answers, and streams that notice when nobody listens any more."""

from __future__ import annotations

import asyncio
import json
from typing import Any, AsyncIterator, Awaitable, MutableMapping, TypeVar

from oneclick.server.api_errors import ApiError
from oneclick.server.chat.request import JsonObject, parse_json
from oneclick.server.http.asgi import ClientDisconnect, JSONResponse, Request, Response
from oneclick.server.http.gate import MAX_BODY_BYTES, too_large

Result = TypeVar("Result")

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    # Asks proxies between us and the client not to collect the stream first.
    "x-accel-buffering": "no",
}


# json.dumps would make a new encoder for every token.
_encode = json.JSONEncoder(separators=(",", ":")).encode


async def read_json(request: Request) -> JsonObject:
    """Return the request's JSON object, whatever Content-Type it claims (curl without -H claims a form)."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise too_large()
    return parse_json(bytes(body))


def error_response(error: ApiError) -> Response:
    """Return ``error`` as the answer; the connection of a body nobody read is closed."""
    headers = dict(error.headers)
    if error.status in (403, 413):
        headers["connection"] = "close"
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


def event(data: dict[str, Any]) -> bytes:
    """Return one event. ASCII only: old clients decode network packets one by one and would break characters."""
    return b"data: " + _encode(data).encode("ascii") + b"\n\n"


def comment(data: dict[str, Any]) -> bytes:
    """Return news for our own page that every other client skips."""
    return b": " + _encode(data).encode("ascii") + b"\n\n"


KEEP_ALIVE = b": keep-alive\n\n"
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
