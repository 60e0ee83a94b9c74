"""The generation loop: prompt evaluation with a kept KV cache, then one token at a time until a reason to stop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

from oneclick.engine.engine import Engine
from oneclick.engine.sampling import Draw, Drawn, LogProb, Sampling
from oneclick.engine.slots import Slots, Span, extend_links, plan_chunks, plan_single

CHUNK_TARGET_S = 12.0
"""A chunk of the prompt should take about this long: it is how long a cancelled request still holds the engine."""
CHUNK_TOKENS = (128, 256)
"""Shortest and longest chunk. All types but q4_0 unpack their weights for BLAS in each chunk, which dominates in short
ones (13.5 tokens/s in chunks of 128, 19.2 of 512); q4_0, which nearly everybody has, is slower in longer ones (a prompt
of 1024 tokens: 28.8 in chunks of 128, 29.5 of 256, 23.4 of 512; bench/engine.py)."""
FASTEST_S = 1e-6
"""Per token: a clock that did not tick between two looks is no division by zero."""
BATCH_TOKENS = 32
"""From this many tokens on ggml evaluates a call as a batch; only such calls tell the speed of prompts."""


@dataclass
class Speed:
    """Measured seconds per token, slowly following the machine. Starts with a guess of a middling PC."""

    prompt_s: float = 0.04
    token_s: float = 0.25
    prompt_measured: bool = False

    def saw(self, tokens: int, duration_s: float) -> None:
        """Learn from one call."""
        each_s = duration_s / tokens
        if tokens == 1:
            self.token_s += 0.2 * (each_s - self.token_s)
        elif tokens >= BATCH_TOKENS:
            self.prompt_s = each_s if not self.prompt_measured else self.prompt_s + 0.5 * (each_s - self.prompt_s)
            self.prompt_measured = True

    def chunk(self, longest: int) -> int:
        """Return how many tokens of a prompt to evaluate in one call."""
        low, high = CHUNK_TOKENS
        return min(longest, max(low, min(high, int(CHUNK_TARGET_S / max(self.prompt_s, FASTEST_S)))))


@dataclass
class Outcome:
    """How one generation went."""

    reason: str = "length"
    """``stop`` (a stop token), ``length`` or ``cancelled``."""
    stop_token: int | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that were not evaluated again."""
    prompt_s: float = 0.0
    generated_tokens: int = 0
    generation_s: float = 0.0
    prompt_scores: list[tuple[float, list[LogProb]]] = field(default_factory=list)
    """Of each of the prompt's tokens but the first: its log probability and the likeliest there, if they were asked."""

    def as_fields(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass
class Generator:
    """One engine, what its KV cache holds, and how fast it is."""

    engine: Engine
    slots: Slots = field(default_factory=Slots)
    speed: Speed = field(default_factory=Speed)

    def run(
        self,
        ids: Sequence[int],
        max_new: int,
        sampling: Sampling,
        stop_tokens: frozenset[int],
        cancelled: Callable[[], bool],
        on_prompt: Callable[[int, int, int, float], None],
        on_token: Callable[[Drawn], None],
    ) -> Outcome:
        """Evaluate ``ids`` and generate at most ``max_new`` tokens.

        ``on_prompt(done, total, cached, left_s)`` is told before and after each call of the prompt. The caller has
        checked ``0 < len(ids)``, ``0 < max_new`` and ``len(ids) + max_new <= engine.max_length``.
        On any exception the KV cache counts as lost.
        """
        try:
            return self._run(list(ids), max_new, sampling, stop_tokens, cancelled, on_prompt, on_token)
        except BaseException:
            self.slots.clear()
            raise

    def plan(self, links: Sequence[bytes], last_alone: bool = False) -> list[Span]:
        """Return the engine calls that evaluate a prompt with these links.

        ``last_alone``: its last token in a call of its own, as it is when all others are kept from before.
        """
        missing = self.slots.missing(links)
        engine, speed = self.engine, self.speed
        if engine.chunked:
            calls = plan_chunks(missing, speed.chunk(engine.single_call_tokens))
            if last_alone and calls and calls[-1][1] - calls[-1][0] > 1:
                start, end = calls.pop()
                calls += [(start, end - 1), (end - 1, end)]
            return calls
        return plan_single(missing, engine.single_call_tokens, speed.prompt_s, speed.token_s)

    def _evaluate(self, ids: list[int], links: list[bytes], span: Span, draw: Draw | None = None) -> Drawn | None:
        """Evaluate the positions of ``span``; ``draw`` tells what comes after them."""
        start, end = span
        seen = ids[:end] if end < len(ids) else ids
        self.slots.forget(span)
        began = time.perf_counter()
        drawn = None
        if draw is not None:
            drawn = draw(seen, start)
        else:
            self.engine.evaluate(seen, start)
        self.speed.saw(end - start, time.perf_counter() - began)
        self.slots.fill(links, span)
        return drawn

    def _run(
        self,
        ids: list[int],
        max_new: int,
        sampling: Sampling,
        stop_tokens: frozenset[int],
        cancelled: Callable[[], bool],
        on_prompt: Callable[[int, int, int, float], None],
        on_token: Callable[[Drawn], None],
    ) -> Outcome:
        links: list[bytes] = []
        extend_links(links, ids)
        total = len(ids)
        if sampling.score_prompt:
            self.slots.clear()
            calls = [(at, at + 1) for at in range(total)]
        else:
            calls = self.plan(links, last_alone=sampling.seed is not None)
        left = sum(end - start for start, end in calls)
        outcome = Outcome(prompt_tokens=total, cached_tokens=max(0, total - left))
        draw = self.engine.drawing(sampling, total)
        began = time.perf_counter()
        drawn: Drawn | None = None
        on_prompt(total - left, total, outcome.cached_tokens, self._left_s(calls))
        for index, span in enumerate(calls):
            if cancelled():
                outcome.reason = "cancelled"
                return outcome
            drawn = self._evaluate(ids, links, span, draw if span[1] == total else None)
            if sampling.score_prompt and span[1] < total:
                outcome.prompt_scores.append(self.engine.log_probs(ids[span[1]], sampling.log_probs or 0))
            left -= span[1] - span[0]
            on_prompt(total - left, total, outcome.cached_tokens, self._left_s(calls[index + 1 :]))
        first = time.perf_counter()
        outcome.prompt_s = first - began
        while True:
            assert drawn is not None  # a prompt's last token is never kept: slots.missing
            token = drawn.token
            outcome.generated_tokens += 1
            outcome.generation_s = time.perf_counter() - first
            if token in stop_tokens:
                outcome.reason, outcome.stop_token = "stop", token
                return outcome
            on_token(drawn)
            if outcome.generated_tokens >= max_new:
                return outcome
            if cancelled():
                outcome.reason = "cancelled"
                return outcome
            ids.append(token)
            extend_links(links, ids)
            drawn = self._evaluate(ids, links, (len(ids) - 1, len(ids)), draw)

    def _left_s(self, calls: Sequence[Span]) -> float:
        """Estimate how long these calls will take."""
        return sum(
            (end - start) * (self.speed.token_s if end - start == 1 else self.speed.prompt_s) for start, end in calls
        )
