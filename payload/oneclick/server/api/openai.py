"""POST /v1/chat/completions, /v1/completions, /tokenize and /detokenize: OpenAI's answers from the kitchen's pieces."""

from __future__ import annotations

import secrets
import time
from typing import Any, AsyncIterator, Mapping

from oneclick.server.api.kitchen import Delta, End, News, Order, beside, order_chat, order_completion, whole_usage
from oneclick.server.api_errors import ApiError, invalid
from oneclick.server.chat import log_probs
from oneclick.server.chat.body_text import JsonObject, clean
from oneclick.server.chat.prompt import build_chat
from oneclick.server.chat.request import (
    ChatRequest,
    CompletionRequest,
    ToolCall,
    parse_chat,
    parse_completion,
)
from oneclick.server.chat.sampling_request import SamplingRequest
from oneclick.server.chat.tools import new_call_id
from oneclick.server.http.asgi import JSONResponse, Request, Response
from oneclick.server.http.streams import END, SILENCE, EventStream, SlowAnswer, comment, encode, event
from oneclick.server.runtime import Runtime


def extras(order: Order, end: End) -> dict[str, Any]:
    """Return our own fields of an answer."""
    prompt = order.prompt
    return {
        "timings": end.timings,
        "x_oneclick": {
            "dropped_messages": prompt.dropped_messages,
            "dropped_tokens": prompt.dropped_tokens,
            "context": order.runtime.limits.context,
        },
    }


async def chat_completions(runtime: Runtime, request: Request, body: JsonObject) -> Any:
    """Answer POST /v1/chat/completions."""
    chat = parse_chat(body)
    order = await order_chat(runtime, request, chat)
    head = _head("chatcmpl-", chat, runtime)
    if chat.stream:
        return EventStream(_stream(order, ChatChunks(head, chat, order)), order.headers())

    tokenizer = runtime.ready_tokenizer()

    async def answer() -> dict[str, Any]:
        made = await order.whole()
        choices = [
            {
                "index": end.choice,
                "message": _message(text, end.calls, chat.legacy_functions),
                "logprobs": log_probs.of_chat(tokenizer, end.tokens) if chat.sampling.log_probs is not None else None,
                "finish_reason": end.reason,
            }
            for text, end in made
        ]
        return {**head, "object": "chat.completion", "choices": choices, **_figures(order, [end for _, end in made])}

    return SlowAnswer(answer(), order.headers(), runtime.config.keep_alive_s)


async def completions(runtime: Runtime, request: Request, body: JsonObject) -> Any:
    """Answer POST /v1/completions."""
    wanted = parse_completion(body)
    order = await order_completion(runtime, request, wanted)
    head = {**_head("cmpl-", wanted, runtime), "object": "text_completion"}
    echo = _echo(runtime, wanted)
    if wanted.stream:
        return EventStream(_stream(order, TextChunks(head, wanted, order, echo)))

    async def answer() -> dict[str, Any]:
        made = await order.whole()
        choices = [
            {
                "index": end.choice,
                "text": echo + text,
                "logprobs": _text_log_probs(runtime, wanted, end, len(echo)),
                "finish_reason": end.reason,
            }
            for text, end in made
        ]
        return {**head, "choices": choices, **_figures(order, [end for _, end in made])}

    return SlowAnswer(answer(), {}, runtime.config.keep_alive_s)


def _echo(runtime: Runtime, wanted: CompletionRequest) -> str:
    """Return the prompt as text where it was asked for."""
    if not wanted.echo or wanted.prompt_ids is None:
        return wanted.prompt if wanted.echo else ""
    return runtime.ready_tokenizer().decode(wanted.prompt_ids)


def _text_log_probs(runtime: Runtime, wanted: CompletionRequest, end: End, answer_at: int) -> dict[str, Any] | None:
    if wanted.sampling.log_probs is None:
        return None
    tokens, offset = [*end.prompt_tokens, *end.tokens], 0 if end.prompt_tokens else answer_at
    return log_probs.of_text(runtime.ready_tokenizer(), tokens, offset)


def _figures(order: Order, ends: list[End]) -> dict[str, Any]:
    return {"usage": whole_usage(ends), **extras(order, ends[0])}


async def tokenize(runtime: Runtime, request: Request, body: JsonObject) -> Response:
    """Answer POST /tokenize: the ids of a text (llama.cpp's ``content`` or vLLM's ``prompt``), or of a whole chat."""
    tokenizer = runtime.ready_tokenizer()
    if "messages" in body:
        prompt = await beside(runtime, build_chat, parse_chat(body), tokenizer, runtime.answers, runtime.limits)
        ids = prompt.ids
    else:
        content = body.get("content", body.get("prompt"))
        if not isinstance(content, str):
            raise invalid("server.type", "content", name="content", wanted="string")
        ids = await beside(runtime, tokenizer.encode, clean(content))
    return JSONResponse({"tokens": ids, "count": len(ids), "context": runtime.limits.context})


async def detokenize(runtime: Runtime, request: Request, body: JsonObject) -> Response:
    """Answer POST /detokenize: the text of ids."""
    tokenizer = runtime.ready_tokenizer()
    ids = body.get("tokens")
    if not isinstance(ids, list) or not all(isinstance(one, int) and not isinstance(one, bool) for one in ids):
        raise invalid("server.type", "tokens", name="tokens", wanted="array of integers")
    text = tokenizer.decode(ids)
    return JSONResponse({"content": text, "prompt": text})


def _head(prefix: str, wanted: SamplingRequest, runtime: Runtime) -> dict[str, Any]:
    """Return the fields that are the same in every chunk of an answer."""
    return {
        "id": prefix + secrets.token_hex(12),
        "created": int(time.time()),
        "model": wanted.model or runtime.config.model_name,
        # Whatever name was asked for: this one answered.
        "system_fingerprint": runtime.fingerprint,
    }


