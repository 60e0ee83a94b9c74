"""Ollama's interface: /api/chat, /api/generate and what its clients ask about models, translated to a chat and back.

Source of the shapes: https://github.com/ollama/ollama/blob/main/docs/api.md. Errors are ``{"error": "words"}``; streams
are JSON objects, one a line.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any, AsyncIterator

from oneclick.server.api.kitchen import Delta, End, News, Order, order_chat, order_completion
from oneclick.server.api.models import is_known
from oneclick.server.api_errors import ApiError, invalid
from oneclick.server.chat.body_text import JsonObject
from oneclick.server.chat.fields import DONE, IGNORED, REFUSED, Field, Fields, refuse
from oneclick.server.chat.request import parse_chat, parse_completion
from oneclick.server.chat.sampling_request import model_name
from oneclick.server.http.asgi import JSONResponse, Request, Response
from oneclick.server.http.streams import EventStream, SlowAnswer
from oneclick.server.runtime import Runtime

VERSION = "0.12.6"
"""The version of Ollama whose interface this is; clients ask before they use what is newer."""
SILENCE = b" "
"""A sign of life inside the stream: white space before the next object."""

_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop": "stop",
    "num_predict": "max_tokens",
    "repeat_penalty": "repetition_penalty",
    **{name: name for name in ("seed", "min_p", "frequency_penalty", "presence_penalty")},
}
"""Ollama's options that are done -> the chat's name for them."""
OPTIONS: Fields = {
    **dict.fromkeys(_OPTIONS, DONE),
    **dict.fromkeys(("num_ctx", "num_keep", "num_batch", "num_thread", "num_gpu", "repeat_last_n"), IGNORED),
    "mirostat": Field("refused", (0,)),
    **dict.fromkeys(("typical_p", "tfs_z"), Field("refused", (1,))),
}
_COMMON: Fields = {
    **dict.fromkeys(("model", "stream", "options"), DONE),
    **dict.fromkeys(("keep_alive",), IGNORED),
    **dict.fromkeys(("format", "think", "logprobs", "top_logprobs"), REFUSED),
}
CHAT: Fields = {**_COMMON, **dict.fromkeys(("messages", "tools"), DONE)}
GENERATE: Fields = {
    **_COMMON,
    **dict.fromkeys(("prompt", "system", "raw"), DONE),
    **dict.fromkeys(("suffix", "images", "template", "context"), REFUSED),
}


def _sampling(body: JsonObject) -> dict[str, Any]:
    """Return the chat's fields for what both requests share; a stream is what Ollama gives unless told otherwise."""
    options = body.get("options")
    if options is not None and not isinstance(options, dict):
        raise invalid("server.type", "options", name="options", wanted="object")
    options = options or {}
    refuse(OPTIONS, options)
    chosen = {ours: options[theirs] for theirs, ours in _OPTIONS.items() if theirs in options}
    stream = body.get("stream")
    return {**chosen, "model": body.get("model"), "stream": True if stream is None else stream}


class Answer:
    """The objects of one answer: of a chat (``message``) or of a generation (``response``)."""

    def __init__(self, runtime: Runtime, body: JsonObject, chat: bool) -> None:
        self._chat = chat
        self._model = model_name(body) or runtime.config.model_name
        self._began = time.monotonic()

    def _object(self, text: str, **more: Any) -> dict[str, Any]:
        content = {"message": {"role": "assistant", "content": text}} if self._chat else {"response": text}
        return {"model": self._model, "created_at": _now(), **content, "done": False, **more}

    def loaded(self, body: JsonObject) -> dict[str, Any]:
        """Return the answer to a request that asks for nothing: it means to load or unload the model."""
        return self._object("", done=True, done_reason="unload" if body.get("keep_alive") == 0 else "load")

    def last(self, text: str, end: End) -> dict[str, Any]:
        """Return the object that ends a stream, or is the whole answer; times in nanoseconds."""
        told, timings = end.usage, end.timings
        answer = self._object(
            text,
            done=True,
            done_reason="length" if end.reason == "length" else "stop",
            total_duration=int(1e9 * (time.monotonic() - self._began)),
            load_duration=int(1e6 * timings["queue_ms"]),
            prompt_eval_count=told["prompt_tokens"],
            prompt_eval_duration=int(1e6 * timings["prompt_ms"]),
            eval_count=told["completion_tokens"],
            eval_duration=int(1e6 * timings["predicted_ms"]),
        )
        return self._with_calls(answer, end)

    def _with_calls(self, answer: dict[str, Any], end: End) -> dict[str, Any]:
        if end.calls and self._chat:
            answer["message"]["tool_calls"] = [
                {"function": {"index": index, "name": call.name, "arguments": json.loads(call.arguments)}}
                for index, call in enumerate(end.calls)
            ]
        return answer

    async def lines(self, order: Order) -> AsyncIterator[bytes]:
        """Yield the answer's objects, each a line and a whole write."""
        try:
            async with order.pieces() as pieces:
                async for piece in pieces:
                    if isinstance(piece, Delta):
                        yield _line(self._object(piece.text))
                    elif isinstance(piece, News):
                        yield SILENCE
                    else:
                        if piece.calls:
                            yield _line(self._with_calls(self._object(""), piece))
                        yield _line(self.last("", End(piece.reason, piece.usage, piece.timings)))
        except ApiError as error:
            yield _line(error.ollama_body())

    def reply(self, runtime: Runtime, order: Order, stream: bool) -> Any:
        """Return the ASGI application that answers."""
        if stream:
            return EventStream(self.lines(order), {**order.headers(), "content-type": "application/x-ndjson"})

        async def answer() -> dict[str, Any]:
            ((text, end),) = await order.whole()
            return self.last(text, end)

        return SlowAnswer(answer(), order.headers(), runtime.config.keep_alive_s)


