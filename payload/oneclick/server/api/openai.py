"""POST /v1/chat/completions, /v1/completions and /tokenize: from a checked request to OpenAI's answers."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import Any, AsyncIterator

from oneclick.server.api_errors import ApiError, invalid
from oneclick.server.chat.answer import AnswerReader, split_names, timings, usage
from oneclick.server.chat.prompt import Prompt, build_chat, build_completion
from oneclick.server.chat.request import (
    ChatRequest,
    CompletionRequest,
    JsonObject,
    SamplingRequest,
    ToolCall,
    clean,
    parse_chat,
    parse_completion,
)
from oneclick.server.chat.tools import new_call_id
from oneclick.server.http.asgi import JSONResponse, Request, Response
from oneclick.server.http.streams import END, KEEP_ALIVE, EventStream, comment, event, while_connected
from oneclick.server.runtime import Done, Event, Failed, Job, PromptProgress, Queued, Runtime, Token

NEWS_EVERY_S = 0.25
"""Shortest time between two comments about the prompt's progress."""


@dataclass(frozen=True)
class Delta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True)
class News:
    """Something to tell the page, or (empty) just a sign of life."""

    data: dict[str, Any]


@dataclass(frozen=True)
class End:
    """The answer is complete."""

    reason: str
    usage: dict[str, Any]
    timings: dict[str, Any]


class Generation:
    """One request's way through the queue and the model, as pieces of its answer."""

    def __init__(self, runtime: Runtime, job: Job, prompt: Prompt, reader: AnswerReader, legacy: bool) -> None:
        self.job = job
        self.prompt = prompt
        self.reader = reader
        self._runtime = runtime
        self._legacy = legacy
        self._last_news = 0.0
        self.begun_text = ""
        """The answer that this one goes on with."""

    async def pieces(self) -> AsyncIterator[Any]:
        """Yield Delta, News and at last End; raises ApiError when the model fails."""
        if self.prompt.dropped_messages:
            dropped = {"dropped_tokens": self.prompt.dropped_tokens}
            yield News({"dropped_messages": self.prompt.dropped_messages, **dropped})
        try:
            async with self.job:
                while True:
                    happened = await self.job.next_event(self._runtime.config.keep_alive_s)
                    if isinstance(happened, Token):
                        text = self._take(happened.token)
                        if text:
                            yield Delta(text)
                    elif isinstance(happened, Failed):
                        raise happened.error
                    elif isinstance(happened, Done):
                        text = self.reader.finish()
                        if text:
                            yield Delta(text)
                        yield self._end(happened)
                        return
                    else:
                        news = self._news(happened)
                        if news is not None:
                            yield news
        finally:
            # Also of an answer that was broken off: the client will send back what it got.
            if self.reader.is_exact:
                begun = self.prompt.begun
                self._runtime.answers.remember(self.begun_text + self.reader.text, [*begun, *self.reader.tokens])

    def _take(self, token: int) -> str:
        reader = self.reader
        if reader.has_stopped():
            return ""
        text = reader.feed(token)
        if reader.has_stopped():
            self._runtime.stop_early(self.job)
        return text

    def _news(self, happened: Event | None) -> News | None:
        if happened is None:
            return News({})
        if isinstance(happened, Queued):
            return News({"queue_position": happened.position})
        if not isinstance(happened, PromptProgress):
            return None
        now = time.monotonic()
        if now - self._last_news < NEWS_EVERY_S and happened.done < happened.total:
            return None
        self._last_news = now
        share = round(happened.done / happened.total, 4)
        return News({"prompt_progress": share, "prompt": {**happened.__dict__, "left_s": round(happened.left_s, 1)}})

    def _end(self, done: Done) -> End:
        reader = self.reader
        return End(
            reader.finish_reason(done.reason, self._legacy),
            usage(done.prompt_tokens, len(reader.tokens), done.cached_tokens),
            timings(done, self.job.started - self.job.created),
        )


async def _build(runtime: Runtime, function: Any, *arguments: Any) -> Prompt:
    """Return ``function(*arguments)``, computed beside the event loop: megabytes of text take a moment."""
    prompt: Prompt = await asyncio.get_running_loop().run_in_executor(runtime.helpers, function, *arguments)
    return prompt