def _tool_call_objects(calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
    return [
        {
            "id": new_call_id(),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]


def _message(text: str, calls: tuple[ToolCall, ...], legacy: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
    if calls and legacy:
        message["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments}
    elif calls:
        message["tool_calls"] = _tool_call_objects(calls)
    return message


class Chunks:
    """How the pieces of a stream look; subclasses say what a choice is."""

    def __init__(self, head: Mapping[str, Any], wanted: SamplingRequest, order: Order) -> None:
        self.head = head
        self.order = order
        self.wanted = wanted
        self._frames: dict[int, tuple[bytes, bytes]] = {}
        """Choice -> what stands around the text of its chunks: encoded once, not for every token."""

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        if self.wanted.include_usage:
            more.setdefault("usage", None)
        return event({**self.head, "choices": choices, **more})

    def first(self, choice: int) -> list[bytes]:
        """Return what a choice begins with."""
        raise NotImplementedError

    def _text_chunk(self, choice: int, text: str) -> bytes:
        raise NotImplementedError

    def _scored_chunk(self, delta: Delta) -> bytes:
        raise NotImplementedError

    def text(self, delta: Delta) -> bytes:
        """Return the chunk of a piece of text."""
        if delta.tokens:
            return self._scored_chunk(delta)
        frame = self._frames.get(delta.choice)
        if frame is None:
            before, _, after = self._text_chunk(delta.choice, "\0").rpartition(encode("\0"))
            frame = self._frames[delta.choice] = (before, after)
        return frame[0] + encode(delta.text) + frame[1]

    def last(self, end: End) -> list[bytes]:
        raise NotImplementedError

    def usage(self, ends: list[End]) -> list[bytes]:
        return [self._chunk([], usage=whole_usage(ends))] if self.wanted.include_usage else []


class ChatChunks(Chunks):
    """Chunks of a chat."""

    def __init__(self, head: Mapping[str, Any], wanted: ChatRequest, order: Order) -> None:
        super().__init__({**head, "object": "chat.completion.chunk"}, wanted, order)
        self._legacy = wanted.legacy_functions

    def _choice(
        self, index: int, delta: dict[str, Any], reason: str | None = None, scores: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        return [{"index": index, "delta": delta, "logprobs": scores, "finish_reason": reason}]

    def first(self, choice: int) -> list[bytes]:
        return [self._chunk(self._choice(choice, {"role": "assistant", "content": ""}))]

    def _text_chunk(self, choice: int, text: str) -> bytes:
        return self._chunk(self._choice(choice, {"content": text}))

    def _scored_chunk(self, delta: Delta) -> bytes:
        scores = log_probs.of_chat(self.order.runtime.ready_tokenizer(), delta.tokens)
        return self._chunk(self._choice(delta.choice, {"content": delta.text}, scores=scores))

    def last(self, end: End) -> list[bytes]:
        chunks: list[bytes] = []
        calls, choice = end.calls, end.choice
        if calls and self._legacy:
            function = {"name": calls[0].name, "arguments": calls[0].arguments}
            chunks.append(self._chunk(self._choice(choice, {"function_call": function})))
        elif calls:
            listed = [{"index": index, **call} for index, call in enumerate(_tool_call_objects(calls))]
            chunks.append(self._chunk(self._choice(choice, {"tool_calls": listed})))
        chunks.append(self._chunk(self._choice(choice, {}, end.reason), **extras(self.order, end)))
        return chunks


class TextChunks(Chunks):
    """Chunks of a plain completion."""

    def __init__(self, head: Mapping[str, Any], wanted: CompletionRequest, order: Order, echo: str) -> None:
        super().__init__(head, wanted, order)
        self._echo = echo
        self._lengths: dict[int, int] = {}
        """Choice -> characters of its tokens so far."""

    def _choice(
        self, index: int, text: str, reason: str | None = None, scores: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        return [{"index": index, "text": text, "logprobs": scores, "finish_reason": reason}]

    def first(self, choice: int) -> list[bytes]:
        return [self.text(Delta(self._echo, choice))] if self._echo else []

    def _text_chunk(self, choice: int, text: str) -> bytes:
        return self._chunk(self._choice(choice, text))

    def _scored_chunk(self, delta: Delta) -> bytes:
        at = self._lengths.get(delta.choice, len(self._echo))
        scores = log_probs.of_text(self.order.runtime.ready_tokenizer(), delta.tokens, at)
        self._lengths[delta.choice] = at + sum(map(len, scores["tokens"]))
        return self._chunk(self._choice(delta.choice, delta.text, scores=scores))

    def last(self, end: End) -> list[bytes]:
        return [self._chunk(self._choice(end.choice, "", end.reason), **extras(self.order, end))]


async def _stream(order: Order, chunks: Chunks) -> AsyncIterator[bytes]:
    """Yield an answer's events, each a whole write."""
    ends: list[End] = []
    try:
        async with order.pieces() as pieces:
            for chunk in chunks.first(0):
                yield chunk
            async for piece in pieces:
                if isinstance(piece, Delta):
                    yield chunks.text(piece)
                elif isinstance(piece, News):
                    yield comment(piece.data) if piece.data else SILENCE
                else:
                    ends.append(piece)
                    for chunk in chunks.last(piece):
                        yield chunk
                    if len(ends) < len(order.jobs):
                        for chunk in chunks.first(len(ends)):
                            yield chunk
        for chunk in chunks.usage(ends):
            yield chunk
        yield END
    except ApiError as error:
        # The status line is long gone: an error event is what clients show; a silent end would look complete.
        yield event(error.body())
        yield END
