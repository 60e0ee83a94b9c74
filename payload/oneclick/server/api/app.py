"""The HTTP interface. ``create_app(runtime)`` makes the ASGI application; ``serve.run_server`` serves it.

Described for people in docs/api.md, for machines by openapi.py. Besides OpenAI's and Ollama's addresses there are ours:

    GET  /health     200 when the model answers, else 503:
                     {"status": "ok" | "loading" | "no_model" | "failed", "phase", "progress", "queue": {...}}
    GET  /status     {"phase", "progress", "message": {"zh", "en"} | null, "details": {...}, "port", "version",
                      "model": {"id", "name", "file", "type", "architecture"} | null,
                      "engine": {"version", "features", "level", "chunked", "load_s"} | null,
                      "context": {"total", "prompt", "default_answer"} (tokens), "worker": {"pid", "exits"},
                      "queue": {"running", "waiting", "limit"}}   phases: oneclick/status.py
                     with the page's token also "strangers": [{"kind": "origin" | "host", "name"}] that await an answer
    GET  /metrics    Prometheus text          GET /openapi.json    the interface, described
    POST /oneclick/download    {"action": "start" | "pause", "model": "q4_0"} -> 202 {"phase": ...}; needs the header
                     X-OneClick-Token with the token of the page's <meta name="oneclick-token">
    /oneclick/chats  the page's conversations, for the page alone: server/chats/desk.py
    POST /oneclick/strangers   {"kind", "name", "answer": "once" | "always" | "no"} -> {"message": {"zh", "en"} | null};
                     the same header, from this PC under a loopback name
    GET  /           the chat page, and its files at the paths they have below web/
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path
from typing import Any, Awaitable, Callable, MutableMapping

from oneclick.messages import both
from oneclick.server.api import ollama, refusals, strangers
from oneclick.server.api.models import list_models, one_model
from oneclick.server.api.openai import chat_completions, completions, detokenize, tokenize
from oneclick.server.api.openapi import document
from oneclick.server.api.responses import responses
from oneclick.server.api_errors import ApiError, broken
from oneclick.server.http import assets, gate
from oneclick.server.http.asgi import ClientDisconnect, JSONResponse, NoRoute, Request, Response, Router
from oneclick.server.http.streams import error_response, read_json
from oneclick.server.runtime import Runtime

log = logging.getLogger("oneclick.server")

API_PATHS = ("chat/completions", "completions", "responses", "models", "health", *refusals.API_PATHS)
"""What is known below /v1."""
PREFIXES = (("v1",), ("openai", "v1"), ("api", "v1"), ("api", "paas", "v4"), ("api", "coding", "paas", "v4"))
"""What programs put before it: those that know other services have it built in (the third and later: Zhipu's)."""
OPEN_PATHS = frozenset(("/health", "/v1/health"))
"""Answered without the API key, besides the page's files."""

Handler = Callable[[Request], Awaitable[Any]]


def canonical_path(path: str) -> str:
    """Return the one path a request means: ``//v1/v1/models/`` is ``/v1/models``, ``/health`` stays."""
    segments = [segment for segment in path.split("/") if segment]
    plain = _without_prefixes(segments)
    rest = "/".join(plain)
    if any(rest == name or rest.startswith(name + "/") for name in API_PATHS):
        return "/v1/" + rest
    if segments and not plain:
        return "/v1"  # the address itself, as it is entered in programs
    return "/" + "/".join(segments)


def _without_prefixes(segments: list[str]) -> list[str]:
    for prefix in PREFIXES:
        if tuple(segments[: len(prefix)]) == prefix:
            return _without_prefixes(segments[len(prefix) :])
    return segments


class Gate:
    """The outermost layer: paths, Host, Origin, key, and the headers every answer carries."""

    def __init__(self, app: Any, runtime: Runtime, files: dict[str, Path]) -> None:
        self._app = app
        self._runtime = runtime
        self._files = files

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = gate.headers_of(scope)
        request_id = "req_" + secrets.token_hex(8)
        scope["oneclick.request_id"] = request_id
        extra = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]

        async def send_with_extra(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        known = self._runtime.strangers
        try:
            gate.check_head(scope, headers, known.hosts, known.origins)
            origin = headers.get("origin")
            scope["path"] = canonical_path(scope["path"])
            if origin and scope["path"] not in self._files:  # nobody else's page reads ours, which may hold the token
                extra += gate.cors_headers(origin[0])
            if scope["method"] == "OPTIONS":
                response = Response(status_code=204)
                response.raw_headers += gate.preflight_headers(headers)
                await response(scope, receive, send_with_extra)
                return
            self._check_key(scope, headers)
        except ApiError as error:
            log.info("%s: %d %s", request_id, error.status, error.code)
            known.turned_away(error)
            await error_response(error, scope["path"])(scope, receive, send_with_extra)
            return
        await self._app(scope, receive, send_with_extra)

    def _check_key(self, scope: MutableMapping[str, Any], headers: dict[str, list[str]]) -> None:
        wanted = self._runtime.config.api_key
        path = scope["path"]
        if not wanted or path in OPEN_PATHS or (path in self._files and scope["method"] in ("GET", "HEAD")):
            return
        if gate.same_secret(gate.key_given(headers), wanted):
            return
        # The token stands for the key in the page that the launcher opened; with a key set nobody else is given one.
        if gate.same_secret(next(iter(headers.get("x-oneclick-token", [])), None), self._runtime.token):
            return
        raise ApiError(
            401,
            "server.api_key",
            code="invalid_api_key",
            kind="authentication_error",
            headers={"www-authenticate": "Bearer"},
        )


def create_app(runtime: Runtime) -> Gate:
    """Return the ASGI application."""
    files = assets.table()
    router = Router(_on_error)
    for path, answer_post in (
        ("/v1/chat/completions", chat_completions),
        ("/v1/completions", completions),
        ("/v1/responses", responses),
        ("/tokenize", tokenize),
        ("/detokenize", detokenize),
        ("/api/chat", ollama.chat),
        ("/api/generate", ollama.generate),
        ("/api/show", ollama.show),
        ("/oneclick/download", _download),
        ("/oneclick/strangers", strangers.decide),
    ):
        router.add(path, _posted(runtime, answer_post), ["POST"])
    for path, answer_get in (
        ("/v1", list_models),
        ("/v1/models", list_models),
        ("/v1/models/*", one_model),
        ("/api/version", ollama.version),
        ("/api/tags", ollama.tags),
        ("/api/ps", ollama.running),
        ("/v1/health", _health),
        ("/status", _status),
        ("/metrics", _metrics),
        ("/openapi.json", _openapi),
    ):
        router.add(path, _answered(runtime, answer_get))
    for path in ("/oneclick/chats", "/oneclick/chats/*"):
        router.add(path, _chats(runtime), ["GET", "POST", "PUT", "DELETE"])
    for path, file in files.items():
        router.add(path, _asset(runtime, file))
    return Gate(router, runtime, files)


def _posted(runtime: Runtime, handler: Callable[[Runtime, Request, Any], Awaitable[Any]]) -> Handler:
    async def endpoint(request: Request) -> Any:
        try:
            return await handler(runtime, request, await read_json(request))
        except ClientDisconnect:
            # nginx's number for it; nobody is there to read it.
            return Response(status_code=499)

    return endpoint


def _answered(runtime: Runtime, handler: Callable[[Runtime, Request], Response]) -> Handler:
    async def endpoint(request: Request) -> Any:
        return handler(runtime, request)

    return endpoint


def _chats(runtime: Runtime) -> Handler:
    async def endpoint(request: Request) -> Any:
        from oneclick.server.chats.desk import answer  # the page asks once it is shown: no start waits for it

        return await answer(runtime, request)

    return endpoint


def _asset(runtime: Runtime, file: Path) -> Handler:
    async def endpoint(request: Request) -> Any:
        may_have_token = not runtime.config.api_key and gate.is_own_page(request.scope, gate.headers_of(request.scope))
        content, media_type, tag = assets.read(file, runtime.token if may_have_token else None)
        headers = {**assets.SECURITY_HEADERS, "etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return endpoint


def _health(runtime: Runtime, request: Request) -> Response:
    snapshot = runtime.status.get()
    ready = snapshot.phase == "ready" and not runtime.closing
    words = {"ready": "ok", "failed": "failed", "no_model": "no_model"}
    body: dict[str, Any] = {
        "status": words.get(snapshot.phase, "loading"),
        "phase": snapshot.phase,
        "progress": snapshot.progress,
        "queue": {"running": int(runtime.queue.busy), "waiting": len(runtime.queue)},
        "name": "chatglm3-oneclick",
    }
    if ready:
        return JSONResponse(body)
    # The shape llama.cpp's clients know.
    body["error"] = {"message": "Loading model", "type": "unavailable_error", "param": None, "code": 503}
    return JSONResponse(body, status_code=503, headers={"retry-after": "1"})


def _status(runtime: Runtime, request: Request) -> Response:
    snapshot = runtime.status.get()
    message: dict[str, str] | None = None
    if snapshot.message_key:
        chinese, english = both(snapshot.message_key, **snapshot.message_values)
        message = {"zh": chinese, "en": english}
    return JSONResponse(
        {
            "phase": snapshot.phase,
            "progress": snapshot.progress,
            "message": message,
            "details": dict(snapshot.details),
            "port": runtime.port,
            "version": runtime.config.version,
            **runtime.figures(),
            **strangers.waiting(runtime, request),
        }
    )


def _metrics(runtime: Runtime, request: Request) -> Response:
    ready = runtime.status.get().phase == "ready"
    text = runtime.metrics.prometheus(ready, int(runtime.queue.busy), len(runtime.queue))
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _openapi(runtime: Runtime, request: Request) -> Response:
    return JSONResponse(document(runtime.config.version))


async def _download(runtime: Runtime, request: Request, body: Any) -> Response:
    # Where a key is set the gate has asked for it, or for the token, already.
    token = request.headers.get("x-oneclick-token")
    if not runtime.config.api_key and not gate.same_secret(token, runtime.token):
        raise ApiError(403, "server.page_token", code="token_required", kind="permission_error")
    downloads = runtime.downloads
    if downloads is None:
        raise ApiError(409, "server.no_downloads", code="not_available")
    action, model = body.get("action"), body.get("model", "")
    if action not in ("start", "pause") or not isinstance(model, str):
        raise ApiError(400, "server.download_action", code="invalid_action", param="action")
    if action == "start":
        downloads.start(model)
    else:
        downloads.pause()
    return JSONResponse({"phase": runtime.status.get().phase}, status_code=202)


def _on_error(request: Request, error: Exception) -> Response:
    """Return what the client is told about whatever an endpoint raised."""
    if isinstance(error, NoRoute):
        error = _no_route(request, error)
    if not isinstance(error, ApiError):
        request_id = request.scope.get("oneclick.request_id")
        log.error("%s: a bug in the server", request_id, exc_info=error)
        error = broken("server.bug", "internal_error", request_id=request_id)
    elif error.status >= 500:
        log.info("%s: %d %s", request.scope.get("oneclick.request_id"), error.status, error.code)
    return error_response(error, request.scope["path"])


def _no_route(request: Request, error: NoRoute) -> ApiError:
    path = request.scope["path"]
    refused = refusals.refusal(path)
    if refused is not None:
        return refused
    if error.allowed:
        headers = {"allow": error.allowed}
        return ApiError(405, "server.method", code="method_not_allowed", headers=headers, allowed=error.allowed)
    host = request.headers.get("host", "127.0.0.1")
    return ApiError(404, "server.path", code="unknown_url", path=path[:200], base=f"http://{host}")
