"""The router and its answers, called as uvicorn calls them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from oneclick.server.http.asgi import ClientDisconnect, JSONResponse, NoRoute, Request, Response, Router


def call(router: Router, path: str, method: str = "GET", parts: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """Return the messages that ``router`` sends for one request with these body messages."""
    sent: list[Any] = []
    waiting = list(parts)

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": [(b"X-A", b"1"), (b"x-a", b"2")]}
    asyncio.run(router(scope, receive, send))
    return sent


def told(request: Request, error: Exception) -> Response:
    status = 500
    if isinstance(error, NoRoute):
        status = 405 if error.allowed else 404
    return Response(repr(error), status)


async def hello(request: Request) -> Response:
    return Response(request.headers["x-a"], media_type="text/plain", headers={"X-More": "ü"})


def test_an_answer_has_its_length_type_and_headers() -> None:
    router = Router(told)
    router.add("/", hello)
    start, body = call(router, "/")
    assert start["status"] == 200
    assert dict(start["headers"]) == {b"x-more": b"\xfc", b"content-type": b"text/plain", b"content-length": b"1"}
    assert body["body"] == b"1"


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_no_length(status: int) -> None:
    assert Response(status_code=status).raw_headers == []


def test_json_is_compact_utf8_and_refuses_what_json_cannot_say() -> None:
    assert JSONResponse({"名": [1, None]}).body == '{"名":[1,null]}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        JSONResponse(float("nan"))


def test_paths_methods_and_prefixes() -> None:
    async def rest(request: Request) -> Response:
        return JSONResponse(request.scope["rest"])

    router = Router(told)
    router.add("/m/*", rest)
    router.add("/post", hello, ["POST"])
    assert json.loads(call(router, "/m/a/b")[1]["body"]) == "a/b"
    assert call(router, "/post", "POST")[0]["status"] == 200
    assert call(router, "/post")[0]["status"] == 405
    assert b"POST" in call(router, "/post")[1]["body"]
    assert call(router, "/m")[0]["status"] == 404


def test_a_bug_is_told_unless_half_an_answer_is_out() -> None:
    class Half:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ZeroDivisionError

    async def bug(request: Request) -> Response:
        raise ZeroDivisionError

    async def half(request: Request) -> Any:
        return Half()

    router = Router(told)
    router.add("/bug", bug)
    router.add("/half", half)
    assert call(router, "/bug")[0]["status"] == 500
    with pytest.raises(ZeroDivisionError):
        call(router, "/half")


def test_a_body_comes_in_parts_and_a_client_that_leaves_is_noticed() -> None:
    async def length(request: Request) -> Response:
        return JSONResponse([len(part) async for part in request.stream()])

    router = Router(lambda request, error: Response(status_code=499 if isinstance(error, ClientDisconnect) else 500))
    router.add("/", length)
    more = {"type": "http.request", "body": b"abc", "more_body": True}
    last = {"type": "http.request", "body": b"d"}
    assert json.loads(call(router, "/", parts=(more, last))[1]["body"]) == [3, 1]
    assert call(router, "/", parts=(more, {"type": "http.disconnect"}))[0]["status"] == 499