def _submit(runtime: Runtime, request: Request, prompt: Prompt, wanted: SamplingRequest) -> Job:
    request_id = request.scope["oneclick.request_id"]
    return runtime.submit(prompt.ids, prompt.max_new, wanted.sampling(), request_id, wanted.keep)


def _prompt_headers(prompt: Prompt) -> dict[str, str]:
    return {"x-oneclick-dropped-messages": str(prompt.dropped_messages)} if prompt.dropped_messages else {}


def _extras(runtime: Runtime, prompt: Prompt, end: End) -> dict[str, Any]:
    return {
        "timings": end.timings,
        "x_oneclick": {
            "dropped_messages": prompt.dropped_messages,
            "dropped_tokens": prompt.dropped_tokens,
            "context": runtime.limits.context,
        },
    }


async def chat_completions(runtime: Runtime, request: Request, body: JsonObject) -> Any:
    """Answer POST /v1/chat/completions."""
    chat = parse_chat(body)
    tokenizer = runtime.ready_tokenizer()
    prompt = await _build(runtime, build_chat, chat, tokenizer, runtime.answers, runtime.limits)
    job = _submit(runtime, request, prompt, chat)
    reader = AnswerReader(tokenizer, chat.stop, split_names(chat.tools), continues=chat.continues)
    generation = Generation(runtime, job, prompt, reader, chat.legacy_functions)
    generation.begun_text = chat.messages[-1].content if chat.continues else ""
    head = _head("chatcmpl-", chat, runtime)
    if chat.stream:
        parts = _stream(generation, ChatChunks(head, chat, runtime))
        return EventStream(parts, _prompt_headers(prompt))
    text, end = await _whole(request, generation)
    message = _message(text, reader.calls, chat.legacy_functions)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": end.reason}
    answer = {**head, "object": "chat.completion", "choices": [choice], "usage": end.usage}
    return JSONResponse({**answer, **_extras(runtime, prompt, end)}, headers=_prompt_headers(prompt))


async def completions(runtime: Runtime, request: Request, body: JsonObject) -> Any:
    """Answer POST /v1/completions."""
    wanted = parse_completion(body)
    tokenizer = runtime.ready_tokenizer()
    prompt = await _build(runtime, build_completion, wanted.prompt, wanted.max_tokens, tokenizer, runtime.limits)
    job = _submit(runtime, request, prompt, wanted)
    reader = AnswerReader(tokenizer, wanted.stop, strip_start=False)
    generation = Generation(runtime, job, prompt, reader, legacy=False)
    head = {**_head("cmpl-", wanted, runtime), "object": "text_completion"}
    if wanted.stream:
        return EventStream(_stream(generation, TextChunks(head, wanted, runtime)))
    text, end = await _whole(request, generation)
    if wanted.echo:
        text = wanted.prompt + text
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": end.reason}
    return JSONResponse({**head, "choices": [choice], "usage": end.usage, **_extras(runtime, prompt, end)})


async def tokenize(runtime: Runtime, request: Request, body: JsonObject) -> Response:
    """Answer POST /tokenize: the ids of a text, or of a whole chat as the model would read it."""
    tokenizer = runtime.ready_tokenizer()
    if "messages" in body:
        prompt = await _build(runtime, build_chat, parse_chat(body), tokenizer, runtime.answers, runtime.limits)
        ids = prompt.ids
    else:
        content = body.get("content")
        if not isinstance(content, str):
            raise invalid("server.type", "content", name="content", wanted="string")
        ids = await asyncio.get_running_loop().run_in_executor(runtime.helpers, tokenizer.encode, clean(content))
    return JSONResponse({"tokens": ids, "count": len(ids), "context": runtime.limits.context})


def _head(prefix: str, wanted: SamplingRequest, runtime: Runtime) -> dict[str, Any]:
    """Return the fields that are the same in every chunk of an answer."""
    return {
        "id": prefix + secrets.token_hex(12),
        "created": int(time.time()),
        "model": wanted.model or runtime.config.model_name,
    }


