"""The HTTP interface. ``create_app(runtime)`` makes the ASGI application; ``serve.run_server`` serves it.

Every API path also answers without ``/v1``, with it twice, with doubled slashes and with a slash at the end. Errors are
``{"error": {"message", "type", "param", "code", "x_oneclick": {"message": {"zh", "en"}}}}``; ``message`` has a Chinese
and an English line.

OpenAI's interface
    GET  /v1/models, /v1/models/{id}     any id is found; the list holds "gpt-3.5-turbo" and "chatglm3-6b"
    POST /v1/chat/completions            stream or not; tools; any model name
                                         "continue_final_message": true goes on with a last message of the assistant
    POST /v1/completions                 the prompt as it is, without roles
Ours
    GET  /health     200 when the model answers, else 503:
                     {"status": "ok" | "loading" | "no_model" | "failed", "phase", "progress", "queue": {...}}
    GET  /status     {"phase", "progress", "message": {"zh", "en"} | null, "details": {...}, "port", "version",
                      "model": {"id", "name", "file", "type", "architecture"} | null,
                      "engine": {"version", "features", "level", "chunked", "load_s"} | null,
                      "context": {"total", "prompt", "default_answer"} (tokens), "worker": {"pid", "exits"},
                      "queue": {"running", "waiting", "limit"}}   phases: oneclick/status.py
    GET  /metrics    Prometheus text          GET /openapi.json    this interface, described
    POST /tokenize   {"content": text} or {"messages": [...]} -> {"tokens": [ids], "count": n, "context": n}
    POST /oneclick/download    {"action": "start" | "pause", "model": "q4_0"} -> 202 {"phase": ...}; needs the header
                     X-OneClick-Token with the token of the page's <meta name="oneclick-token">
    GET  /           the chat page, and its files at the paths they have below web/

Streams (``text/event-stream``), besides OpenAI's chunks and ``[DONE]``
    ``: keep-alive``                     a comment after 10 s of silence
    ``: {...}``                          a comment with JSON about what happens, which other clients ignore:
        {"queue_position": 1}                             1 is next
        {"prompt_progress": 0.14, "prompt": {"done": 128, "total": 900, "cached": 64, "left_s": 12.5}}
                                                          share of the prompt read; tokens; an estimate in seconds
        {"dropped_messages": 4, "dropped_tokens": 812}    old messages that no longer fit
    the chunk with ``finish_reason`` has ``timings`` (names of llama.cpp's server; milliseconds, tokens per second):
        {"queue_ms", "cache_n", "prompt_n", "prompt_ms", "prompt_per_second",
         "predicted_n", "predicted_ms", "predicted_per_second"}
        and ``x_oneclick``: {"dropped_messages", "dropped_tokens", "context"}
    ``data: {"error": {...}}``           something went wrong after the start; the stream ends
Answers that are not streams have ``timings`` and ``x_oneclick`` too. Header ``X-OneClick-Dropped-Messages`` says how
many old messages were left out. A client that goes away ends its request, wherever that stands.
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path
from typing import Any, Awaitable, Callable, MutableMapping

from oneclick.messages import both
from oneclick.server.api.openai import chat_completions, completions, tokenize
from oneclick.server.api.openapi import document
from oneclick.server.api_errors import ApiError, broken
from oneclick.server.http import assets, gate
from oneclick.server.http.asgi import ClientDisconnect, JSONResponse, NoRoute, Request, Response, Router
from oneclick.server.http.streams import error_response, read_json
from oneclick.server.runtime import Runtime

log = logging.getLogger("oneclick.server")

API_PATHS = ("chat/completions", "completions", "models", "embeddings", "responses", "audio", "images", "health")
OPEN_PATHS = frozenset(("/health", "/v1/health"))
"""Answered without the API key, besides the page's files."""
MODEL_NAMES = ("gpt-3.5-turbo",)
"""Names in the list besides our own: old clients offer only names they know."""

Handler = Callable[[Request], Awaitable[Any]]


def canonical_path(path: str) -> str:
    """Return the one path a request means: ``//v1/v1/models/`` is ``/v1/models``, ``/health`` stays."""
    segments = [segment for segment in path.split("/") if segment]
    plain = list(segments)
    while plain and plain[0] == "v1":
        plain.pop(0)
    rest = "/".join(plain)
    if any(rest == name or rest.startswith(name + "/") for name in API_PATHS):
        return "/v1/" + rest
    return "/" + "/".join(segments)