async def chat(runtime: Runtime, request: Request, body: JsonObject) -> Any:
    """Answer POST /api/chat."""
    refuse(CHAT, body)
    answer = Answer(runtime, body, chat=True)
    if body.get("messages") in (None, []):
        return JSONResponse(answer.loaded(body))
    wanted = parse_chat({**_sampling(body), "messages": body["messages"], "tools": body.get("tools")})
    return answer.reply(runtime, await order_chat(runtime, request, wanted), wanted.stream)


async def generate(runtime: Runtime, request: Request, body: JsonObject) -> Any:
    """Answer POST /api/generate."""
    refuse(GENERATE, body)
    answer = Answer(runtime, body, chat=False)
    prompt = body.get("prompt")
    if prompt in (None, ""):
        return JSONResponse(answer.loaded(body))
    if not isinstance(prompt, str):
        raise invalid("server.type", "prompt", name="prompt", wanted="string")
    if body.get("raw"):
        plain = parse_completion({**_sampling(body), "prompt": prompt})
        return answer.reply(runtime, await order_completion(runtime, request, plain), plain.stream)
    messages = [{"role": "user", "content": prompt}]
    if body.get("system"):
        messages.insert(0, {"role": "system", "content": body["system"]})
    wanted = parse_chat({**_sampling(body), "messages": messages})
    return answer.reply(runtime, await order_chat(runtime, request, wanted), wanted.stream)


def version(runtime: Runtime, request: Request) -> Response:
    """Answer GET /api/version."""
    return JSONResponse({"version": VERSION})


def tags(runtime: Runtime, request: Request) -> Response:
    """Answer GET /api/tags: the model, once there is one."""
    return JSONResponse({"models": [] if runtime.header is None else [_entry(runtime)]})


def running(runtime: Runtime, request: Request) -> Response:
    """Answer GET /api/ps: the model, when it is in memory. It stays there."""
    if runtime.header is None or runtime.status.get().phase != "ready":
        return JSONResponse({"models": []})
    entry = {key: value for key, value in _entry(runtime).items() if key != "modified_at"}
    more = {"expires_at": "9999-12-31T23:59:59Z", "size_vram": 0, "context_length": runtime.limits.context}
    return JSONResponse({"models": [{**entry, **more}]})


async def show(runtime: Runtime, request: Request, body: JsonObject) -> Response:
    """Answer POST /api/show."""
    name = body.get("model", body.get("name"))
    if not isinstance(name, str) or not is_known(runtime, name):
        own = runtime.config.model_name
        raise ApiError(404, "server.model_unknown", code="model_not_found", name=str(name)[:100], own=own)
    limits = runtime.limits
    return JSONResponse(
        {
            "modified_at": _time(runtime.model_created),
            "details": _details(runtime),
            "parameters": f"num_ctx {limits.context}",
            "template": "[gMASK]sop<|user|>\n {{ .Prompt }}<|assistant|>",
            "model_info": {"general.architecture": "chatglm", "chatglm.context_length": limits.context},
            "capabilities": ["completion", "tools"],
        }
    )


def _entry(runtime: Runtime) -> dict[str, Any]:
    name = f"{runtime.config.model_name}:latest"
    about = f"{runtime.display_name} {runtime.model_size} {runtime.model_created}"
    return {
        "name": name,
        "model": name,
        "modified_at": _time(runtime.model_created),
        "size": runtime.model_size,
        # Clients use it as the entry's key; hashing gigabytes for that would be waste.
        "digest": hashlib.sha256(about.encode()).hexdigest(),
        "details": _details(runtime),
    }


def _details(runtime: Runtime) -> dict[str, Any]:
    dtype = runtime.header.dtype if runtime.header is not None else ""
    return {
        "parent_model": "",
        "format": "ggml",
        "family": "chatglm",
        "families": ["chatglm"],
        "parameter_size": "6.2B",
        "quantization_level": dtype.upper(),
    }


def _line(answer: dict[str, Any]) -> bytes:
    return JSONResponse(answer).body + b"\n"


def _now() -> str:
    return _time(time.time())


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
