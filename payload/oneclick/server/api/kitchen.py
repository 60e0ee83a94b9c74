"""One request's way through the queue and the model, for every door alike: pieces of its answers come out.

A door turns its own request into a ``ChatRequest`` or ``CompletionRequest``; ``order_chat`` or ``order_completion``
puts the generations into the queue; ``Order.pieces`` yields for each choice, in order, its ``Delta``s and its ``End``.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, AsyncIterator, Callable, Union

from oneclick.engine.sampling import FEATURE, Sampling
from oneclick.server.api_errors import invalid
from oneclick.server.chat.answer import AnswerReader, timings, usage
from oneclick.server.chat.prompt import Prompt, build_chat, build_completion
from oneclick.server.chat.request import ChatRequest, CompletionRequest, ToolCall
from oneclick.server.chat.sampling_request import SamplingRequest
from oneclick.server.chat.tools import parameter_names
from oneclick.server.events import Done, Event, Failed, PromptProgress, Queued, Token
from oneclick.server.http.asgi import Request
from oneclick.server.http.streams import while_connected
from oneclick.server.queue import Job
from oneclick.server.runtime import Runtime

NEWS_EVERY_S = 0.25
"""Shortest time between two pieces of news about the prompt's progress."""
PROGRESS_HEADER = "x-oneclick-progress"
"""Our page asks for news with it; other programs get none, as strict readers of streams stumble over them."""


@dataclass(frozen=True)
class Delta:
    """A piece of the text of answer number ``choice``."""

    text: str
    choice: int = 0
    tokens: tuple[Token, ...] = ()
    """What it came with, where log probabilities were asked; the text of a token may come later than the token."""


@dataclass(frozen=True)
class News:
    """Something to tell the page, or (empty) a sign of life after some silence."""

    data: dict[str, Any]


@dataclass(frozen=True)
class End:
    """Answer number ``choice`` is complete."""

    reason: str
    usage: dict[str, Any]
    """OpenAI's usage of this choice alone."""
    timings: dict[str, Any]
    calls: tuple[ToolCall, ...] = ()
    choice: int = 0
    tokens: tuple[Token, ...] = ()
    """All of the answer's, where log probabilities were asked."""
    prompt_tokens: tuple[Token, ...] = ()
    """All of the prompt's that the client sent, where theirs were asked."""


Piece = Union[Delta, News, End]


@dataclass
class Order:
    """The generations of one request, all in the queue."""

    runtime: Runtime
    prompt: Prompt
    jobs: list[Job]
    new_reader: Callable[[], AnswerReader]
    legacy: bool
    progress: bool
    """Tell how far it is."""
    begun_text: str
    """The answer that this one goes on with."""
    request: Request

    def headers(self) -> dict[str, str]:
        """Return what every door says in the head of its answer."""
        dropped = self.prompt.dropped_messages
        return {"x-oneclick-dropped-messages": str(dropped)} if dropped else {}

    @asynccontextmanager
    async def pieces(self) -> AsyncIterator[AsyncIterator[Piece]]:
        """Give the answers' pieces; taking one raises ApiError when the model fails. Leaving cancels what runs."""
        pieces = self._pieces()
        try:
            yield pieces
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]
            self.cancel()

    async def _pieces(self) -> AsyncIterator[Piece]:
        if self.progress and self.prompt.dropped_messages:
            dropped = {"dropped_tokens": self.prompt.dropped_tokens}
            yield News({"dropped_messages": self.prompt.dropped_messages, **dropped})
        for choice, job in enumerate(self.jobs):
            pieces = Generation(self, job, choice).pieces()
            try:
                async for piece in pieces:
                    yield piece
            finally:
                await pieces.aclose()  # type: ignore[attr-defined]

    def cancel(self) -> None:
        """Take back what has not ended."""
        for job in self.jobs:
            self.runtime.queue.cancel(job)

    async def whole(self) -> list[tuple[str, End]]:
        """Return each choice's text and end; ClientDisconnect when the client goes away before."""
        return await while_connected(self.request, self._collect())

    async def _collect(self) -> list[tuple[str, End]]:
        texts: list[list[str]] = [[] for _ in self.jobs]
        ends: list[End] = []
        async with self.pieces() as pieces:
            async for piece in pieces:
                if isinstance(piece, Delta):
                    texts[piece.choice].append(piece.text)
                elif isinstance(piece, End):
                    ends.append(piece)
        return [("".join(texts[end.choice]), end) for end in ends]


