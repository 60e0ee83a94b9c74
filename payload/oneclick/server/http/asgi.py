"""Requests, responses and routes of an ASGI application: the little of a web framework that this server uses.

Starlette brought anyio, an HTTP client and a form parser with it: a third of the whole start, for nine routes.
"""

from __future__ import annotations

import json
from typing import Any, AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODYLESS = (204, 304)
"""Statuses whose answers have neither body nor Content-Length (RFC 9110, 8.6), besides 1xx."""


class ClientDisconnect(Exception):
    """The client went away before its request was complete or answered."""


class NoRoute(Exception):
    """Nobody answers this path (404), or not with this method (405): ``allowed`` then names the ones that are."""

    def __init__(self, allowed: str = "") -> None:
        self.allowed = allowed
        super().__init__(allowed)


class Request:
    """One HTTP request."""

    def __init__(self, scope: Message, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.headers: dict[str, str] = {}
        """Names in lower case; the first of several headers of one name."""
        for name, value in scope["headers"]:
            self.headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the parts of the body. Raises ClientDisconnect when the client goes away before its end."""
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            yield message.get("body", b"")


class Response:
    """One whole answer."""

    def __init__(
        self,
        content: bytes | str = b"",
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = "",
    ) -> None:
        self.status_code = status_code
        self.body = content.encode("utf-8") if isinstance(content, str) else content
        self.raw_headers: list[tuple[bytes, bytes]] = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()
        ]
        if media_type:
            self.raw_headers.append((b"content-type", media_type.encode("latin-1")))
        if status_code >= 200 and status_code not in BODYLESS:
            self.raw_headers.append((b"content-length", b"%d" % len(self.body)))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


class JSONResponse(Response):
    """``content`` as JSON. Raises ValueError for NaN and infinity, which JSON does not know.

    Its charset is said although JSON has only one: PowerShell 5.1 reads Latin-1 otherwise.
    """

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # What a request said is sometimes repeated, and half an emoji in it has no UTF-8.
        body = text.encode("utf-8", "replace")
        super().__init__(body, status_code, headers, "application/json; charset=utf-8")


Endpoint = Callable[[Request], Awaitable[Any]]
"""Returns a Response, or another ASGI application that answers."""
OnError = Callable[[Request, Exception], Response]


class Router:
    """The ASGI application that finds the endpoint of a path; whatever an endpoint raises goes to ``on_error``."""

    def __init__(self, on_error: OnError) -> None:
        self._on_error = on_error
        self._endpoints: dict[str, tuple[tuple[str, ...], Endpoint]] = {}
        self._prefixes: dict[str, tuple[tuple[str, ...], Endpoint]] = {}

    def add(self, path: str, endpoint: Endpoint, methods: Iterable[str] = ("GET", "HEAD")) -> None:
        """Answer ``path``; one that ends with ``*`` stands for all that begin so, the rest is in ``scope["rest"]``."""
        table = self._prefixes if path.endswith("*") else self._endpoints
        table[path.rstrip("*")] = (tuple(methods), endpoint)

    def _find(self, scope: Message) -> Endpoint:
        path: str = scope["path"]
        found = self._endpoints.get(path)
        if found is None:
            for prefix, entry in self._prefixes.items():
                if path.startswith(prefix):
                    scope["rest"] = path[len(prefix) :]
                    found = entry
        if found is None:
            raise NoRoute
        methods, endpoint = found
        if scope["method"] in methods:
            return endpoint
        allowed = ", ".join(methods)
        if scope["method"] == "HEAD":
            # Programs look this way whether anybody is there.
            async def head(request: Request) -> Response:
                return Response(headers={"allow": allowed})

            return head
        raise NoRoute(allowed)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        began = False

        async def watched_send(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            answer = await self._find(scope)(request)
            await answer(scope, receive, watched_send)
        except Exception as error:
            response = self._on_error(request, error)
            if began:
                raise  # Half an answer is out: only closing the connection tells the client.
            await response(scope, receive, watched_send)