class Gate:
    """The outermost layer: paths, Host, Origin, key, and the headers every answer carries."""

    def __init__(self, app: Any, runtime: Runtime, files: dict[str, Path]) -> None:
        self._app = app
        self._runtime = runtime
        self._files = files
        self._hosts: frozenset[str] = frozenset(name.lower() for name in runtime.config.allow_hosts)

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

        config = self._runtime.config
        try:
            gate.check_head(scope, headers, self._hosts, config.allow_origins)
            origin = headers.get("origin")
            if origin:
                extra += gate.cors_headers(origin[0])
            scope["path"] = canonical_path(scope["path"])
            if scope["method"] == "OPTIONS":
                response = Response(status_code=204)
                response.raw_headers += gate.preflight_headers(headers)
                await response(scope, receive, send_with_extra)
                return
            self._check_key(scope, headers)
        except ApiError as error:
            log.info("%s: %d %s", request_id, error.status, error.code)
            await error_response(error)(scope, receive, send_with_extra)
            return
        await self._app(scope, receive, send_with_extra)

    def _check_key(self, scope: MutableMapping[str, Any], headers: dict[str, list[str]]) -> None:
        wanted = self._runtime.config.api_key
        path = scope["path"]
        if not wanted or path in OPEN_PATHS or (path in self._files and scope["method"] in ("GET", "HEAD")):
            return
        if gate.same_secret(gate.key_given(headers), wanted):
            return
        # The page's own token stands for the key; only this machine's browsers get one.
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
        ("/tokenize", tokenize),
        ("/oneclick/download", _download),
    ):
        router.add(path, _posted(runtime, answer_post), ["POST"])
    for path, answer_get in (
        ("/v1/models", _models),
        ("/v1/models/*", _model),
        ("/v1/health", _health),
        ("/status", _status),
        ("/metrics", _metrics),
        ("/openapi.json", _openapi),
    ):
        router.add(path, _answered(runtime, answer_get))
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


def _asset(runtime: Runtime, file: Path) -> Handler:
    async def endpoint(request: Request) -> Any:
        local = request.client_host in (None, "127.0.0.1", "::1")
        content, media_type, tag = assets.read(file, runtime.token if local else None)
        headers = {**assets.SECURITY_HEADERS, "etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return endpoint


def _model_object(runtime: Runtime, name: str) -> dict[str, Any]:
    limits = runtime.limits
    return {
        "id": name,
        "object": "model",
        "created": runtime.model_created,
        "owned_by": "oneclick",
        "permission": [],
        # What Chatbox and others read about a model.
        "name": runtime.display_name,
        "context_length": limits.context,
        "max_completion_tokens": limits.default_answer,
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    }


def _models(runtime: Runtime, request: Request) -> Response:
    names = list(dict.fromkeys((*MODEL_NAMES, runtime.config.model_name)))
    return JSONResponse({"object": "list", "data": [_model_object(runtime, name) for name in names]})


def _model(runtime: Runtime, request: Request) -> Response:
    return JSONResponse(_model_object(runtime, request.scope["rest"]))


def _health(runtime: Runtime, request: Request) -> Response:
    snapshot = runtime.status.get()
    ready = snapshot.phase == "ready" and not runtime.closing
    words = {"ready": "ok", "failed": "failed", "no_model": "no_model"}
    body: dict[str, Any] = {
        "status": words.get(snapshot.phase, "loading"),
        "phase": snapshot.phase,
        "progress": snapshot.progress,
        "queue": {"running": int(runtime.busy), "waiting": runtime.queue_length()},
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
        }
    )


def _metrics(runtime: Runtime, request: Request) -> Response:
    ready = runtime.status.get().phase == "ready"
    text = runtime.metrics.prometheus(ready, int(runtime.busy), runtime.queue_length())
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _openapi(runtime: Runtime, request: Request) -> Response:
    return JSONResponse(document(runtime.config.version))


async def _download(runtime: Runtime, request: Request, body: Any) -> Response:
    if not gate.same_secret(request.headers.get("x-oneclick-token"), runtime.token):
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
    return error_response(error)


def _no_route(request: Request, error: NoRoute) -> ApiError:
    path = request.scope["path"]
    if error.allowed:
        headers = {"allow": error.allowed}
        return ApiError(405, "server.method", code="method_not_allowed", headers=headers, allowed=error.allowed)
    if path.startswith(("/v1/embeddings", "/v1/responses", "/v1/audio", "/v1/images")):
        return ApiError(404, "server.not_offered", code="not_supported", path=path)
    host = request.headers.get("host", "127.0.0.1")
    return ApiError(404, "server.path", code="unknown_url", path=path[:200], base=f"http://{host}")