class Generation:
    """One choice of an order."""

    def __init__(self, order: Order, job: Job, choice: int) -> None:
        self._order = order
        self._runtime = order.runtime
        self._job = job
        self._choice = choice
        self._reader = order.new_reader()
        self._last_news = 0.0
        self._tokens: list[Token] = []
        """Those of which the log probability was asked."""

    async def pieces(self) -> AsyncIterator[Piece]:
        job, patience_s = self._job, self._runtime.config.keep_alive_s
        silent_since = time.monotonic()
        try:
            async with job:
                while True:
                    happened = await job.next_event(max(0.0, silent_since + patience_s - time.monotonic()))
                    piece: Piece | None = None
                    if isinstance(happened, Token):
                        piece = self._take(happened)
                    elif isinstance(happened, Failed):
                        raise happened.error
                    elif isinstance(happened, Done):
                        text = self._reader.finish()
                        if text:
                            yield Delta(text, self._choice)
                        yield self._end(happened)
                        return
                    else:
                        piece = self._news(happened)
                    if piece is not None:
                        yield piece
                        silent_since = time.monotonic()
        finally:
            # Also of an answer that was broken off: the client will send back what it got.
            if self._reader.is_exact:
                order = self._order
                ids = [*order.prompt.begun, *self._reader.tokens]
                self._runtime.answers.remember(order.begun_text + self._reader.text, ids)

    def _take(self, token: Token) -> Delta | None:
        reader = self._reader
        if reader.has_stopped():
            return None
        text = reader.feed(token.token)
        if reader.has_stopped():
            self._runtime.queue.stop_early(self._job)
        if token.log_prob is not None:
            self._tokens.append(token)
            return Delta(text, self._choice, (token,))
        return Delta(text, self._choice) if text else None

    def _news(self, happened: Event | None) -> News | None:
        if happened is None:
            return News({})
        if not self._order.progress:
            return None
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
        reader, order = self._reader, self._order
        told = usage(done.prompt_tokens, len(reader.tokens), done.cached_tokens)
        if order.prompt.dropped_messages:
            told["prompt_tokens_details"]["dropped_messages"] = order.prompt.dropped_messages
            told["prompt_tokens_details"]["dropped_tokens"] = order.prompt.dropped_tokens
        return End(
            reader.finish_reason(done.reason, order.legacy),
            told,
            timings(done, self._job.started - self._job.created),
            tuple(reader.calls),
            self._choice,
            tuple(self._tokens),
            self._prompt_tokens(done),
        )

    def _prompt_tokens(self, done: Done) -> tuple[Token, ...]:
        """Return what was asked of the prompt's tokens; nothing is known of its very first one."""
        if not done.prompt_scores:
            return ()
        ids = self._order.prompt.ids
        scored = [Token(ids[0]), *(Token(token, *score) for token, score in zip(ids[1:], done.prompt_scores))]
        return tuple(scored[self._order.prompt.added :])


def whole_usage(ends: list[End]) -> dict[str, Any]:
    """Return the usage of a request: its prompt counts once, its choices all."""
    first = ends[0].usage
    tokens = sum(end.usage["completion_tokens"] for end in ends)
    return {**first, "completion_tokens": tokens, "total_tokens": first["prompt_tokens"] + tokens}


async def beside(runtime: Runtime, function: Any, *arguments: Any) -> Any:
    """Return ``function(*arguments)``, computed beside the event loop: megabytes of text take a moment."""
    return await asyncio.get_running_loop().run_in_executor(runtime.helpers, function, *arguments)


async def order_chat(runtime: Runtime, request: Request, chat: ChatRequest) -> Order:
    """Put a chat's generations into the queue; ApiError when that is not possible."""
    tokenizer = runtime.ready_tokenizer()
    prompt: Prompt = await beside(runtime, build_chat, chat, tokenizer, runtime.answers, runtime.limits)
    tools = parameter_names(chat.tools)

    def new_reader() -> AnswerReader:
        return AnswerReader(tokenizer, chat.stop, tools, continues=chat.continues)

    begun = chat.messages[-1].content if chat.continues else ""
    return _order(runtime, request, chat, prompt, new_reader, legacy=chat.legacy_functions, begun_text=begun)


async def order_completion(runtime: Runtime, request: Request, wanted: CompletionRequest) -> Order:
    """Put a plain completion's generations into the queue; ApiError when that is not possible."""
    tokenizer = runtime.ready_tokenizer()
    prompt: Prompt = await beside(runtime, build_completion, wanted, tokenizer, runtime.limits)

    def new_reader() -> AnswerReader:
        return AnswerReader(tokenizer, wanted.stop, strip_start=False)

    return _order(runtime, request, wanted, prompt, new_reader)


def _order(
    runtime: Runtime,
    request: Request,
    wanted: SamplingRequest,
    prompt: Prompt,
    new_reader: Callable[[], AnswerReader],
    legacy: bool = False,
    begun_text: str = "",
) -> Order:
    _refuse_impossible(runtime, wanted.sampling)
    request_id = request.scope["oneclick.request_id"]
    progress = wanted.stream and PROGRESS_HEADER in request.headers
    order = Order(runtime, prompt, [], new_reader, legacy, progress, begun_text, request)
    try:
        for choice in range(wanted.choices):
            job = runtime.submit(prompt.ids, prompt.max_new, wanted.sampling_of(choice), request_id, wanted.keep)
            order.jobs.append(job)
    except BaseException:
        order.cancel()
        raise
    return order


def _refuse_impossible(runtime: Runtime, sampling: Sampling) -> None:
    """Raise ApiError 400 for tokens that the model does not have, and for what a released engine cannot do."""
    size = runtime.header.vocab_size if runtime.header is not None else 0
    for token, _ in sampling.logit_bias:
        if token >= size:
            raise invalid("server.bias_token", "logit_bias", token=token)
    engine, asked = runtime.engine, sampling.beyond_release()
    if engine is not None and asked and FEATURE not in engine.features:
        raise invalid("server.engine_lacks", asked[0], code="unsupported_parameter", name=", ".join(asked))