def _tool_call_objects(calls: list[ToolCall]) -> list[dict[str, Any]]:
    return [
        {
            "id": new_call_id(),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]


def _message(text: str, calls: list[ToolCall], legacy: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
    if calls and legacy:
        message["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments}
    elif calls:
        message["tool_calls"] = _tool_call_objects(calls)
    return message


async def _whole(request: Request, generation: Generation) -> tuple[str, End]:
    """Return the complete text and its end; ClientDisconnect when the client goes away before."""

    async def collect() -> tuple[str, End]:
        texts: list[str] = []
        pieces = generation.pieces()
        try:
            async for piece in pieces:
                if isinstance(piece, Delta):
                    texts.append(piece.text)
                elif isinstance(piece, End):
                    return "".join(texts), piece
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]
        raise AssertionError("an answer without an end")

    return await while_connected(request, collect())


class Chunks:
    """How the pieces of a stream look; subclasses say what a choice is."""

    def __init__(self, head: dict[str, Any], wanted: SamplingRequest, runtime: Runtime) -> None:
        self.head = head
        self.runtime = runtime
        self.wanted = wanted

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        if self.wanted.include_usage:
            more.setdefault("usage", None)
        return event({**self.head, "choices": choices, **more})

    def first(self) -> list[bytes]:
        return []

    def text(self, text: str) -> bytes:
        raise NotImplementedError

    def last(self, generation: Generation, end: End) -> list[bytes]:
        raise NotImplementedError

    def usage(self, end: End) -> list[bytes]:
        return [self._chunk([], usage=end.usage)] if self.wanted.include_usage else []


class ChatChunks(Chunks):
    """Chunks of a chat."""

    def __init__(self, head: dict[str, Any], wanted: ChatRequest, runtime: Runtime) -> None:
        super().__init__({**head, "object": "chat.completion.chunk"}, wanted, runtime)
        self._legacy = wanted.legacy_functions

    def _choice(self, delta: dict[str, Any], reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]

    def first(self) -> list[bytes]:
        return [self._chunk(self._choice({"role": "assistant", "content": ""}))]

    def text(self, text: str) -> bytes:
        return self._chunk(self._choice({"content": text}))

    def last(self, generation: Generation, end: End) -> list[bytes]:
        chunks: list[bytes] = []
        calls = generation.reader.calls
        if calls and self._legacy:
            function = {"name": calls[0].name, "arguments": calls[0].arguments}
            chunks.append(self._chunk(self._choice({"function_call": function})))
        elif calls:
            listed = [{"index": index, **call} for index, call in enumerate(_tool_call_objects(calls))]
            chunks.append(self._chunk(self._choice({"tool_calls": listed})))
        chunks.append(self._chunk(self._choice({}, end.reason), **_extras(self.runtime, generation.prompt, end)))
        return chunks


class TextChunks(Chunks):
    """Chunks of a plain completion."""

    def _choice(self, text: str, reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}]

    def first(self) -> list[bytes]:
        wanted = self.wanted
        assert isinstance(wanted, CompletionRequest)
        return [self.text(wanted.prompt)] if wanted.echo else []

    def text(self, text: str) -> bytes:
        return self._chunk(self._choice(text))

    def last(self, generation: Generation, end: End) -> list[bytes]:
        return [self._chunk(self._choice("", end.reason), **_extras(self.runtime, generation.prompt, end))]


async def _stream(generation: Generation, chunks: Chunks) -> AsyncIterator[bytes]:
    """Yield an answer's events, each a whole write."""
    pieces = generation.pieces()
    try:
        for chunk in chunks.first():
            yield chunk
        async for piece in pieces:
            if isinstance(piece, Delta):
                yield chunks.text(piece.text)
            elif isinstance(piece, News):
                yield comment(piece.data) if piece.data else KEEP_ALIVE
            else:
                for chunk in [*chunks.last(generation, piece), *chunks.usage(piece)]:
                    yield chunk
        yield END
    except ApiError as error:
        # The status line is long gone: an error event is what clients show; a silent end would look complete.
        yield event(error.body())
        yield END
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]
        generation.job.runtime.cancel(generation.job)
